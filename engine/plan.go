package engine

import (
	"cctask/engine/runner"
	"cctask/engine/task"
)

// facts is what an owner finds of one attempt when it starts.
type facts struct {
	recorded bool        // the database has the task
	status   task.Status // the task's
	earlier  bool        // the run is of an earlier attempt than the record's
	there    bool        // the site has the run
	life     runner.Life // of the runner; gone if there is no run, unknown if the site does not say
	intent   bool        // the runner had written that it would start claude
	final    bool        // the runner has written the end
	cancel   bool        // a cancel was requested
	job      bool        // the site has named a job for it
	rebooted bool        // the host has started anew since the claim
}

// action is what the owner does about it.
type action string

const (
	// doNothing: the record and the site agree.
	doNothing action = "nothing"
	// doRequeue: claude cannot have run; the run goes, the task waits again.
	doRequeue action = "requeue"
	// doFollow: adopt what lives, or finish what has ended exactly as if this
	// owner had been there; a runner that died without a word is swept after.
	doFollow action = "follow"
	// doStop: as doFollow, and tell the runner to stop.
	doStop action = "stop"
	// doInterrupt: what claude did is not known, since the run is gone, or the host
	// started anew while nothing of it was safe from that; what still carries its
	// mark is swept.
	doInterrupt action = "interrupt"
	// doSeal: the outcome stands; the rest of the output is sealed, and the
	// run goes. A runner that still lives is stopped first.
	doSeal action = "seal"
	// doDiscard: the run goes; nothing in it was ever used.
	doDiscard action = "discard"
	// doSetAside: nobody knows the task; its processes are stopped and the
	// run is kept under lost/.
	doSetAside action = "set aside"
)

// plan decides what to do about one attempt. A claude run is not idempotent:
// what may have run is never started again from here; on_interrupt is the concern
// of the attempt's end.
func plan(f facts) action {
	switch {
	case f.there && !f.recorded:
		return doSetAside
	case f.there && f.earlier:
		return doSeal
	case !f.status.Live():
		return planIdle(f)
	// What waits for room or does not answer is followed, and never judged.
	case f.life != runner.Gone && f.cancel:
		return doStop
	case f.life != runner.Gone:
		return doFollow
	case f.status == task.Starting && !f.intent && (f.rebooted || f.job):
		return doInterrupt
	case f.status == task.Starting && !f.intent:
		return doRequeue
	case f.status == task.Starting && f.rebooted && !f.final:
		return doInterrupt
	case !f.there:
		return doInterrupt
	default:
		return doFollow
	}
}

// treeAction is what becomes of a worktree.
type treeAction string

const (
	treeLeave  treeAction = "leave"
	treeLook   treeAction = "look" // record what was done in it, and what is to become of it
	treeRemove treeAction = "remove"
)

// treeFacts is what is recorded of a task that may have a worktree.
type treeFacts struct {
	ended bool
	tree  *task.Worktree
}

// planTree decides what becomes of the worktree of a recorded task. One that holds
// changes goes only with its record, if at all.
func planTree(f treeFacts) treeAction {
	switch {
	case !f.ended || f.tree == nil || f.tree.State == task.TreeKept:
		return treeLeave
	case f.tree.State == task.TreeRemoved:
		return treeRemove
	default:
		return treeLook
	}
}

// planIdle is for a task that is queued or has ended.
func planIdle(f facts) action {
	switch {
	case !f.there:
		return doNothing
	case f.status == task.Queued && f.life == runner.Gone && !f.intent:
		return doDiscard
	default:
		return doSeal
	}
}
