package ipc

import (
	"context"
	"errors"
	"testing"

	"cctask/engine/task"
)

// TestChanges: one stream tells of every task, coalesced, and each new stream
// says that something may have been missed.
func TestChanges(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	f := serve(t, dir)
	c := front(t, dir)
	ctx := within(t, hang)
	ch := c.Changes()
	next := func(wantEnded bool) {
		t.Helper()
		if ended, err := ch.Next(ctx); err != nil || ended != wantEnded {
			t.Fatalf("ended %v, %v; want %v", ended, err, wantEnded)
		}
	}
	next(true) // nobody knows what was before
	a, b := submit(t, c, "a"), submit(t, c, "b")
	f.progress(a.ID)
	next(false)
	f.end(a.ID, task.Completed)
	next(true)
	f.progress(b.ID)
	next(false)
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := ch.Next(short); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing new: %v", err)
	}

	// The stream is lost: that is said once, then a new one stands.
	c.waits.mu.Lock()
	c.waits.cur.cancel()
	c.waits.mu.Unlock()
	if _, err := ch.Next(ctx); !errors.Is(err, task.ErrOwnerGone) {
		t.Errorf("a lost stream: %v", err)
	}
	next(true)
	f.progress(b.ID)
	next(false)
	if n := f.follows.Load(); n != 2 {
		t.Errorf("%d streams", n)
	}
	ch.Close()
	until(t, "the stream has ended", func() bool {
		c.waits.mu.Lock()
		defer c.waits.mu.Unlock()
		return c.waits.cur == nil
	})
}
