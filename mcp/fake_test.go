package mcp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// fake is a Service in memory. Tasks run until a test ends them.
type fake struct {
	mu      sync.Mutex
	changed chan struct{}             // closed and replaced with each change of anything
	moved   map[task.ID]chan struct{} // the same with each change of a task: a thousand waiting calls must not wake each other
	tasks   map[task.ID]*task.Task
	order   []task.ID
	keys    map[string]task.ID
	output  map[task.Stream][]byte
	waiting int
	watches int
	calls   []string
	subs    []engine.Submission
	fault   error // what every call answers, if set

	submitting, submit chan struct{} // if set: tells of a submission, lets it go on
}

// absent is a Service whose owner never comes.
type absent struct{ engine.Service }

func (absent) Submit(ctx context.Context, _ engine.Submission) (task.Task, error) {
	<-ctx.Done()
	return task.Task{}, ctx.Err()
}

func (absent) Get(ctx context.Context, _ string) (task.Task, error) {
	<-ctx.Done()
	return task.Task{}, ctx.Err()
}

func (absent) Show(ctx context.Context, _ task.Look) (task.Shown, error) {
	<-ctx.Done()
	return task.Shown{}, ctx.Err()
}

func (absent) List(ctx context.Context, _ task.Filter) (task.Page, error) {
	<-ctx.Done()
	return task.Page{}, ctx.Err()
}

func (absent) Cancel(ctx context.Context, _ string) (task.Task, error) {
	<-ctx.Done()
	return task.Task{}, ctx.Err()
}

func newFake() *fake {
	return &fake{
		changed: make(chan struct{}), moved: map[task.ID]chan struct{}{}, tasks: map[task.ID]*task.Task{}, keys: map[string]task.ID{},
		output: map[task.Stream][]byte{task.Stdout: []byte("out\n"), task.Stderr: []byte("err\n")},
	}
}

func fakeID(n int) task.ID { return task.ID(fmt.Sprintf("01JD%022d", n)) }

// call notes a call and returns the fault that is set. Callers hold no lock.
func (f *fake) call(name, ref string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, strings.TrimSpace(name+" "+ref))
	return f.fault
}

func (f *fake) called(call string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.calls, call)
}

// change alters a task and wakes the waiting.
func (f *fake) change(id task.ID, do func(*task.Task)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do(f.tasks[id])
	f.tasks[id].Version++
	f.move(id)
}

func (f *fake) move(id task.ID) {
	if f.moved[id] != nil {
		close(f.moved[id])
	}
	f.moved[id] = make(chan struct{})
	f.wake()
}

func (f *fake) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) end(id task.ID, s task.Status, result string) {
	f.change(id, func(t *task.Task) {
		code := 0
		if s != task.Completed {
			code, t.Reason, t.Message = 1, task.ReasonProcessFailed, "claude ended with exit code 1"
		}
		t.ExitCode, t.CostUSD, t.NumTurns, t.DurationMS = &code, 0.12, 4, 92_000
		t.Status, t.FinishedAt = s, time.Now()
		t.Result, t.ResultBytes = &result, int64(len(result))
	})
}

// hang bounds what takes long only if it hangs, however busy the machine is.
const hang = 5 * time.Minute

