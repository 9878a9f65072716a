package engine

import (
	"context"
	"errors"

	"cctask/engine/task"
)

// Until says which ends of several tasks end a wait.
type Until string

const (
	All          Until = "all"           // the last one's
	Any          Until = "any"           // the first one's
	FirstFailure Until = "first_failure" // the first that is not completed, or the last one's
)

// WaitQuery says what to wait for.
type WaitQuery struct {
	Refs  []string `json:"refs"`
	Until Until    `json:"until,omitempty"` // "": All
	// Seen, of one task, is a version: a later one is what is waited for too.
	Seen uint64 `json:"seen,omitempty"`
}

// UntilEnd is the seen version that lets WaitFor return at the task's end only.
const UntilEnd = ^uint64(0)

// WaitFor waits until one task has ended or its Version is above seen.
func WaitFor(ctx context.Context, s Service, ref string, seen uint64) (task.Task, error) {
	tasks, err := s.Wait(ctx, WaitQuery{Refs: []string{ref}, Seen: seen})
	if err != nil {
		return task.Task{}, err
	}
	return tasks[0], nil
}

// Scope says of which changes a Watch tells.
type Scope struct {
	IDs  []task.ID // none: all tasks
	Ends bool      // of ends alone
}

// Watch is a stream of changes.
type Watch interface {
	// Next waits for changes since the last call, and gives the newest of each task.
	// None says that anything may have changed: at first, and when an owner has taken
	// another one's place. After an error it may be called again.
	Next(ctx context.Context) ([]Event, error)
	Close()
}

// Look is what Await asks of a Service.
type Look interface {
	Get(ctx context.Context, ref string) (task.Task, error)
	Watch(s Scope) Watch
}

// Await is Wait for those who can look and watch. It watches before it looks, so that no
// change falls between, and looks only where something may have changed.
func Await(ctx context.Context, s Look, q WaitQuery) ([]task.Task, error) {
	a := &awaited{Look: s, WaitQuery: q, ids: make([]task.ID, len(q.Refs)), found: make([]*task.Task, len(q.Refs))}
	if len(q.Refs) != 1 {
		a.Seen = UntilEnd
	}
	for i, ref := range q.Refs {
		if err := a.name(ctx, i, ref); err != nil {
			return nil, err
		}
	}
	if a.done() {
		return a.tasks(ctx)
	}
	w := s.Watch(Scope{IDs: a.ids, Ends: a.Seen == UntilEnd})
	defer w.Close()
	for {
		evs, err := w.Next(ctx)
		if err != nil {
			return nil, err
		}
		if err := a.look(ctx, evs); err != nil {
			return nil, err
		}
		if a.done() {
			return a.tasks(ctx)
		}
	}
}

// awaited is a wait. What it keeps while it waits is small: there may be a thousand.
type awaited struct {
	Look
	WaitQuery
	ids   []task.ID
	found []*task.Task // what has arrived; else nil
}

// name finds what a ref means; of a whole id nobody needs to be asked.
func (a *awaited) name(ctx context.Context, i int, ref string) error {
	id, err := task.ParseID(ref)
	if err == nil {
		a.ids[i] = id
		return nil
	}
	t, err := a.Get(ctx, ref)
	if err != nil {
		return err
	}
	a.ids[i] = t.ID
	a.take(i, t)
	return nil
}

// take notes a task that has ended, or changed enough.
func (a *awaited) take(i int, t task.Task) {
	if t.Status.Ended() || a.Seen != UntilEnd && t.Version > a.Seen {
		a.found[i] = &t
	}
}

// look looks at the tasks that have changed, or at all.
func (a *awaited) look(ctx context.Context, changed []Event) error {
	for i, id := range a.ids {
		if a.found[i] != nil || changed != nil && !a.concerns(changed, id) {
			continue
		}
		t, err := a.Get(ctx, string(id))
		switch {
		case errors.Is(err, task.ErrNotFound) && len(a.ids) > 1:
			a.found[i] = &task.Task{ID: id} // removed; the others are waited for
		case err != nil:
			return err
		default:
			a.take(i, t)
		}
		if a.done() {
			return nil
		}
	}
	return nil
}

func (a *awaited) concerns(changed []Event, id task.ID) bool {
	for _, ev := range changed {
		if ev.ID == id && (ev.Ended || a.Seen != UntilEnd && ev.Version > a.Seen) {
			return true
		}
	}
	return false
}

func (a *awaited) done() bool {
	missing := 0
	for _, t := range a.found {
		switch {
		case t == nil:
			missing++
		case a.Until == Any, a.Until == FirstFailure && t.Status != task.Completed:
			return true
		}
	}
	return missing == 0
}

// tasks gives all of them, those that have not arrived as they are now.
func (a *awaited) tasks(ctx context.Context) ([]task.Task, error) {
	all := make([]task.Task, len(a.ids))
	for i, t := range a.found {
		if t != nil {
			all[i] = *t
			continue
		}
		now, err := a.Get(ctx, string(a.ids[i]))
		switch {
		case errors.Is(err, task.ErrNotFound):
			now = task.Task{ID: a.ids[i]}
		case err != nil:
			return nil, err
		}
		all[i] = now
	}
	return all, nil
}
