package engine

import (
	"math/rand/v2"
	"slices"

	"cctask/engine/task"
)

// ending is what decides what follows the end of an attempt.
type ending struct {
	cancelled bool // somebody asked for its end
	lost      bool // claude did not have the session that it was to open
	resumes   bool // it was to go on in a session
	foreign   bool // which another task began
	touched   bool // in which an earlier attempt of the task may have done something
	begun     bool // claude came to its first event, so that its session may exist

	rule task.RetryRule // for the reason of the end
	tried
}

// tried are the attempts that a task made by itself in a row.
type tried struct {
	ofReason int // after an end of this one's reason
	inAll    int // after any end that counts
}

// follow is what follows.
type follow string

const (
	over        follow = "over" // the outcome stands
	spent       follow = "over, it was tried again as often as it may be"
	again       follow = "again, in its session"
	anotherTry  follow = "again, with the same prompt"
	startOver   follow = "again, from the beginning"
	afresh      follow = "afresh"
	failForeign follow = "fail, the other task's session is lost"
	failTouched follow = "fail, the session is lost in which something was done"
)

// next decides it, beside plan and choose. Nothing is done a second time: where a session
// is lost the task begins anew only if nothing can have been done in it.
func next(e ending) follow {
	switch {
	case e.cancelled:
		return over
	case e.lost && e.foreign:
		return failForeign
	case e.lost && e.touched:
		return failTouched
	case e.lost && e.resumes:
		return afresh
	case e.lost, e.rule.How == "":
		return over
	case e.rule.How == task.RetryFresh && e.foreign:
		return over // it would go on with that session, and meet the same end
	case e.rule.How != task.RetryGate && (e.ofReason >= e.rule.Attempts || e.inAll >= e.rule.Total):
		return spent
	case e.rule.How == task.RetryFresh:
		return startOver
	case !e.begun && !e.resumes:
		return anotherTry
	default:
		return again
	}
}

// countTried counts the attempts that the task has made by itself since somebody asked
// for one; the last one has ended for this reason. An end that closed the account's gate counts as
// none, and so does a start in place of a session that was lost.
func countTried(all []task.Attempt, reason task.FailureReason) (n tried) {
	for i, a := range slices.Backward(all) {
		if a.Kind != task.Auto && a.Kind != task.Fresh || i == 0 {
			break
		}
		before := all[i-1].Reason
		if a.Kind == task.Fresh || before.ClosesGate() {
			continue
		}
		n.inAll++
		if before == reason {
			n.ofReason++
		}
	}
	return n
}

// retries is what the settings say now of what is tried again.
func (e *Engine) retries() task.RetryPolicy {
	if e.cfg.Retry == nil {
		return nil
	}
	return e.cfg.Retry()
}

// mayStart tells whether a task that was just started may be started again without
// being asked for. Until then its environment is kept.
func (e *Engine) mayStart(t *task.Task) bool { return t.MayStart() && e.retries().May(t.Spec) }

func (e *Engine) random() float64 {
	if e.cfg.Random != nil {
		return e.cfg.Random()
	}
	return rand.Float64()
}
