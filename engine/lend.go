package engine

import (
	"context"
	"fmt"

	"cctask/engine/task"
)

// Lend tells the owner that the caller waits for tasks and does nothing else before back
// is called: if it runs inside a task, others below the same root may have that one's slot.
func Lend(ctx context.Context, s Service, refs ...string) (back func()) {
	if l, can := s.(interface {
		Lend(ctx context.Context, refs []string) (back func())
	}); can {
		return l.Lend(ctx, refs)
	}
	return func() {} // a front that is its own owner runs in no task of it
}

// Lent lends the slot of the task in which a caller runs until ctx ends. It returns at
// once if there is no such task, or none of refs is below the same root: whom it waits
// for then is none of those that its slot keeps waiting.
//
// Nothing of it is recorded. A caller that dies waits no more, and one whose owner dies
// tells the next one; that starts nothing meanwhile, since every live task has its slot.
func (e *Engine) Lent(ctx context.Context, marks task.Within, refs []string) error {
	id := e.Inside(ctx, marks)
	if id == "" {
		return nil
	}
	akin, err := e.akin(id, refs)
	if err != nil || !akin {
		return err
	}
	e.mu.Lock()
	l := e.sched.live[id]
	if l != nil {
		e.sched.lend(l, 1)
	}
	e.mu.Unlock()
	if l == nil {
		return nil
	}
	e.poke()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		// Another attempt of the task has a slot of its own.
		if e.sched.live[id] == l {
			e.sched.lend(l, -1)
		}
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.ctx.Done():
		return task.ErrClosing
	}
}

// akin tells whether any of refs is below the root of a task, and not that task itself.
func (e *Engine) akin(id task.ID, refs []string) (bool, error) {
	self, err := e.store.Task(id)
	if err != nil {
		return false, fmt.Errorf("read the task that waits: %w", err)
	}
	for _, ref := range refs {
		other, err := e.meant(ref, task.ToRead)
		if err != nil {
			continue // who waits for it is told
		}
		t, err := e.store.Task(other)
		if err != nil {
			continue
		}
		if t.ID != id && t.RootID != "" && t.RootID == self.Root() {
			return true, nil
		}
	}
	return false, nil
}
