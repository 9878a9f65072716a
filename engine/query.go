package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"cctask/engine/runner"
	"cctask/engine/task"
)

func (e *Engine) Show(_ context.Context, l task.Look) (task.Shown, error) {
	if l.Stdout < 0 || l.Stderr < 0 {
		return task.Shown{}, errNegative
	}
	l.Stdout, l.Stderr = min(l.Stdout, MaxOutputPiece), min(l.Stderr, MaxOutputPiece)
	if id, err := task.ParseID(l.Ref); err == nil {
		return e.show(id, l)
	}
	m, err := e.store.Resolve(l.Ref)
	if err != nil {
		return task.Shown{}, err
	}
	id, _, err := m.Choose(task.ToRead, time.Now())
	if err != nil {
		return task.Shown{}, err
	}
	s, err := e.show(id, l)
	if m.Count > 1 {
		s.Match = &m
	}
	return s, err
}

func (e *Engine) Get(ctx context.Context, ref string) (task.Task, error) {
	s, err := e.Show(ctx, task.Look{Ref: ref, Attempts: true})
	if err != nil {
		return task.Task{}, err
	}
	return s.Task()
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
	s, err := e.show(id, task.Look{Attempts: true})
	if err != nil {
		return task.Task{}, err
	}
	return s.Task()
}

// show gives the record of a task that has ended as it is stored. That of another
// one is taken apart, since the running engine knows more of it.
func (e *Engine) show(id task.ID, l task.Look) (task.Shown, error) {
	for again := false; ; again = true {
		// Before the record: one that is older than its version would let its
		// reader wait for a change that has been.
		version := max(e.version(id), e.born)
		// Before the record too: the removal may be over when the record is here.
		_, removing := e.removing.Load(id)
		s, err := e.store.Show(id, l)
		if err != nil {
			return s, err
		}
		s.Version = version
		_, since := e.removing.Load(id)
		if removing = removing || since; s.Status.Ended() && !removing {
			return s, nil
		}
		t, err := s.Task()
		if err != nil {
			return s, err
		}
		if t = e.fill(t); removing {
			t.Message = task.BeingRemoved
		}
		if err := s.Set(t); err != nil {
			return s, err
		}
		err = e.liveTails(&s, t, l)
		// A spool that was closed meanwhile is in the store by now; for any other
		// error the store would answer with less than was read before.
		// So does a site that is silent, but no more is to be had then.
		switch gone := errors.Is(err, os.ErrClosed) || errors.Is(err, os.ErrNotExist) || errors.Is(err, runner.ErrSilent); {
		case !gone:
			return s, err
		case again:
			return s, nil
		}
	}
}

// liveTails puts the ends of a live attempt's spool, which holds all of its output,
// in place of those that the store has.
func (e *Engine) liveTails(s *task.Shown, t task.Task, l task.Look) error {
	e.mu.Lock()
	a := e.live[t.ID]
	e.mu.Unlock()
	if a == nil || !t.Status.Live() {
		return nil
	}
	for _, out := range []*task.Output{s.Stdout, s.Stderr} {
		if out == nil {
			continue
		}
		q := OutputQuery{Stream: out.Stream, Tail: l.Stdout, Limit: MaxOutputPiece}
		if out.Stream == task.Stderr {
			q.Tail = l.Stderr
		}
		end, err := a.output(e.ctx, t.Attempt, q)
		if err != nil {
			return err
		}
		*out = end
	}
	return nil
}

// fill adds what only the running engine knows.
func (e *Engine) fill(t task.Task) task.Task {
	e.mu.Lock()
	a := e.live[t.ID]
	if t.Status == task.Queued {
		t.QueuePosition, t.Waiting = e.sched.position(t.ID), e.sched.waiting(t.ID, time.Now())
		t.Message = cmp.Or(e.heldBy(t.Spec), t.Message)
	}
	gate := e.gates[t.Account]
	e.mu.Unlock()
	t.Waiting.Names = e.named(t.Waiting.On)
	if t.Waiting.For == task.WaitUsageLimit {
		t.Waiting.Names = []string{gate.Says()}
	}
	if full := e.full.Load(); full != nil && !t.Status.Ended() {
		t.Message = *full
	}
	if _, is := e.removing.Load(t.ID); is {
		t.Message = task.BeingRemoved
	}
	if a != nil && t.Status.Live() {
		a.fill(&t)
		t.Message = cmp.Or(t.Message, nearlySpent(&t), e.warning(t.ID))
	}
	return t
}

// named are tasks as people call them: by their names, else by the ends of their ids.
func (e *Engine) named(refs []string) (names []string) {
	for _, ref := range refs {
		id, err := task.ParseID(ref)
		if err == nil {
			ref = ref[len(ref)-8:]
			if t, err := e.store.Task(id); err == nil {
				ref = cmp.Or(t.Spec.Name, ref)
			}
		}
		names = append(names, ref)
	}
	return names
}

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

// Wait returns tasks that have ended, or one that has changed.
func (e *Engine) Wait(ctx context.Context, q WaitQuery) ([]task.Task, error) { return Await(ctx, e, q) }

// Watch tells of changes until the engine ends.
func (e *Engine) Watch(s Scope) Watch { return &engineWatch{e: e, sub: e.hub.Subscribe(s)} }

type engineWatch struct {
	e      *Engine
	sub    *Subscription
	looked bool
}

func (w *engineWatch) Close() { w.sub.Close() }

func (w *engineWatch) Next(ctx context.Context) ([]Event, error) {
	if !w.looked {
		w.looked = true
		return nil, nil
	}
	if err := w.e.MayChange(); err != nil {
		return nil, err // nobody would ever wake the watcher
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A watcher must not outlive the engine: whoever watches asks the next owner.
	stop := context.AfterFunc(w.e.ctx, func() {
		cancel(&task.Error{Code: task.CodeClosing, Message: "the owner is leaving", Hint: "Ask again: a new owner starts by itself."})
	})
	defer stop()
	evs, err := w.sub.Next(ctx)
	if err != nil {
		return nil, context.Cause(ctx)
	}
	return evs, nil
}

var errNegative = &task.Error{Code: task.CodeInvalid, Message: "offset, tail and limit cannot be negative", Hint: "Count from the beginning of the stream, or use tail."}

// Output reads a live attempt's stream from its spool, which holds all of it,
// and an ended one's from the store.
func (e *Engine) Output(ctx context.Context, q OutputQuery) (task.Output, error) {
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
		return task.Output{}, errNegative
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
		out, err := a.output(ctx, n, q)
		switch {
		case errors.Is(err, runner.ErrSilent):
			return e.untilNow(id, n, q)
		case !errors.Is(err, os.ErrClosed) && !errors.Is(err, os.ErrNotExist):
			return out, err
		}
	}
	return e.sealedOutput(id, n, q)
}

// untilNow is what is sealed of a live attempt whose site does not answer. A reader
// that has had more is told of nothing new, and never thrown back.
func (e *Engine) untilNow(id task.ID, n int, q OutputQuery) (task.Output, error) {
	out, err := e.sealedOutput(id, n, q)
	if q.Tail == 0 {
		out.Offset = q.Offset
	}
	out.Size = max(out.Size, out.Offset)
	return out, err
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
