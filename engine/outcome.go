package engine

import (
	"errors"
	"syscall"
	"time"

	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
)

// conclude is step 7: the last of the output, the outcome, the answer and the
// indexes in one transaction.
func (a *attempt) conclude(f *follower, s runner.Sight, chunks []task.Blob) error {
	rec := s.Rec
	size := map[task.Stream]int64{}
	for _, c := range chunks {
		size[c.Stream] = c.Offset + int64(len(c.Data))
	}
	if chunks == nil {
		size = f.sealed
	}
	end := claude.End{Stderr: f.stderrTail(s), NoRecord: !rec.Exited, Root: a.at.Where().Root}
	if end.NoRecord && rec.State != runner.StateSpawnFailed {
		end.RunnerSignal = s.Killed
	}
	a.meetsGate(f, rec, end)
	// What is gone holds no slot any more: the claim of the next task shares a commit with
	// this end.
	a.e.vacate(a.id)
	failed := false
	var spent []task.Spend
	t, err := a.e.persist(a.id, func(t *task.Task, w *task.Write) error {
		if failed { // it may take hours until the disk has room
			_ = a.at.Keep(a.e.ctx, f.name)
		}
		failed = true
		n, err := a.e.store.Attempt(t.ID, a.n)
		if err == nil {
			err = a.runs(t, &n)
		}
		if err != nil {
			return err
		}
		out := judge(f.parser, t, rec, end)
		w.Chunks, w.Gate = chunks, a.gateNow()
		a.settle(&n, &out, rec, w)
		a.price(&n, &out, f.unbilled(), w)
		n.Untouched = chunks != nil && (out.OnlyInit || out.SessionLost)
		if chunks == nil { // what is lost may have cost something
			n.CostUncertain = true
			n.Message += "; its run directory is gone"
		}
		n.StdoutBytes, n.StderrBytes, n.ResultBytes = size[task.Stdout], size[task.Stderr], int64(len(out.Result))
		if len(out.Result) > 0 {
			w.Result = &task.Blob{ID: t.ID, Attempt: n.N, Data: out.Result}
		}
		a.budgeted(&n)
		w.Attempts, w.Spent = []task.Attempt{n}, task.Spends(t, n.CostUSD, w.At)
		take(t, n)
		if err := t.Become(n.Status, w.At, n.Message); err != nil {
			return err
		}
		// An owner that was away records an end that has long been.
		if t.FinishedAt = later(t.StartedAt, t.QueuedAt, n.FinishedAt); t.FinishedAt.After(w.At) {
			t.FinishedAt = w.At
		}
		if err := a.goesOn(t, w, out.SessionLost, out.SessionID != ""); err != nil {
			return err
		}
		w.DropEnv = !t.MayStart()
		if t.Status.Ended() {
			t.Worktree = a.e.lookAtTree(t.Worktree)
		}
		spent = w.Spent
		return nil
	})
	if err == nil {
		a.e.lands(&t, spent)
	}
	return err
}

// budgeted names the budget that ended an attempt: it was stopped for it, or claude had
// used up what that had left.
func (a *attempt) budgeted(n *task.Attempt) {
	scope := a.scope
	switch {
	case scope == "":
	case n.Reason == task.ReasonMaxBudget:
		n.Reason, n.Message = task.ReasonBudget, "used up what was left of the budget "+scope+": "+task.RaiseBudget
	case n.StopReason == task.StopBudget:
		n.Message = "stopped because the budget " + scope + " is spent: " + task.RaiseBudget
	}
}

