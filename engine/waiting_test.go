package engine_test

import (
	"testing"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// Why a queued task waits is told by its owner, and by the one after it, which
// knows the queue from its places alone.
func TestWaitingIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	g := fakeclaude.NewGate(t)
	busy := w.submit(g.Directive())
	defer w.reached(g)()
	spec := func(change func(*task.Spec)) task.ID {
		t.Helper()
		s := task.Spec{WorkingDir: w.home, Claude: w.claude}
		change(&s)
		got, err := w.Submit(w.ctx, engine.Submission{Spec: s, Prompt: "x", Env: w.env()})
		w.must(err)
		return got.ID
	}
	want := map[task.ID]task.WaitingFor{
		spec(func(*task.Spec) {}): task.WaitSlot,
	}
	low, high := spec(func(s *task.Spec) { s.Priority = -1 }), spec(func(s *task.Spec) { s.Priority = 1 })
	want[low], want[high] = task.WaitSlot, task.WaitSlot
	want[spec(func(s *task.Spec) { s.Hold = true })] = task.WaitHeld
	look := func(when string) {
		t.Helper()
		for id, reason := range want {
			got, err := w.Get(w.ctx, string(id))
			w.must(err)
			if got.Waiting.For != reason {
				t.Errorf("%s: %+v waits for %+v, want %s", when, got.Spec, got.Waiting, reason)
			}
		}
		for id, place := range map[task.ID]int{high: 1, low: 3} {
			if got, err := w.Get(w.ctx, string(id)); err != nil || got.QueuePosition != place {
				t.Errorf("%s: priority %d is at %d, want %d, %v", when, got.Spec.Priority, got.QueuePosition, place, err)
			}
		}
	}
	look("as submitted")
	w.Close()
	w.open()
	look("after a restart")
	_, err := w.Cancel(w.ctx, string(busy))
	w.must(err)
	w.end(low, task.Completed)
	first, err := w.Get(w.ctx, string(high))
	w.must(err)
	if second, err := w.Get(w.ctx, string(low)); err != nil || !first.StartedAt.Before(second.StartedAt) {
		t.Errorf("the higher priority started at %v, the lower at %v, %v", first.StartedAt, second.StartedAt, err)
	}
}
