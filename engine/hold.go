package engine

import (
	"errors"
	"fmt"
	"time"

	"cctask/engine/runner"
	"cctask/engine/task"
)

// hold is what an obstacle's closure says to people: it stands in the way since a
// launch failed for a reason that may pass, since the next one would meet the
// same. It is over with the first claude that starts. Guarded by Engine.mu.
type hold struct {
	why   string
	fails int // looks in a row that found nothing better
	// first is the task that looked last, since the time from which it waits.
	first task.ID
	since time.Time
}

// machine holds up every task: it lacks something that all of them need.
var machine = obstacle{kind: task.WaitStartingUp}

// absent holds up the tasks of a claude of a site.
func absent(site, claude string) obstacle {
	if site != "" {
		claude = site + ":" + claude
	}
	return obstacle{task.WaitClaudeMissing, claude}
}

// pauses are those between the looks of a hold.
type pauses struct{ first, most time.Duration }

var (
	// Each look at a machine that lacks something is two lines of a task's history.
	machinePauses = pauses{2 * time.Second, time.Minute}
	// A look at claude's file costs nothing, and updates take seconds.
	claudePauses = pauses{500 * time.Millisecond, 15 * time.Second}
)

// failed takes note of a look that found nothing better, and tells when the next is due.
func (h *hold) failed(now time.Time, why string, p pauses) time.Time {
	wait := min(p.first<<min(h.fails, 10), p.most)
	h.why = why
	h.fails++
	return now.Add(wait)
}

// hold gives the one of an obstacle, made at its first use.
func (e *Engine) hold(o obstacle) *hold {
	if e.holds[o] == nil {
		e.holds[o] = &hold{}
	}
	return e.holds[o]
}

// stall lets nothing start at a site for a while after a failure of its own.
func (e *Engine) stall(at *post, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, o := time.Now(), at.obstacle()
	if e.sched.closes(o, now) {
		return // launches that failed together are one failure
	}
	e.sched.close(o, closure{until: e.hold(o).failed(now, why, machinePauses)})
}

// missing holds the tasks of a claude that could not be started: its file was
// good when they were submitted, and an update may be under way. It tells
// whether the attempt's task has waited for long enough, and fails.
func (e *Engine) missing(id task.ID, at *post, claude, why string) (enough bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o, now := absent(at.name, claude), time.Now()
	c, held := e.sched.closed[o]
	if held && c.probing != id {
		return false // it began before the hold: the same failure
	}
	h := e.hold(o)
	if h.first != id {
		h.first, h.since = id, now
	}
	if now.Sub(h.since) >= e.cfg.Patience {
		h.first = "" // the next task begins a time of its own, at once
		return true
	}
	c.until, c.probe = h.failed(now, why, claudePauses), true
	e.sched.close(o, c)
	return false
}

// over ends the holds: the site gave a process, and claude was there.
func (e *Engine) over(at *post, claude string) {
	e.mu.Lock()
	for _, o := range []obstacle{at.obstacle(), absent(at.name, claude)} {
		if e.holds[o] != nil {
			delete(e.holds, o)
			e.sched.open(o)
		}
	}
	e.mu.Unlock()
	e.poke()
}

// heldBy says for what a queued task waits beside its turn; "" for nothing.
func (e *Engine) heldBy(s task.Spec) string {
	if h := e.holds[absent(s.Site, s.Claude)]; h != nil {
		return h.why
	}
	o := e.at(s.Site).obstacle()
	if h := e.holds[o]; h != nil && e.sched.closes(o, time.Now()) {
		return h.why
	}
	return ""
}

const (
	waitsForClaude = "waits for claude: "
	waitsForSite   = "waits for its site: "
)

// mayClaim keeps a task in the queue while its claude is not there, and with it
// its history free of starts that were none.
func (a *attempt) mayClaim(t *task.Task) error {
	a.at = a.e.at(t.Spec.Site)
	why := findClaude(a.at, t.Spec.Claude, func() ([]string, error) { return a.e.store.Env(t.ID) })
	switch {
	case why == nil, a.at.name == "" && errors.Is(why, runner.ErrSilent):
		return nil
	case errors.Is(why, runner.ErrSilent): // nothing of it has begun
		a.e.stall(a.at, waitsForSite+why.Error())
		a.e.stays(t)
		return errHeld
	}
	if a.e.missing(t.ID, a.at, t.Spec.Claude, waitsForClaude+why.Error()) {
		a.absent = a.e.impatient(why)
		return nil
	}
	a.e.stays(t)
	return errHeld
}

// stays puts a task back that was chosen and not claimed.
func (e *Engine) stays(t *task.Task) {
	e.mu.Lock()
	e.enqueue(task.PlaceOf(t))
	e.mu.Unlock()
	e.publish(t.ID, false)
}

func (e *Engine) impatient(why error) error {
	return fmt.Errorf("claude could not be started: %w; it was looked for again and again for %v", why, e.cfg.Patience)
}

// notStarted ends or requeues an attempt whose claude never ran.
func (a *attempt) notStarted(cause error) {
	var spawn *runner.SpawnError
	waits := "" // for what, of a task that goes back into the queue
	switch isSpawn := errors.As(cause, &spawn); {
	case isSpawn && spawn.Op == "exec":
		// The file was there a moment ago: somebody writes it, or replaces it.
		if waits = waitsForClaude + cause.Error(); a.e.missing(a.id, a.at, a.spec.Claude, waits) {
			waits, cause = "", a.e.impatient(cause)
		}
	case errors.Is(cause, errSpent):
		waits = cause.Error()
	case isSpawn && spawn.Op == "fork", !isSpawn && errors.Is(cause, runner.ErrNotStarted):
		// Too few processes are the machine's lack, and not the task's fault.
		waits = "waits for the machine: " + cause.Error()
		if a.at.name != "" {
			waits = waitsForSite + cause.Error()
		}
		a.e.stall(a.at, waits)
	}
	if waits != "" {
		a.e.log.Warn().Err(cause).Str("task", string(a.id)).Msg("not started; queued again")
	}
	_, err := a.e.persist(a.id, func(t *task.Task, w *task.Write) error {
		rec, err := a.e.store.Attempt(t.ID, a.n)
		if err != nil {
			return err
		}
		w.Attempts = []task.Attempt{rec}
		end := &w.Attempts[0]
		switch {
		case t.CancelRequested || errors.Is(cause, errCancelled):
			end.Status, end.Reason, end.Message = task.Cancelled, task.ReasonCancelled, "cancelled before it started"
		// A policy that came since may leave less than was used.
		case errors.Is(cause, task.ErrPolicy), errors.Is(cause, task.ErrConflict):
			end.Status, end.Reason, end.Message = task.Failed, task.ReasonPolicy, cause.Error()
		case errors.Is(cause, errUnfilled):
			end.Status, end.Reason, end.Message = task.Failed, task.ReasonDependency, cause.Error()
		case waits != "":
			end.Status, end.Message = task.Queued, waits
		default:
			end.Status, end.Reason, end.Message = task.Failed, task.ReasonSpawnFailed, cause.Error()
		}
		t.Reason, t.Message = end.Reason, end.Message
		if end.Status != task.Queued {
			end.FinishedAt, w.DropEnv = w.At, true
		}
		return t.Become(end.Status, w.At, end.Message)
	})
	if err != nil {
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("record a failed launch")
	}
}
