package engine

import "cctask/engine/task"

// ending is what decides what follows the end of an attempt.
type ending struct {
	status    task.Status
	cancelled bool // somebody asked for its end
	goesOn    bool // the task asks to go on by itself when it is interrupted
	lost      bool // claude did not have the session that it was to open
	resumes   bool // it was to go on in a session
	foreign   bool // which another task began
	touched   bool // in which an earlier attempt of the task may have done something
}

// follow is what follows.
type follow string

const (
	over        follow = "over" // the outcome stands
	again       follow = "again"
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
	case !e.lost && e.status == task.Interrupted && e.goesOn:
		return again
	default:
		return over
	}
}
