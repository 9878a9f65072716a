package engine_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// lose makes a task that was killed before claude had made its session.
func (w *world) lose() task.ID {
	w.Helper()
	id := w.submit("[[kill 9]]")
	w.end(id, task.Interrupted)
	return id
}

// A cancel that comes as claude finds its session gone is not forgotten by the
// fresh start.
func TestCancelOfALostSession(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 1)
		id := w.lose()
		followed, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		w.store.set(func() {
			w.store.sealed = func(n int) {
				if n == 2 {
					once.Do(func() { close(followed); <-goOn })
				}
			}
		})
		_, err := w.Resume(w.ctx, engine.Again{Ref: string(id), Env: w.env()})
		w.must(err)
		<-followed
		r, err := runner.Open(w.runDir(id, "2"))
		w.must(err)
		w.must(r.Wait(w.ctx))
		cancelled := make(chan task.Task, 1)
		go func() {
			got, err := w.Cancel(w.ctx, string(id))
			if err != nil {
				t.Error(err)
			}
			cancelled <- got
		}()
		w.until("the wish is recorded", func() bool { t, err := w.Get(w.ctx, string(id)); return err == nil && t.CancelRequested })
		close(goOn)
		if got := <-cancelled; got.Attempt != 2 || !got.Status.Ended() {
			t.Errorf("attempt %d is %s", got.Attempt, got.Status)
		}
		w.starts(2)
	})
}

// A resume whose answer was lost is repeated: it starts nothing, even if the
// attempt that it made is no longer the last one.
func TestRepeatedResumeAfterAFreshStart(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 1)
		id := w.lose()
		again := engine.Again{Ref: string(id), Env: w.env(), Key: "same"}
		_, err := w.Resume(w.ctx, again)
		w.must(err)
		w.until("the fresh attempt has ended", func() bool {
			t, err := w.Get(w.ctx, string(id))
			return err == nil && t.Attempt == 3 && t.Status.Ended()
		})
		got, err := w.Resume(w.ctx, again)
		if err != nil || got.Attempt != 3 || !got.Status.Ended() {
			t.Errorf("attempt %d is %s, %v", got.Attempt, got.Status, err)
		}
		w.starts(3)
	})
}

// A record is never older than the version that it is shown with.
func TestVersionIsNotNewerThanItsRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	gate := fakeclaude.NewGate(t)
	w.submit(gate.Directive())
	open := w.reached(gate)
	id := w.submit("[[delay 1m]]") // says nothing: no later change hides the lost one
	looked, goOn := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	w.store.set(func() {
		w.store.task = func(got task.ID) {
			if got == id && !once.Swap(true) {
				close(looked)
				<-goOn
			}
		}
	})
	shown := make(chan task.Task, 1)
	go func() {
		t, _ := w.Get(w.ctx, string(id))
		shown <- t
	}()
	<-looked
	open()
	w.until("running", func() bool { t, err := w.Get(w.ctx, string(id)); return err == nil && t.Status == task.Running })
	if _, err := w.Retry(w.ctx, engine.Again{Ref: string(id)}); err == nil { // waits for the change's last step
		t.Error("a running task was retried")
	}
	close(goOn)
	old := <-shown
	if got, err := engine.WaitFor(w.ctx, w, string(id), old.Version); err != nil || old.Status == task.Queued && got.Status != task.Running {
		t.Errorf("shown as %s; then %s, %v", old.Status, got.Status, err)
	}
}

// While all is cancelled, no slot that frees is taken again.
func TestCancelAllStartsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	gate := fakeclaude.NewGate(t)
	w.submit(gate.Directive())
	for range 20 {
		w.submit("[[text x]]")
	}
	defer w.reached(gate)()
	w.must(w.CancelAll(w.ctx))
	if st := w.Stats(); st.Queued != 0 {
		t.Errorf("%+v", st)
	}
	w.starts(1)
}

// Many tasks wait in order and can be cancelled, retried and removed
// while the pool takes them.
func TestManyQueued(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	gate := fakeclaude.NewGate(t)
	w.submit(gate.Directive())
	w.submit(gate.Directive())
	var ids []task.ID
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 30 {
				id := w.submit("[[text x]]")
				mu.Lock()
				ids = append(ids, id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if st := w.Stats(); st.Queued != 300 {
		t.Errorf("%+v", st)
	}
	defer w.reached(gate)()
	for i, id := range ids[:30] {
		wg.Go(func() {
			_, err := w.Cancel(w.ctx, string(id))
			if err == nil && i%2 == 0 {
				_, err = w.Retry(w.ctx, engine.Again{Ref: string(id), Env: w.env()})
			} else if err == nil {
				err = w.Remove(w.ctx, string(id), true)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if st := w.Stats(); st.Queued != 285 {
		t.Errorf("%+v", st)
	}
}

// Output looks at attempts that are being claimed, for the race detector.
func TestReadersWhileTasksAreClaimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	id := w.submit("[[error error_max_turns]]")
	claimed := make(chan struct{}, 100)
	w.store.set(func() {
		w.store.after = func(w task.Write) error {
			if becomes(task.Starting)(w) {
				claimed <- struct{}{}
			}
			return nil
		}
	})
	ctx, stop := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = w.Output(ctx, engine.OutputQuery{Ref: string(id), Stream: task.Stdout})
			}
		})
	}
	for range 3 {
		w.end(id, task.Failed)
		_, err := w.Retry(w.ctx, engine.Again{Ref: string(id), Env: w.env()})
		w.must(err)
		<-claimed
	}
	stop()
	wg.Wait()
}

// claude may have written much before the owner has heard that it runs.
func TestOutputBeforeTheRunnersAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	answered := make(chan struct{})
	w.site.start = func(ctx context.Context, name string, o runner.Order) (runner.Sight, error) {
		rec, err := w.site.Site.Start(ctx, name, o)
		<-answered
		return rec, err
	}
	gate := fakeclaude.NewGate(t)
	id := w.submit("[[flood 1000]]" + gate.Directive())
	open, err := gate.Reached(w.ctx)
	w.must(err)
	out, err := w.Output(w.ctx, engine.OutputQuery{Ref: string(id), Stream: task.Stdout})
	if err != nil || len(out.Data) < 1000 || out.Done {
		t.Errorf("%d bytes of %d, done %v, %v", len(out.Data), out.Size, out.Done, err)
	}
	close(answered)
	open()
	w.end(id, task.Completed)
}

// Who waits for a task that is removed learns so, also where the removal is over
// between the read of the record and the look at what is being removed.
func TestReadOfATaskThatIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	id := w.submit("[[hang]]")
	ended, goOn, removed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	w.store.set(func() {
		w.store.after = func(wr task.Write) error {
			if wr.Task != nil && wr.Task.Status == task.Cancelled {
				close(ended)
				<-goOn
			}
			return nil
		}
	})
	go func() { removed <- w.Remove(w.ctx, string(id), true) }()
	<-ended
	w.store.set(func() {
		w.store.task = func(task.ID) {
			w.store.set(func() { w.store.task = nil })
			close(goOn)
			w.must(<-removed)
		}
	})
	got, err := w.Get(w.ctx, string(id))
	w.must(err)
	if got.Status != task.Cancelled || got.Message != task.BeingRemoved {
		t.Errorf("%s: %q", got.Status, got.Message)
	}
}
