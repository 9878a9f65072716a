package engine_test

import (
	"errors"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// after submits a task that waits for others.
func (w *world) after(prompt string, after ...string) task.ID {
	w.Helper()
	t, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: w.home, Claude: w.claude, After: after}, Prompt: prompt, Env: w.env()})
	w.must(err)
	return t.ID
}

// What waits for a task goes on with its end, or is skipped with all that waits for
// it, also when another owner sees the end.
func TestDependencies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	g := fakeclaude.NewGate(t)
	good := w.submit(g.Directive())
	bad := w.submit("[[exit 1]]")
	goesOn := w.after("x", string(good))
	anyway := w.after("x", string(bad)+":any", string(good))
	rescue := w.after("x", string(bad)+":failed")
	skipped := w.after("x", string(bad))
	second := w.after("x", string(skipped)[18:]) // by a part of its id
	w.end(rescue, task.Completed)
	if got := w.end(skipped, task.Skipped); got.Reason != task.ReasonDependency || !strings.Contains(got.Message, string(bad)[18:]+" is failed") {
		t.Errorf("it was skipped for %s: %s", got.Reason, got.Message)
	}
	w.end(second, task.Skipped)
	got, err := w.Get(w.ctx, string(goesOn))
	w.must(err)
	if got.Waiting.For != task.WaitDependency || len(got.Waiting.On) != 1 || got.Waiting.On[0] != string(good) {
		t.Errorf("it waits for %+v", got.Waiting)
	}
	w.Close()
	w.open()
	w.reached(g)()
	w.end(goesOn, task.Completed)
	w.end(anyway, task.Completed)
	w.starts(5)

	// A skipped one alone would be skipped again; with the culprit it comes back.
	if _, err := w.Retry(w.ctx, engine.Again{Ref: string(skipped), Env: w.env()}); !errors.Is(err, task.ErrConflict) || !strings.Contains(task.AsError(err).Hint, "--with-dependants") {
		t.Errorf("a retry of a skipped task: %v", err)
	}
	for _, id := range []task.ID{bad, skipped, second} {
		_, err := w.Retry(w.ctx, engine.Again{Ref: string(id), Env: w.env()})
		w.must(err)
	}
	w.end(second, task.Skipped) // the prompt fails again
}

// comes waits for a signal.
func (w *world) comes(signal <-chan struct{}) {
	w.Helper()
	select {
	case <-signal:
	case <-w.ctx.Done():
		w.Fatal(w.ctx.Err())
	}
}

// What can be known to be wrong is refused before anything is recorded.
func TestBadDependencies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	one := w.submit("x")
	w.end(one, task.Completed)
	for _, s := range []task.Spec{
		{After: []string{"nobody"}},
		{Name: "self", After: []string{"self"}},
		{After: []string{string(one), string(one) + ":failed"}},
	} {
		s.WorkingDir, s.Claude = w.home, w.claude
		if got, err := w.Submit(w.ctx, engine.Submission{Spec: s, Prompt: "x", Env: w.env()}); err == nil {
			t.Errorf("%v was taken: %s", s.After, got.ID)
		}
	}
	yes := true
	_, err := w.Groups(w.ctx, &task.GroupChange{Paused: &yes})
	w.must(err)
	a := w.submit("x")
	b := w.after("x", string(a))
	c := w.after("x", string(b))
	if _, err := w.Edit(w.ctx, engine.Edit{Ref: string(a), Options: draft(t, `{"after":["`+string(c)+`"]}`)}); err == nil || !strings.Contains(err.Error(), "wait for each other") {
		t.Errorf("a cycle: %v", err)
	}
	// A record that goes leaves nobody waiting: those after it are judged first.
	w.must(w.Remove(w.ctx, string(a), true))
	w.end(b, task.Skipped)
	w.end(c, task.Skipped)
}

// A task that is told to wait for another one after it was chosen, and before its claim,
// waits.
func TestDependencyOfAChosenTask(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	g := fakeclaude.NewGate(t)
	dep := w.submit(g.Directive() + "[[exit 1]]")
	open := w.reached(g)
	chosen, edited, claimed := make(chan struct{}, 100), make(chan struct{}), make(chan struct{}, 100)
	w.store.set(func() {
		w.store.task = func(read task.ID) {
			if read != dep && strings.Contains(string(debug.Stack()), ").claim(") {
				claimed <- struct{}{}
			}
		}
		w.store.before = func(wr task.Write) error {
			select {
			case <-edited:
				return nil
			default:
			}
			if becomes(task.Starting)(wr) {
				chosen <- struct{}{}
				return &task.Error{Code: task.CodeNoSpace, Message: "write tasks.db"} // the claim is tried again
			}
			return nil
		}
	})
	id := w.submit("x")
	<-chosen
	_, err := w.Edit(w.ctx, engine.Edit{Ref: string(id), Options: draft(t, `{"after":["`+string(dep)+`"]}`)})
	w.must(err)
	for len(claimed) > 0 {
		<-claimed
	}
	close(edited)
	w.comes(claimed)
	open()
	w.end(id, task.Skipped)
	w.starts(1)
}

