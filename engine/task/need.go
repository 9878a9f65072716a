package task

import "strings"

// Need is a task for whose end another one waits, and how it has to end.
type Need struct {
	Ref  string // any reference in a submission, the id in a record
	Want string // NeedCompleted, NeedAny or NeedFailed
}

// The ends that can be waited for.
const (
	NeedCompleted = "completed"
	NeedAny       = "any"
	NeedFailed    = "failed" // also by its deadline or an interruption; not a task that somebody cancelled
)

// ParseNeed reads an item of Spec.After. A name may have a colon in it too.
func ParseNeed(text string) Need {
	if i := strings.LastIndexByte(text, ':'); i > 0 {
		switch want := text[i+1:]; want {
		case NeedCompleted, NeedAny, NeedFailed:
			return Need{text[:i], want}
		}
	}
	return Need{text, NeedCompleted}
}

func (n Need) String() string {
	if n.Want == NeedCompleted {
		return n.Ref
	}
	return n.Ref + ":" + n.Want
}

// Met tells whether a task that ended so lets those go on that wait for it; a
// task whose record is gone has met them, since they are looked at before it goes.
func (n Need) Met(s Status) bool {
	switch n.Want {
	case NeedAny:
		return s.Ended()
	case NeedFailed:
		return s == Failed || s == Timeout || s == Interrupted
	}
	return s == Completed
}
