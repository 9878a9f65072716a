package task

import (
	"fmt"
	"slices"
	"time"
)

// Status says where a task is in its life. The names are the format on disk
// and on the wire.
type Status string

// The statuses. Each says who leaves it and what a crash makes of it.
const (
	// Queued waits for a slot. The pool takes it to Starting; a crash leaves it
	// queued.
	Queued Status = "queued"
	// Starting has a slot but no process known to have run. The launch takes it
	// to Running or ends it; after a crash it is queued again if claude cannot
	// have run. Outside it is shown as running.
	Starting Status = "starting"
	// Running has a process. Its end takes it further; after a crash it is
	// adopted if the runner lives, else judged from what the runner wrote.
	Running Status = "running"
	// Completed is final: exit 0, a result, no error in it.
	Completed Status = "completed"
	// Failed ended by itself, otherwise than well.
	Failed Status = "failed"
	// Timeout was stopped by us at its deadline.
	Timeout Status = "timeout"
	// Cancelled was stopped by us because somebody asked.
	Cancelled Status = "cancelled"
	// Interrupted was ended by something else, and what it did last is unknown.
	Interrupted Status = "interrupted"
	// Skipped never ran: a task that it waited for did not end as asked.
	Skipped Status = "skipped"
)

// Statuses lists every status in the order of a task's life.
var Statuses = []Status{Queued, Starting, Running, Completed, Failed, Timeout, Cancelled, Interrupted, Skipped}

// transitions is the state machine. Nothing else allows or forbids a change.
var transitions = map[Status][]Status{
	"":          {Queued},
	Queued:      {Starting, Cancelled, Skipped},
	Starting:    {Running, Queued, Failed, Cancelled, Interrupted},
	Running:     {Completed, Failed, Timeout, Cancelled, Interrupted},
	Interrupted: {Queued},
	Failed:      {Queued},
	Timeout:     {Queued},
	Cancelled:   {Queued},
	Skipped:     {Queued},
	Completed:   {},
}

// Ended tells whether a task in this status has stopped moving by itself.
func (s Status) Ended() bool {
	return s == Completed || s == Failed || s == Timeout || s == Cancelled || s == Interrupted || s == Skipped
}

// Live tells whether an attempt of the task may have a process.
func (s Status) Live() bool { return s == Starting || s == Running }

// PublicStatuses are those that people see.
func PublicStatuses() (words []string) {
	for _, s := range Statuses {
		if s.Public() == s {
			words = append(words, string(s))
		}
	}
	return words
}

// Public is the status as it is shown outside: starting is shown as running.
func (s Status) Public() Status {
	if s == Starting {
		return Running
	}
	return s
}

// May tells whether the state machine allows from -> to.
func May(from, to Status) bool { return slices.Contains(transitions[from], to) }

// Change is one line of a task's history.
type Change struct {
	At     time.Time `json:"at"`
	From   Status    `json:"from,omitempty"`
	To     Status    `json:"to"`
	Reason string    `json:"reason,omitempty"`
}

// Become is the only way to a new status. It appends to the history and keeps
// the times that the status stands on: a queued task has no end, a running one
// has a start, an ended one has an end.
func (t *Task) Become(to Status, at time.Time, reason string) error {
	if !May(t.Status, to) {
		return &Error{Code: CodeConflict, Message: fmt.Sprintf("task %s cannot go from %q to %q", t.ID, t.Status, to)}
	}
	t.History = append(t.History, Change{At: at, From: t.Status, To: to, Reason: reason})
	t.Status = to
	switch to {
	case Queued:
		t.QueuedAt = at
		t.FinishedAt = time.Time{}
	case Running:
		if t.StartedAt.IsZero() {
			t.StartedAt = at
		}
	case Completed, Failed, Timeout, Cancelled, Interrupted, Skipped:
		t.FinishedAt = at
	case Starting:
	}
	return nil
}
