package engine

import "cctask/engine/task"

// facts is what an owner finds of one attempt when it starts.
type facts struct {
	recorded bool        // the database has the task
	status   task.Status // the task's
	earlier  bool        // the run directory is of an earlier attempt than the record's
	dir      bool        // there is a run directory
	alive    bool        // its lock is held
	intent   bool        // the runner had written that it would start claude
	final    bool        // the runner has written the end
	cancel   bool        // a cancel was requested
}

// action is what the owner does about it.
type action string

const (
	// doNothing: the record and the directory agree.
	doNothing action = "nothing"
	// doRequeue: claude cannot have run; the directory goes, the task waits again.
	doRequeue action = "requeue"
	// doFollow: adopt what lives, or finish what has ended exactly as if this
	// owner had been there; a runner that died without a word is swept after.
	doFollow action = "follow"
	// doStop: as doFollow, and tell the runner to stop.
	doStop action = "stop"
	// doInterrupt: the directory is gone, so what claude did is not known; what
	// still carries its mark is swept.
	doInterrupt action = "interrupt"
	// doSeal: the outcome stands; the rest of the output is sealed, and the
	// directory goes. A runner that still lives is stopped first.
	doSeal action = "seal"
	// doDiscard: the directory goes; nothing in it was ever used.
	doDiscard action = "discard"
	// doSetAside: nobody knows the task; its processes are stopped and the
	// directory is kept under lost/.
	doSetAside action = "set aside"
)

// plan decides what to do about one attempt. A claude run is not idempotent:
// what may have run is never started again from here; on_interrupt is the concern
// of the attempt's end.
func plan(f facts) action {
	switch {
	case f.dir && !f.recorded:
		return doSetAside
	case f.dir && f.earlier:
		return doSeal
	case !f.status.Live():
		return planIdle(f)
	case !f.dir && f.status == task.Starting:
		return doRequeue
	case !f.dir:
		return doInterrupt
	case f.alive && f.cancel:
		return doStop
	case f.alive:
		return doFollow
	case f.status == task.Starting && !f.intent:
		return doRequeue
	default:
		return doFollow
	}
}

// planIdle is for a task that is queued or has ended.
func planIdle(f facts) action {
	switch {
	case !f.dir:
		return doNothing
	case f.status == task.Queued && !f.alive && !f.intent:
		return doDiscard
	default:
		return doSeal
	}
}
