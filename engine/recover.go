package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"cctask/engine/runner"
	"cctask/engine/task"
)

// recover brings the database, what the site has and the processes together again.
// What takes time (sweeps, the sealing of large outputs) goes on in the
// background; when it returns, every task has a status that can be shown.
func (e *Engine) recover() error {
	var err error
	if e.seq, err = e.store.LastSeq(); err != nil {
		return fmt.Errorf("read the last queue sequence: %w", err)
	}
	seen, err := e.site.Look(e.ctx)
	known := err == nil
	if !known {
		e.log.Warn().Err(err).Msg("look at what runs; what is recorded as live is followed")
	}
	if err := e.repairLive(seen, known); err != nil {
		return err
	}
	if known {
		err = e.repairIdle(e.at(""), seen)
	} else {
		e.wg.Go(func() { e.repairIdleLater(e.at("")) })
	}
	if err != nil {
		return err
	}
	return e.loadQueue()
}

func (e *Engine) loadQueue() error {
	if err := errors.Join(e.loadGroups(), e.loadGates()); err != nil {
		return err
	}
	if err := e.loadSpends(); err != nil {
		return err
	}
	queued, err := e.store.Queue()
	if err != nil {
		return fmt.Errorf("load the queue: %w", err)
	}
	for i, p := range queued {
		if p.Dir == "" || p.Depth == 0 {
			continue
		}
		t, err := e.store.Task(p.ID)
		if err != nil {
			return fmt.Errorf("load the queue: %w", err)
		}
		queued[i].Parent = t.ParentID
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range queued {
		e.enqueue(p)
	}
	return nil
}

// factsOf are those of the recorded task t, if there is one, and of what the site has
// of its attempt n; s is nil if it has nothing.
func (e *Engine) factsOf(t *task.Task, rec task.Attempt, n int, s *runner.Sight) facts {
	f := facts{recorded: t != nil, life: runner.Gone}
	at := e.at("")
	if t != nil {
		at = e.at(t.Spec.Site)
	}
	boot := at.Where().Boot
	if t != nil {
		f.status, f.cancel = t.Status, t.CancelRequested
		f.earlier = s != nil && n < t.Attempt
		f.job, f.rebooted = rec.Job != "", rec.Boot != "" && boot != "" && rec.Boot != boot
	}
	if s != nil {
		f.there, f.life = true, s.Life
		f.intent, f.final = begun(*s), s.Rec.State == runner.StateEnded
		// The removal of a run is not synced: one of a start that came to nothing is back
		// after a power loss. That its task is queued was durable.
		if f.status == task.Queued && s.Rec.Boot != "" && boot != "" && s.Rec.Boot != boot {
			f.intent = false
		}
	}
	return f
}

// unknown is the sight of a run of a site that does not answer.
var unknown = runner.Sight{Life: runner.Unknown}

// repairLive looks after every task that was starting or running.
func (e *Engine) repairLive(seen map[string]runner.Sight, known bool) error {
	live, err := e.store.Live()
	if err != nil {
		return fmt.Errorf("find the live tasks: %w", err)
	}
	for i := range live {
		name := runName(live[i].ID, live[i].Attempt)
		s, ok := seen[name]
		delete(seen, name)
		found := &s
		switch {
		case !known || live[i].Spec.Site != "": // the watch of a far site will tell
			found = &unknown
		case !ok:
			found = nil
		}
		if err := e.repairTask(&live[i], found); err != nil {
			return err
		}
	}
	return nil
}

// repairTask looks after one starting or running task that nobody follows; s is
// what the site has of it, if anything.
func (e *Engine) repairTask(t *task.Task, s *runner.Sight) error {
	rec, err := e.store.Attempt(t.ID, t.Attempt)
	if err != nil {
		return err
	}
	do := plan(e.factsOf(t, rec, t.Attempt, s))
	e.log.Info().Str("task", string(t.ID)).Str("status", string(t.Status)).Str("action", string(do)).Msg("recover")
	switch do {
	case doFollow, doStop, doInterrupt:
		e.adopt(t, s, do)
		return nil
	case doRequeue:
		e.backToQueue(t)
		return nil
	case doNothing, doSeal, doDiscard, doSetAside:
	}
	return fmt.Errorf("no way to recover task %s in status %s by %q", t.ID, t.Status, do)
}

// Ended takes a runner's report. Whoever follows the run is told what is seen of
// it; one that nobody follows any more, because its follower met an error, is
// looked after as at a start.
func (e *Engine) Ended(run string) {
	id, n, ok := ParseRunName(run)
	if !ok {
		return
	}
	// Before the record: the follower leaves after it has written the end.
	e.mu.Lock()
	a, draining := e.live[id], e.draining
	e.mu.Unlock()
	if a == nil && draining {
		return
	}
	s, err := e.lookAt(e.ctx, e.at(""), run)
	switch {
	case err != nil:
	case a != nil:
		if s == nil {
			s = &notThere
		}
		e.heard(e.at(""), run, *s)
	default:
		err = e.repairReported(id, n, s)
	}
	if err != nil {
		e.log.Error().Err(err).Str("task", string(id)).Msg("look after a reported run")
	}
}

func (e *Engine) repairReported(id task.ID, n int, s *runner.Sight) error {
	t, err := e.store.Task(id)
	if err != nil || !t.Status.Live() || t.Attempt != n {
		return err
	}
	return e.repairTask(&t, s)
}

// repairIdle looks after the runs that no live task claims.
func (e *Engine) repairIdle(at *post, seen map[string]runner.Sight) error {
	for name, s := range seen {
		id, n, ok := ParseRunName(name)
		if !ok {
			// Not ours: nothing of cctask's has such a name.
			if err := at.Clear(e.ctx, name, false); err != nil {
				e.log.Warn().Err(err).Str("run", name).Msg("clear a stray run")
			}
			continue
		}
		if err := e.repairRun(at, id, n, s); err != nil {
			return err
		}
	}
	return nil
}

// repairIdleLater is for a site that nobody has asked yet, or that did not answer when
// this owner started. Of one with several hosts some may answer before the others.
func (e *Engine) repairIdleLater(at *post) {
	for wait := time.Second; e.sleepFor(wait); wait = min(2*wait, time.Minute) {
		seen, silent := at.Look(e.ctx)
		e.mu.Lock()
		for name := range seen {
			if id, _, ok := ParseRunName(name); ok && e.live[id] != nil {
				delete(seen, name)
			}
		}
		e.mu.Unlock()
		err := e.repairIdle(at, seen)
		switch {
		case err != nil:
			e.log.Error().Err(err).Msg("look after the runs of tasks that are not live")
		case silent == nil:
			return
		}
	}
}

func (e *Engine) repairRun(at *post, id task.ID, n int, s runner.Sight) error {
	t, err := e.store.Task(id)
	known := &t
	if errors.Is(err, task.ErrNotFound) {
		known = nil
	} else if err != nil {
		return err
	}
	do := plan(e.factsOf(known, task.Attempt{}, n, &s))
	e.log.Info().Str("task", string(id)).Int("attempt", n).Str("action", string(do)).Msg("recover a run")
	a := &attempt{e: e, id: id, n: n, at: at}
	switch do {
	case doSetAside:
		e.wg.Go(func() { a.setAside(s) })
	case doSeal:
		e.wg.Go(func() { a.sealRest(s) })
	case doDiscard:
		a.clear(runName(id, n))
	case doNothing, doRequeue, doFollow, doStop, doInterrupt:
	}
	return nil
}

// adopt goes on with an attempt of an earlier owner at step 4.
func (e *Engine) adopt(t *task.Task, s *runner.Sight, do action) {
	if s == nil {
		s = &notThere
	}
	a := &attempt{e: e, id: t.ID, n: t.Attempt, at: e.at(t.Spec.Site), silences: e.silences(t)}
	e.mu.Lock()
	twice := e.live[t.ID] != nil // two reports of one end, side by side
	if !twice {
		e.sched.occupy(waiterOf(task.PlaceOf(t)), false)
		e.live[t.ID] = a
	}
	e.mu.Unlock()
	if twice {
		return
	}
	if err := e.takesOff(t); err != nil {
		e.log.Error().Err(err).Str("task", string(t.ID)).Msg("what it costs counts for the day and its labels alone")
	}
	a.attach(*s)
	e.wg.Go(func() {
		defer e.release(a)
		if do == doStop {
			a.stop(task.StopCancel)
		}
		if t.Status == task.Running || do == doInterrupt || a.begins(t) {
			a.follow()
		}
	})
}

// begins waits until it is seen whether claude runs, has run or never will, and
// tells whether there is something to follow. A process that the last owner was
// about to start when it died has a copy of the lock until it executes: it lets
// go without a word, and the task waits again.
func (a *attempt) begins(t *task.Task) bool {
	rec, err := a.e.store.Attempt(t.ID, a.n)
	for err == nil {
		s := a.seen()
		found := &s
		if s.Life == runner.Gone && s.Rec.State == runner.StateNone {
			found = nil
		}
		switch plan(a.e.factsOf(t, rec, a.n, found)) {
		case doRequeue:
			a.e.backToQueue(t)
			return false
		case doInterrupt:
			return !a.cameToNothing(t, s)
		case doFollow, doStop:
			if begun(s) {
				a.begin(s)
				return true
			}
		case doNothing, doSeal, doDiscard, doSetAside:
		}
		select {
		case <-a.news:
		case <-a.e.ctx.Done():
			return false
		}
	}
	a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("look at an attempt that has not begun")
	return false
}

// cameToNothing ends an attempt that waited for room and of which it is known that
// its claude never ran, as one whose start failed at once.
func (a *attempt) cameToNothing(t *task.Task, s runner.Sight) bool {
	var why error
	switch {
	case s.Rec.State == runner.StateSpawnFailed:
		why = &runner.SpawnError{Op: s.Rec.SpawnOp, Path: s.Rec.SpawnPath, Err: s.Rec.SpawnError}
	case a.whyStopped() != "" && !begun(s):
		why = errCancelled
	default:
		return false
	}
	if _, err := retry(a.e.ctx, func() (runner.Sight, error) { return a.end(s) }); err != nil {
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("end what did not begin")
		return true // the next owner does it
	}
	a.clear(runName(a.id, a.n))
	a.spec = &t.Spec
	a.notStarted(why)
	return true
}

// backToQueue is for a claim whose claude cannot have run. No attempt follows before
// what is there of this one is gone.
func (e *Engine) backToQueue(t *task.Task) {
	requeue := func() error {
		if err := e.at(t.Spec.Site).Clear(e.ctx, runName(t.ID, t.Attempt), false); err != nil {
			return err
		}
		_, err := e.change(t.ID, func(t *task.Task, w *task.Write) error {
			rec, err := e.store.Attempt(t.ID, t.Attempt)
			if err != nil {
				return err
			}
			rec.Status = task.Queued
			if t.CancelRequested {
				rec.Status, rec.Reason, rec.Message, rec.FinishedAt = task.Cancelled, task.ReasonCancelled, "cancelled before it started", w.At
				t.Reason, t.Message, w.DropEnv = rec.Reason, rec.Message, true
			}
			w.Attempts = []task.Attempt{rec}
			return t.Become(rec.Status, w.At, "the owner ended before it started")
		})
		return err
	}
	err := requeue()
	if err == nil {
		return
	}
	// A full disk keeps the task where it is, but not the owner from answering.
	e.wg.Go(func() {
		for wait := 100 * time.Millisecond; err != nil && e.sleepFor(wait); wait = min(2*wait, 10*time.Second) {
			e.log.Error().Err(err).Str("task", string(t.ID)).Msg("queue a task again; trying again")
			err = requeue()
		}
	})
}

// sealRest is for a run whose attempt has its outcome already.
func (a *attempt) sealRest(s runner.Sight) {
	s, err := a.end(s)
	if err != nil {
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("stop a leftover runner")
		return
	}
	f, err := a.newFollower()
	if err == nil {
		_, err = retry(a.e.ctx, func() (struct{}, error) {
			chunks, err := f.rest(s)
			if err == nil {
				err = a.e.apply(task.Write{At: time.Now(), Chunks: chunks})
			}
			return struct{}{}, err
		})
	}
	// A removal that was cut short leaves a run without its files: all of them
	// were in the store before it began. So was a task that is gone.
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, task.ErrNotFound) {
		// Kept: the next owner tries again.
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("seal the rest of an output")
		return
	}
	a.cleanUp()
}

