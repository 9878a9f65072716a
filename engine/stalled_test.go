package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

const (
	bash   = `[[text x]][[print {"type":"assistant","message":{"id":"1","content":[{"type":"tool_use","id":"t","name":"Bash"}]}}]]`
	bashed = `[[print {"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t"}]}}]]`
)

func (w *world) submitWithStall(prompt string, stall time.Duration) task.ID {
	w.Helper()
	seconds := stall.Seconds()
	t, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: w.home, Claude: w.claude, StallTimeout: &seconds}, Prompt: prompt, Env: w.env()})
	w.must(err)
	return t.ID
}

// A claude that does nothing is stopped, says so before, and has its task end with the
// reason; one that waits for a tool is not, before the tool has ended.
func TestAClaudeThatHangs(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 3)
		never := w.submitWithStall("[[text x]][[hang]]", 0)
		id := w.submitWithStall("[[text x]][[ignore-term]][[hang]]", time.Second)
		gate := fakeclaude.NewGate(t)
		tool := w.submitWithStall(bash+gate.Directive()+bashed+"[[hang]]", 100*time.Millisecond)
		open := w.reached(gate)
		got := task.Task{}
		w.until("it is said to be stalled", func() bool {
			var err error
			got, err = w.Get(w.ctx, string(id))
			w.must(err)
			return got.Status.Ended() || got.Progress != nil && got.Progress.Stalled != ""
		})
		if p := got.Progress; p == nil || p.Doing() != "stalled: nothing for 1s, stopped at 1s" || got.Status != task.Running {
			t.Errorf("%s, progress %+v", got.Status, p)
		}
		got = w.end(id, task.Failed)
		if got.Reason != task.ReasonStalled || got.StopReason != task.StopStall || !strings.Contains(got.Message, "did nothing for 1s") {
			t.Errorf("%s, stopped by %q: %s", got.Reason, got.StopReason, got.Message)
		}
		if got, err := w.Get(w.ctx, string(tool)); err != nil || got.Status != task.Running {
			t.Errorf("while a tool runs: %s (%s), %v", got.Status, got.Message, err)
		}
		open()
		if got := w.end(tool, task.Failed); got.Reason != task.ReasonStalled {
			t.Errorf("after the tool: %s (%s)", got.Reason, got.Message)
		}
		if got, err := w.Get(w.ctx, string(never)); err != nil || got.Status != task.Running {
			t.Errorf("without a bound: %s (%s), %v", got.Status, got.Message, err)
		}
	})
}

// The watch goes on under the next owner.
func TestAClaudeThatHangsIsStoppedByTheNextOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	gate := fakeclaude.NewGate(t)
	id := w.submitWithStall(bash+gate.Directive()+bashed+"[[hang]]", 100*time.Millisecond)
	open := w.reached(gate)
	w.Close()
	w.open()
	open()
	if got := w.end(id, task.Failed); got.Reason != task.ReasonStalled {
		t.Errorf("%s (%s)", got.Reason, got.Message)
	}
}

func TestAClaudeThatDoesNotBegin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.Close()
	w.cfg.Startup = 100 * time.Millisecond
	w.open()
	w.claude = filepath.Join(w.home, "claude")
	w.must(os.WriteFile(w.claude, []byte("#!/bin/sh\nexec tail -f /dev/null\n"), 0o700))
	if got := w.end(w.submit("x"), task.Failed); got.Reason != task.ReasonStartupTimeout || got.StopReason != task.StopStartup {
		t.Errorf("%s, stopped by %q (%s)", got.Reason, got.StopReason, got.Message)
	}
}

// A process that stays after its answer is ended, and the answer counts; one with work
// in the background has until that ends.
func TestAClaudeThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.Close()
	w.cfg.Answered = 100 * time.Millisecond
	w.open()
	gate := fakeclaude.NewGate(t)
	background := func(tasks string) string {
		return `[[print {"type":"system","subtype":"background_tasks_changed","tasks":` + tasks + `}]]`
	}
	behind := w.submit(background(`[{"task_id":"a"}]`) + "[[result soon]]" + gate.Directive() + background("[ ]") + "[[result late]][[hang]]")
	open := w.reached(gate)
	got := w.end(w.submit("[[result early]][[hang]]"), task.Completed)
	if got.Result == nil || *got.Result != "early" || got.StopReason != task.StopAnswered || got.CostUSD != fakeclaude.DefaultCost || got.CostUncertain {
		t.Errorf("answer %v, stopped by %q, cost %v", got.Result, got.StopReason, got.CostUSD)
	}
	if got, err := w.Get(w.ctx, string(behind)); err != nil || got.Status != task.Running {
		t.Errorf("with work in the background: %s (%s), %v", got.Status, got.Message, err)
	}
	open()
	if got := w.end(behind, task.Completed); got.Result == nil || *got.Result != "late" {
		t.Errorf("answer %v", got.Result)
	}
}
