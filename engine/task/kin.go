package task

import (
	"cmp"
	"fmt"
	"slices"
)

// The bounds of the tasks that are started inside tasks, where the policy says nothing:
// enough for a task that shares out its work, and an end to one that does nothing else.
const (
	DefaultDepth           = 2
	DefaultLiveDescendants = 32
	DefaultDescendants     = 200

	mostDescendants = 100_000
)

// Kin says how a new task stands to those that started it.
type Kin struct {
	Parent, Root ID
	Depth        int // how many tasks stand above it
	Live, All    int // descendants that the root has already, and how many have not ended
}

// Root is the first of the line of tasks that started one another down to t.
func (t Task) Root() ID { return cmp.Or(t.RootID, t.ID) }

// MayBear refuses a task that would have too many others above it or beside it. p is
// the owner's policy; that of a front can only lower its bounds. The words are for the
// model that asks.
func (p Policy) MayBear(front Policy, k Kin) error {
	if k.Depth == 0 {
		return nil
	}
	bound := func(owner, front *int, usual int) int {
		if owner == nil {
			owner = &usual
		}
		return *lowerOf(owner, front)
	}
	refuse := func(rule string, most int, what, instead string) error {
		return Errorf(CodeDescendants, instead+" Only the person at this machine can raise "+rule+" in the [policy] of cctask's settings file.",
			"policy.%s = %d: %s. No task was started", rule, most, what)
	}
	if most := bound(p.MaxDepth, front.MaxDepth, DefaultDepth); k.Depth > most {
		return refuse("max_depth", most, fmt.Sprintf("you work inside a task with %d above it, where no further task may be started", k.Depth-1),
			"Do not try again: do this work yourself, here.")
	}
	if most := bound(p.MaxDescendants, front.MaxDescendants, DefaultDescendants); k.All >= most {
		return refuse("max_descendants", most, fmt.Sprintf("task %s and those below it have started %d tasks in all", k.Root, k.All),
			"Start no more tasks, now or later: do the rest of the work yourself, and answer.")
	}
	if most := bound(p.MaxLiveDescendants, front.MaxLiveDescendants, DefaultLiveDescendants); k.Live >= most {
		return refuse("max_live_descendants", most, fmt.Sprintf("%d tasks below task %s have not ended", k.Live, k.Root),
			"Start no other task before some of them have ended: wait for them (check_task_status with wait_seconds; in a shell `cctask wait ID`).")
	}
	return nil
}

// lowerOf is the lower of two bounds, of which nil is none.
func lowerOf(bounds ...*int) (low *int) {
	for _, b := range slices.DeleteFunc(bounds, func(b *int) bool { return b == nil }) {
		if low == nil || *b < *low {
			low = b
		}
	}
	return low
}

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