// setAside keeps a run that no record knows, for a person to look at.
func (a *attempt) setAside(s runner.Sight) {
	_, err := a.end(s)
	if err == nil {
		err = a.at.Clear(a.e.ctx, runName(a.id, a.n), true)
	}
	a.e.log.Warn().AnErr("error", err).Str("task", string(a.id)).Msg("a run without a record was stopped and set aside (in lost/)")
}

// end ends whatever lives of a run that should not live, and tells what is there then.
func (a *attempt) end(s runner.Sight) (runner.Sight, error) {
	name := runName(a.id, a.n)
	for wait := time.Millisecond; s.Life != runner.Gone; wait = min(2*wait, time.Second) {
		if err := a.at.Stop(a.e.ctx, name, string(task.StopCancel), false); err != nil {
			a.e.log.Warn().Err(err).Str("task", string(a.id)).Msg("tell a leftover runner to stop")
		}
		if !a.e.sleepFor(wait) {
			return s, a.e.ctx.Err()
		}
		switch next, err := a.e.lookAt(a.e.ctx, a.at, name); {
		case err != nil:
		case next == nil:
			s = notThere
		default:
			s = *next
		}
	}
	if s.Rec.State == runner.StateEnded {
		return s, nil // it swept before it said so
	}
	return s, a.at.Stop(a.e.ctx, name, "", true)
}