// A need that becomes a stricter one while it is looked at is not met by what the one
// before it asked for.
func TestNeedIsChangedWhileItIsLookedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	yes := true
	bad := w.submit("[[exit 1]]")
	w.end(bad, task.Failed)
	_, err := w.Groups(w.ctx, &task.GroupChange{Paused: &yes})
	w.must(err)
	id := w.submit("x")
	edit := func(want string) {
		if _, err := w.Edit(w.ctx, engine.Edit{Ref: string(id), Options: draft(t, `{"after":["`+string(bad)+want+`"]}`)}); err != nil {
			t.Error(err)
		}
	}
	var once sync.Once
	edited, judge, judged := make(chan struct{}), make(chan struct{}), make(chan struct{}, 100)
	w.store.set(func() {
		w.store.task = func(read task.ID) {
			if read != bad || !strings.Contains(string(debug.Stack()), ").settler(") {
				return
			}
			first := false
			once.Do(func() {
				first = true
				go func() { edit(":completed"); close(edited) }()
			})
			if !first {
				judged <- struct{}{}
				<-judge
				return
			}
			select {
			case <-edited:
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	edit(":any")
	<-edited
	w.comes(judged)
	got, err := w.Get(w.ctx, string(id))
	w.must(err)
	if got.Waiting.For == task.WaitGroupPaused {
		t.Error("it does not wait for the other task any more")
	}
	close(judge)
	w.end(id, task.Skipped)
}

// Two changes at the same time do not make tasks wait for each other.
func TestCycleOfTwoChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	yes := true
	_, err := w.Groups(w.ctx, &task.GroupChange{Paused: &yes})
	w.must(err)
	a, b := w.submit("x"), w.submit("x")
	both := make(chan struct{}, 2)
	w.store.set(func() {
		w.store.task = func(task.ID) {
			if !strings.Contains(string(debug.Stack()), ").noCycle(") {
				return
			}
			both <- struct{}{}
			for range 20 {
				if time.Sleep(10 * time.Millisecond); len(both) == 2 {
					return
				}
			}
			<-both
		}
	})
	errs := make(chan error)
	for id, other := range map[task.ID]task.ID{a: b, b: a} {
		go func() {
			_, err := w.Edit(w.ctx, engine.Edit{Ref: string(id), Options: draft(t, `{"after":["`+string(other)+`"]}`)})
			errs <- err
		}()
	}
	if one, two := <-errs, <-errs; one == nil && two == nil {
		t.Error("each waits for the other")
	}
}

// A task that has failed and is removed at the moment at which another one is recorded
// that waits for it has not met that one.
func TestRemovedWhileItIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	bad := w.submit("[[exit 1]]")
	w.end(bad, task.Failed)
	removed := make(chan error, 1)
	var once sync.Once
	w.store.set(func() {
		w.store.before = func(wr task.Write) error {
			if wr.Task != nil && len(wr.Task.Spec.After) > 0 {
				once.Do(func() {
					go func() { removed <- w.Remove(w.ctx, string(bad), false) }()
					select { // it would be over by then
					case err := <-removed:
						removed <- err
					case <-time.After(200 * time.Millisecond):
					}
				})
			}
			return nil
		}
	})
	waits := w.after("x", string(bad))
	w.must(<-removed)
	w.end(waits, task.Skipped)
}

// A task whose dependencies could not be looked at is looked at again.
func TestDependencyIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	failed := false
	w.store.set(func() {
		w.store.before = func(write task.Write) error {
			if write.Task == nil || write.Task.Status != task.Skipped || failed {
				return nil
			}
			failed = true
			return errors.New("a fault")
		}
	})
	tasks, err := w.SubmitAll(w.ctx, engine.Batch{Tasks: []engine.Submission{w.submission("a", "[[fail]]"), w.submission("", "x", "a")}})
	w.must(err)
	w.end(tasks[1].ID, task.Skipped)
}
