package engine_test

import (
	"testing"

	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// A claude that waits for work in the background answers and stays: the answer
// is shown at once, and taken back when claude goes on.
func TestAnswerOfAProcessThatStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	first, second := fakeclaude.NewGate(t), fakeclaude.NewGate(t)
	id := w.submit("[[result early]]" + first.Directive() + "[[text going on]]" + second.Directive() + "[[result late]]")
	open := w.reached(first)
	shown := func() task.Task {
		got, err := w.Get(w.ctx, string(id))
		w.must(err)
		return got
	}
	w.until("it is answered", func() bool { got := shown(); return got.Progress != nil && got.Progress.Answered })
	got := shown()
	if got.Status != task.Running || got.Result == nil || *got.Result != "early" || got.ResultBytes != 5 || got.Progress.Doing() != "answered; its process goes on" {
		t.Errorf("%s, answer %v of %d, %q", got.Status, got.Result, got.ResultBytes, got.Progress.Doing())
	}
	list, err := w.List(w.ctx, task.Filter{Limit: 1})
	if err != nil || !list.Tasks[0].Progress.Answered || list.Tasks[0].Result != nil {
		t.Errorf("in a list: %+v, %v", list.Tasks[0].Progress, err)
	}
	open()
	open = w.reached(second)
	w.until("it goes on", func() bool { return shown().Progress.LastText == "going on" })
	if got := shown(); got.Progress.Answered || got.Result != nil {
		t.Errorf("answered %v, answer %v", got.Progress.Answered, got.Result)
	}
	open()
	if got := w.end(id, task.Completed); got.Result == nil || *got.Result != "late" {
		t.Errorf("answer %v", got.Result)
	}
}
