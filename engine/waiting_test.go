package engine_test

import (
	"os"
	"path/filepath"
	"slices"
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

// One exclusive task at a time works in a directory: by whatever link it is named,
// and also while another one works in a part of it. The next owner holds the same
// directories, of those that run as of those that wait.
func TestExclusiveDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8)
	top := filepath.Join(w.home, "top")
	part, beside, link := filepath.Join(top, "part"), filepath.Join(w.home, "top2"), filepath.Join(w.home, "link")
	w.must(os.MkdirAll(part, 0o755))
	w.must(os.Mkdir(beside, 0o755))
	w.must(os.Symlink(top, link))
	submit := func(dir string, mode task.WorkdirMode, prompt string) task.ID {
		t.Helper()
		got, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: dir, Claude: w.claude, WorkdirMode: mode}, Prompt: prompt, Env: w.env()})
		w.must(err)
		return got.ID
	}
	g := fakeclaude.NewGate(t)
	holder := submit(part, task.DirExclusive, g.Directive())
	open := w.reached(g)
	waits := map[task.ID][]string{
		submit(link, task.DirExclusive, "by a link"):              {top},
		submit(link+"/part", task.DirExclusive, "the same"):       {string(holder)},
		submit(part+"/..//part", task.DirExclusive, "spelt anew"): {string(holder)},
	}
	w.end(submit(beside, task.DirExclusive, "beside it"), task.Completed)
	w.end(submit(part, task.DirShared, "shared"), task.Completed)
	look := func(when string) {
		t.Helper()
		for id, on := range waits {
			got, err := w.Get(w.ctx, string(id))
			w.must(err)
			if got.Waiting.For != task.WaitDirectory || !slices.Equal(got.Waiting.On, on) {
				t.Errorf("%s: %s waits for %+v, want %s", when, got.PromptHead, got.Waiting, on)
			}
		}
	}
	look("while it runs")
	w.Close()
	w.open()
	look("under the next owner")
	open()
	w.end(holder, task.Completed)
	var ran []task.Task
	for id := range waits {
		ran = append(ran, w.end(id, task.Completed))
	}
	slices.SortFunc(ran, func(a, b task.Task) int { return a.StartedAt.Compare(b.StartedAt) })
	for i := 1; i < len(ran); i++ {
		if ran[i].StartedAt.Before(ran[i-1].FinishedAt) {
			t.Errorf("%s started at %v, %s ended at %v", ran[i].PromptHead, ran[i].StartedAt, ran[i-1].PromptHead, ran[i-1].FinishedAt)
		}
	}
}
