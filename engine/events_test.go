package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"cctask/engine/task"
)

func TestSubscriberSeesTheNewestOfEachTask(t *testing.T) {
	var h Hub
	all, one := h.Subscribe(Scope{}), h.Subscribe(Scope{IDs: []task.ID{"b"}})
	h.Publish(Event{ID: "a", Version: 1})
	h.Publish(Event{ID: "b", Version: 1})
	h.Publish(Event{ID: "a", Version: 2, Ended: true})
	got, err := all.Next(context.Background())
	if err != nil || len(got) != 2 || got[0] != (Event{"a", 2, true}) || got[1] != (Event{"b", 1, false}) {
		t.Errorf("all saw %v, %v", got, err)
	}
	got, err = one.Next(context.Background())
	if err != nil || len(got) != 1 || got[0].ID != "b" {
		t.Errorf("one saw %v, %v", got, err)
	}
	all.Close()
	one.Close()
	if len(h.subs) != 0 {
		t.Errorf("%d subscriptions are left", len(h.subs))
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Hub
		s := h.Subscribe(Scope{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next = %v", err)
		}
	})
}

// No event between a look and the next Next may be lost.
func TestNoWakeUpIsLost(t *testing.T) {
	var h Hub
	s := h.Subscribe(Scope{})
	const n = 10000
	go func() {
		for v := uint64(1); v <= n; v++ {
			h.Publish(Event{ID: "a", Version: v})
		}
	}()
	for {
		evs, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if evs[len(evs)-1].Version == n {
			return
		}
	}
}

func TestKeyedMutexForgetsItsKeys(t *testing.T) {
	var k keyedMutex
	var n int
	done := make(chan struct{})
	for range 50 {
		go func() {
			unlock := k.lock(task.ID("x"))
			n++
			unlock()
			done <- struct{}{}
		}()
	}
	for range 50 {
		<-done
	}
	if n != 50 || len(k.held) != 0 {
		t.Errorf("n = %d, %d keys are held", n, len(k.held))
	}
}
