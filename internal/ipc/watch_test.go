package ipc

import (
	"context"
	"errors"
	"slices"
	"testing"

	"cctask/engine"
	"cctask/engine/task"
)

// TestWatch: one stream tells of every task, coalesced, and each new stream says that
// something may have been missed.
func TestWatch(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	f := serve(t, dir)
	c := front(t, dir)
	ctx := within(t, hang)
	w := c.Watch(engine.Scope{})
	next := func(want ...engine.Event) {
		t.Helper()
		got, err := w.Next(ctx)
		for i := range got {
			got[i].Version = 0
		}
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
	}
	next() // nobody knows what was before
	a, b := submit(t, c, "a"), submit(t, c, "b")
	f.progress(a.ID)
	next(engine.Event{ID: a.ID})
	f.end(a.ID, task.Completed)
	next(engine.Event{ID: a.ID, Ended: true})
	f.progress(b.ID)
	next(engine.Event{ID: b.ID})
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := w.Next(short); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing new: %v", err)
	}

	// The stream is lost: a new one stands, and that is said once.
	c.waits.mu.Lock()
	c.waits.cur.cancel()
	c.waits.mu.Unlock()
	next()
	f.progress(b.ID)
	next(engine.Event{ID: b.ID})
	if n := f.follows.Load(); n != 2 {
		t.Errorf("%d streams", n)
	}
	w.Close()
	until(t, "the stream has ended", func() bool {
		c.waits.mu.Lock()
		defer c.waits.mu.Unlock()
		return c.waits.cur == nil
	})
}
