package task

import (
	"fmt"
	"slices"
)

// Within are the tasks that a process belongs to: its own, and those that
// started that one. Each waits for the process to end.
type Within []string

func (w Within) Has(id ID) bool { return slices.Contains(w, string(id)) }

// MayWait refuses to wait for a task that itself waits for the asker.
func (w Within) MayWait(t Task) error {
	if t.Status.Ended() || !w.Has(t.ID) {
		return nil
	}
	return &Error{
		Code: CodeInvalid, Message: fmt.Sprintf("task %s runs this very command, or started the task that does: it cannot end before", t.ID),
		Hint: "Leave it out; to wait for all other tasks give no id to `cctask wait`.",
	}
}
