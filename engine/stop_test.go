package engine_test

import (
	"testing"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// stops says what an attempt that was stopped for a reason comes to.
var stops = map[task.StopReason]struct {
	status task.Status
	reason task.FailureReason
}{
	task.StopCancel:      {task.Cancelled, task.ReasonCancelled},
	task.StopDeadline:    {task.Timeout, task.ReasonDeadline},
	task.StopOutputLimit: {task.Failed, task.ReasonOutputLimit},
	task.StopTerminated:  {task.Interrupted, task.ReasonInterrupted},
	task.StopStall:       {task.Failed, task.ReasonStalled},
	task.StopStartup:     {task.Failed, task.ReasonStartupTimeout},
	task.StopAnswered:    {task.Completed, ""},
	task.StopBudget:      {task.Failed, task.ReasonBudget},
}

// A stop says why, and the record keeps it: the attempt's, the task's, the view's.
func TestEachStopIsRecorded(t *testing.T) {
	if len(stops) != len(task.StopReasons) {
		t.Errorf("%d reasons are tested, there are %d", len(stops), len(task.StopReasons))
	}
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, len(stops))
		for _, why := range task.StopReasons {
			gate := fakeclaude.NewGate(t)
			id := w.submit("[[result answer]]" + gate.Directive())
			open := w.reached(gate)
			defer open()
			w.runs(id)
			w.must(w.site.Stop(w.ctx, string(id)+".1", string(why), false))
			got := w.end(id, stops[why].status)
			if got.Reason != stops[why].reason || got.StopReason != why || got.Attempts[0].StopReason != why || task.NewView(got, got.FinishedAt).StopReason != why {
				t.Errorf("%s: %s, stopped by %q, the attempt by %q", why, got.Reason, got.StopReason, got.Attempts[0].StopReason)
			}
			if got.Status == task.Completed {
				continue
			}
			again, err := w.Retry(w.ctx, engine.Again{Ref: string(id), Env: w.env()})
			w.must(err)
			if again.StopReason != "" && again.Status == task.Queued {
				t.Errorf("queued again it says %q", again.StopReason)
			}
			_, err = w.Cancel(w.ctx, string(id))
			w.must(err)
		}
	})
}

// What a runner decides by itself it calls by the same words.
func TestRunnersReasonsAreOurs(t *testing.T) {
	t.Parallel()
	for word, why := range map[string]task.StopReason{
		runner.StopCancel: task.StopCancel, runner.StopDeadline: task.StopDeadline,
		runner.StopOutputLimit: task.StopOutputLimit, runner.StopTerminated: task.StopTerminated,
	} {
		if word != string(why) {
			t.Errorf("%q and %q", word, why)
		}
	}
}