// until waits for a condition on the fake that its changes signal.
func (f *fake) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(hang)
	for {
		f.mu.Lock()
		done, changed := ok(), f.changed
		f.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func (f *fake) Submit(_ context.Context, s engine.Submission) (task.Task, error) {
	if err := f.call("Submit", ""); err != nil {
		return task.Task{}, err
	}
	if f.submitting != nil {
		close(f.submitting)
		<-f.submit
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs = append(f.subs, s)
	if id, ok := f.keys[s.Key]; ok {
		return *f.tasks[id], nil
	}
	id, now := fakeID(len(f.order)+1), time.Now()
	t := &task.Task{
		ID: id, Spec: s.Spec, PromptBytes: len(s.Prompt), PromptHead: task.Head(s.Prompt), Status: task.Running, Attempt: 1, Version: 1,
		CreatedAt: now, QueuedAt: now, StartedAt: now, SessionID: id.UUID(),
	}
	f.tasks[id], f.keys[s.Key] = t, id
	f.order = append(f.order, id)
	f.move(id)
	return *t, nil
}

func (f *fake) find(ref string) (*task.Task, error) {
	for id, t := range f.tasks {
		if string(id) == ref || t.Spec.Name == ref {
			return t, nil
		}
	}
	return nil, &task.Error{Code: task.CodeNotFound, Message: fmt.Sprintf("no task %q", ref), Hint: "List the tasks with `cctask list --all`."}
}

func (f *fake) SubmitAll(ctx context.Context, b engine.Batch) (out []task.Task, err error) {
	for i, s := range b.Tasks {
		if b.Key != "" {
			s.Key = fmt.Sprintf("%s/%d", b.Key, i)
		}
		t, err := f.Submit(ctx, s)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func (f *fake) Get(_ context.Context, ref string) (task.Task, error) {
	if err := f.call("Get", ref); err != nil {
		return task.Task{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(ref)
	if err != nil {
		return task.Task{}, err
	}
	return *t, nil
}

func (f *fake) Show(ctx context.Context, l task.Look) (s task.Shown, err error) {
	t, err := f.Get(ctx, l.Ref)
	if err == nil {
		err = s.Set(t)
	}
	end := func(stream task.Stream, n int64) *task.Output {
		if err != nil || n == 0 || l.BadOnly && (!t.Status.Ended() || t.Status == task.Completed) {
			return nil
		}
		var out task.Output
		out, err = f.Output(ctx, engine.OutputQuery{Ref: string(t.ID), Stream: stream, Tail: n})
		return &out
	}
	s.Stdout, s.Stderr = end(task.Stdout, l.Stdout), end(task.Stderr, l.Stderr)
	return s, err
}

func (f *fake) List(_ context.Context, q task.Filter) (task.Page, error) {
	if err := f.call("List", fmt.Sprint(q.Limit)); err != nil {
		return task.Page{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var p task.Page
	for _, id := range slices.Backward(f.order) {
		t := *f.tasks[id]
		t.Result = nil
		switch {
		case q.Cursor != "" && string(id) >= q.Cursor, len(q.Statuses) > 0 && !slices.Contains(q.Statuses, t.Status),
			len(q.Labels) > 0 && !slices.Contains(t.Spec.Labels, q.Labels[0]), q.WorkingDir != "" && q.WorkingDir != t.Spec.WorkingDir,
			!strings.Contains(t.Spec.Name, q.Name), !strings.Contains(t.PromptHead, q.Search), q.Below != "" && q.Below != t.ParentID:
		case len(p.Tasks) == q.Limit:
			p.NextCursor = string(p.Tasks[q.Limit-1].ID)
			return p, nil
		default:
			p.Tasks = append(p.Tasks, t)
		}
	}
	return p, nil
}

func (f *fake) Wait(ctx context.Context, q engine.WaitQuery) ([]task.Task, error) {
	if err := f.call("Wait", strings.Join(q.Refs, ",")); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.waiting++
	f.wake()
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.waiting--
		f.wake()
	}()
	return engine.Await(ctx, looks{f}, q)
}

// looks are those of a wait, of which no test wants to know.
type looks struct{ *fake }

func (l looks) Get(_ context.Context, ref string) (task.Task, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, err := l.find(ref)
	if err != nil {
		return task.Task{}, err
	}
	return *t, nil
}

func (f *fake) Watch(s engine.Scope) engine.Watch {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watches++
	f.wake()
	return &fakeWatch{f: f, of: s, seen: map[task.ID]uint64{}}
}

// fakeWatch tells of the tasks that it is of.
type fakeWatch struct {
	f     *fake
	of    engine.Scope
	began bool
	seen  map[task.ID]uint64
}

func (w *fakeWatch) Close() {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	w.f.watches--
	w.f.wake()
}

func (w *fakeWatch) Next(ctx context.Context) ([]engine.Event, error) {
	for {
		w.f.mu.Lock()
		var evs []engine.Event
		var moved chan struct{} = w.f.changed
		ids := w.of.IDs
		if len(ids) == 0 {
			ids = slices.Collect(maps.Keys(w.seen)) // removed ones among them
			for id := range w.f.tasks {
				if _, known := w.seen[id]; !known {
					ids = append(ids, id)
				}
			}
		}
		for _, id := range ids {
			t := w.f.tasks[id]
			ev := engine.Event{ID: id, Version: 1 << 62, Ended: true} // removed
			if t != nil {
				ev = engine.Event{ID: id, Version: t.Version, Ended: t.Status.Ended()}
			}
			if was, known := w.seen[id]; (known || w.began) && was != ev.Version && (ev.Ended || !w.of.Ends) {
				evs = append(evs, ev)
			}
			w.seen[id] = ev.Version
			if len(w.of.IDs) == 1 && w.f.moved[id] != nil {
				moved = w.f.moved[id]
			}
		}
		w.f.mu.Unlock()
		if !w.began || len(evs) > 0 {
			w.began = true
			return evs, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *fake) Output(_ context.Context, q engine.OutputQuery) (task.Output, error) {
	if err := f.call("Output", q.Ref); err != nil {
		return task.Output{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(q.Ref)
	if err != nil {
		return task.Output{}, err
	}
	data := f.output[q.Stream]
	if q.Stream == task.Result && t.Result != nil {
		data = []byte(*t.Result)
	}
	n := int64(len(data))
	from := min(q.Offset, n)
	if q.Tail > 0 {
		from = max(0, n-q.Tail)
	}
	to := n
	if q.Limit > 0 {
		to = min(n, from+int64(q.Limit))
	}
	return task.Output{ID: t.ID, Stream: q.Stream, Offset: from, Data: data[from:to], Size: n, Done: t.Status.Ended()}, nil
}

func (f *fake) Cancel(_ context.Context, ref string) (task.Task, error) {
	if err := f.call("Cancel", ref); err != nil {
		return task.Task{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(ref)
	if err != nil {
		return task.Task{}, err
	}
	if !t.Status.Ended() {
		t.Status, t.Reason, t.Message, t.FinishedAt = task.Cancelled, task.ReasonCancelled, "cancelled", time.Now()
		t.Version++
		f.move(t.ID)
	}
	return *t, nil
}

func (f *fake) Resume(context.Context, engine.Again) (task.Task, error) { panic("not used") }
func (f *fake) Retry(context.Context, engine.Again) (task.Task, error)  { panic("not used") }

func (f *fake) Edit(context.Context, engine.Edit) (task.Task, error) { panic("not used") }

func (f *fake) Groups(context.Context, *task.GroupChange) ([]task.Group, error) { panic("not used") }

func (f *fake) Gates(context.Context, string) ([]task.Gate, error) { panic("not used") }

func (f *fake) Budgets(context.Context) ([]task.Budget, error) { panic("not used") }

func (f *fake) Remove(_ context.Context, ref string, force bool) error {
	if err := f.call("Remove", ref); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(ref)
	if err != nil {
		return err
	}
	if !force && !t.Status.Ended() {
		return &task.Error{Code: task.CodeConflict, Message: "the task is live"}
	}
	delete(f.tasks, t.ID)
	f.order = slices.DeleteFunc(f.order, func(id task.ID) bool { return id == t.ID })
	f.move(t.ID)
	return nil
}

// seed records a task without going through the server.
func (f *fake) seed(t testing.TB) task.ID {
	t.Helper()
	done, err := f.Submit(context.Background(), engine.Submission{Prompt: "seed", Spec: task.Spec{WorkingDir: "/project/dir", Claude: "/usr/bin/claude"}, Key: fmt.Sprint("seed", len(f.order))})
	if err != nil {
		t.Fatal(err)
	}
	return done.ID
}