func later(times ...time.Time) (last time.Time) {
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// judge asks the three witnesses: our own intent, claude's last result, and
// the exit status that the runner wrote. end is what is known beside them.
func judge(p *claude.Parser, t *task.Task, rec runner.Record, end claude.End) claude.Outcome {
	if rec.State == runner.StateSpawnFailed {
		spawn := &runner.SpawnError{Op: "start claude", Path: rec.SpawnPath, Err: rec.SpawnError}
		return claude.Outcome{Status: task.Failed, Reason: task.ReasonSpawnFailed, Message: spawn.Error()}
	}
	if end.At = rec.EndedAt; end.At.IsZero() {
		end.At = time.Now()
	}
	end.ExitCode, end.Signal, end.Stopped, end.DiskFull = rec.ExitCode, rec.Signal, task.StopReason(rec.Stopped), rec.DiskFull
	end.WantStructured, end.Deadline, end.Stall = len(t.Spec.JSONSchema) > 0, t.Spec.Timeout(), t.Spec.Stall()
	end.MaxTurns, end.MaxBudgetUSD = t.Spec.MaxTurns, t.Spec.MaxBudgetUSD
	return p.Judge(end)
}

// settle writes an outcome into the attempt's record.
func (a *attempt) settle(n *task.Attempt, out *claude.Outcome, rec runner.Record, w *task.Write) {
	n.Status, n.Reason, n.Message, n.Usage = out.Status, out.Reason, out.Message, out.Usage
	n.FinishedAt, n.RetryAt, n.Signal, n.StopReason = w.At, out.RetryAt, rec.Signal, task.StopReason(rec.Stopped)
	if rec.Exited {
		n.ExitCode = &rec.ExitCode
	}
	if !rec.EndedAt.IsZero() {
		n.FinishedAt = rec.EndedAt
	}
	if n.StartedAt.IsZero() { // adopted before claude had started
		n.StartedAt = rec.StartedAt
	}
	if !n.StartedAt.IsZero() {
		n.DurationMS = max(0, n.FinishedAt.Sub(n.StartedAt).Milliseconds())
	}
	n.ClaudeVersion, n.Model, n.NumTurns, n.Requests = out.Version, out.Model, out.Turns, out.Requests
}

// price says what an attempt cost. claude's total is cumulative over a session, so
// it is the difference to the total that the session had before. Of what came after
// the last result there is only an estimate.
func (a *attempt) price(n *task.Attempt, out *claude.Outcome, estimate float64, w *task.Write) {
	if !out.CostKnown && estimate == 0 {
		// Nothing was spent only if claude never came to its first event.
		n.CostUncertain = out.SessionID != ""
		return
	}
	uncertain := !out.CostKnown || out.CostPartial || estimate > 0
	if out.CostKnown && !claude.Supported(out.Version) {
		n.CostUSD, n.CostUncertain = task.RoundUSD(out.TotalCost+estimate), uncertain || n.Resumes || n.ForkOf != ""
		return
	}
	base, known, err := a.e.store.SessionCost(n.SessionID)
	switch {
	case n.ForkOf != "":
		// claim recorded the total that the copy begins with. If the other session
		// went on since, it is not known what claude copied.
		now, ok, err := a.e.store.SessionCost(n.ForkOf)
		known = known && ok && err == nil && now == base
	case !n.Resumes:
		base, known = 0, true
	}
	total := out.TotalCost
	if !out.CostKnown {
		total = base
	}
	n.CostUSD, n.CostUncertain = task.RoundUSD(total+estimate-base), uncertain
	if err != nil || !known || n.CostUSD < 0 {
		n.CostUSD, n.CostUncertain = max(n.CostUSD, 0), true
	}
	// A claude that is killed forgets what it had not told; any other adds it to the total
	// that the session's next attempt begins with.
	if n.ExitCode != nil && n.Signal != "SIGKILL" {
		total += estimate
	}
	w.SessionID, w.SessionCost = n.SessionID, task.RoundUSD(total)
}

// take adds a finished attempt to the task: sums, and the last one's values.
func take(t *task.Task, n task.Attempt) {
	t.Reason, t.StopReason, t.Message, t.RetryAt, t.ExitCode, t.Model = n.Reason, n.StopReason, n.Message, n.RetryAt, n.ExitCode, n.Model
	t.StdoutBytes, t.StderrBytes, t.ResultBytes = n.StdoutBytes, n.StderrBytes, n.ResultBytes
	t.CostUSD = task.RoundUSD(t.CostUSD + n.CostUSD)
	t.CostUncertain = t.CostUncertain || n.CostUncertain
	t.NumTurns += n.NumTurns
	t.DurationMS += n.DurationMS
	t.Usage = t.Usage.Add(n.Usage)
}

// isResourceError tells a lack of disk, descriptors, memory or processes.
func isResourceError(err error) bool {
	for _, no := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.EIO,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}
