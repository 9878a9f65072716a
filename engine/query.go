package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"cctask/engine/task"
)

// Get returns a task with its attempts, its answer and its live progress.
func (e *Engine) Get(_ context.Context, ref string) (task.Task, error) {
	m, err := e.store.Resolve(ref)
	if err != nil {
		return task.Task{}, err
	}
	id, _, err := m.Choose(task.ToRead, time.Now())
	if err != nil {
		return task.Task{}, err
	}
	t, err := e.get(id)
	if m.Count > 1 {
		t.Match = &m
	}
	return t, err
}

// meant gives the id of the one task that a reference means.
func (e *Engine) meant(ref string, use task.Use) (task.ID, error) {
	m, err := e.store.Resolve(ref)
	if err != nil {
		return "", err
	}
	id, _, err := m.Choose(use, time.Now())
	return id, err
}

func (e *Engine) get(id task.ID) (task.Task, error) {
	// Before the record: one that is older than its version would let its
	// reader wait for a change that has been.
	version := max(e.version(id), e.born)
	t, err := e.store.Task(id)
	if err != nil {
		return task.Task{}, err
	}
	t.Version = version
	if t.Attempts, err = e.store.Attempts(id); err != nil {
		return task.Task{}, err
	}
	if t.Status.Ended() && t.ResultBytes > 0 {
		b, err := e.store.Stream(id, t.Attempt, task.Result, 0, task.MaxInlineResult)
		if err != nil {
			return task.Task{}, err
		}
		s := string(b)
		t.Result = &s
	}
	return e.fill(t), nil
}

// fill adds what only the running engine knows.
func (e *Engine) fill(t task.Task) task.Task {
	e.mu.Lock()
	a := e.live[t.ID]
	if t.Status == task.Queued {
		t.QueuePosition, t.Waiting = e.sched.position(t.ID), e.sched.waiting(t.ID, time.Now())
		t.Message = cmp.Or(e.heldBy(t.Spec.Claude), t.Message)
	}
	e.mu.Unlock()
	if full := e.full.Load(); full != nil && !t.Status.Ended() {
		t.Message = *full
	}
	if _, is := e.removing.Load(t.ID); is {
		t.Message = task.BeingRemoved
	}
	if a != nil && t.Status.Live() {
		a.fill(&t)
	}
	return t
}

// List returns a page of tasks.
func (e *Engine) List(ctx context.Context, f task.Filter) (task.Page, error) {
	f.Now = time.Now()
	before := uint64(f.Now.UnixMicro())
	p, err := e.store.List(ctx, f)
	if err != nil {
		return task.Page{}, err
	}
	for i := range p.Tasks {
		// A record is as it was when the page was read: what has changed since
		// must still look new to a reader who waits from this version on.
		p.Tasks[i].Version = max(min(e.version(p.Tasks[i].ID), before), e.born)
		p.Tasks[i] = e.fill(p.Tasks[i])
		p.Tasks[i].Result = nil
	}
	return p, nil
}

// version is 0 for a task that has not changed under this owner, or has ended.
func (e *Engine) version(id task.ID) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.versions[id]
}

// Wait subscribes before it looks, so that no change falls between.
func (e *Engine) Wait(ctx context.Context, ref string, seen uint64) (task.Task, error) {
	id, err := e.meant(ref, task.ToRead)
	if err != nil {
		return task.Task{}, err
	}
	sub := e.hub.Subscribe(id)
	defer sub.Close()
	for {
		t, err := e.get(id)
		if err != nil {
			return task.Task{}, err
		}
		if t.Status.Ended() || seen != UntilEnd && t.Version > seen {
			return t, nil
		}
		if err := e.MayChange(); err != nil {
			return t, err // nobody would ever wake the waiter
		}
		if err := e.awaitEvent(ctx, sub, seen == UntilEnd); err != nil {
			return task.Task{}, err
		}
	}
}

// awaitEvent returns at the next event, or at the next end.
func (e *Engine) awaitEvent(ctx context.Context, sub *Subscription, end bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A waiter must not outlive the engine: whoever waits asks the next owner.
	stop := context.AfterFunc(e.ctx, func() {
		cancel(&task.Error{Code: task.CodeClosing, Message: "the owner is leaving", Hint: "Ask again: a new owner starts by itself."})
	})
	defer stop()
	for {
		evs, err := sub.Next(ctx)
		if err != nil {
			return context.Cause(ctx)
		}
		for _, ev := range evs {
			if ev.Ended || !end {
				return nil
			}
		}
	}
}

// Output reads a live attempt's stream from its spool, which holds all of it,
// and an ended one's from the store.
func (e *Engine) Output(_ context.Context, q OutputQuery) (task.Output, error) {
	id, err := e.meant(q.Ref, task.ToRead)
	if err != nil {
		return task.Output{}, err
	}
	t, err := e.store.Task(id)
	if err != nil {
		return task.Output{}, err
	}
	n := q.Attempt
	if n == 0 {
		n = t.Attempt
	}
	if q.Offset < 0 || q.Tail < 0 || q.Limit < 0 {
		return task.Output{}, &task.Error{Code: task.CodeInvalid, Message: "offset, tail and limit cannot be negative", Hint: "Count from the beginning of the stream, or use tail."}
	}
	if q.Limit == 0 || q.Limit > MaxOutputPiece {
		q.Limit = MaxOutputPiece
	}
	e.mu.Lock()
	a := e.live[id]
	e.mu.Unlock()
	// An ended attempt may be cleaning up still, but only the store says that
	// its stream is whole.
	if a != nil && t.Status.Live() && n == t.Attempt {
		// A spool that was closed meanwhile is in the store; for any other
		// error the store would answer with less than was read before.
		out, err := a.output(n, q)
		if !errors.Is(err, os.ErrClosed) && !errors.Is(err, os.ErrNotExist) {
			return out, err
		}
	}
	return e.sealedOutput(id, n, q)
}

func (e *Engine) sealedOutput(id task.ID, n int, q OutputQuery) (task.Output, error) {
	rec, err := e.store.Attempt(id, n)
	if err != nil {
		return task.Output{}, err
	}
	// The prompt of an attempt may be kept under an earlier one.
	at := n
	switch q.Stream {
	case task.Stdout, task.Stderr, task.Result:
	case task.Prompt:
		at = rec.PromptN
	default:
		return task.Output{}, &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("stream %q is unknown", q.Stream), Hint: "Use stdout, stderr, result or prompt."}
	}
	size, err := e.store.Sealed(id, at, q.Stream)
	if err != nil {
		return task.Output{}, err
	}
	out := task.Output{ID: id, Attempt: n, Stream: q.Stream, Size: size, Done: rec.Status.Ended(), Offset: start(q, size)}
	out.Data, err = e.store.Stream(id, at, q.Stream, out.Offset, q.Limit)
	return out, err
}

// start is the offset that a query begins at in a stream of size bytes.
func start(q OutputQuery, size int64) int64 {
	if q.Tail > 0 {
		return max(0, size-q.Tail)
	}
	return min(q.Offset, size)
}
