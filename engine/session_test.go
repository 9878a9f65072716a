package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// A task that asked for it goes on after an interruption, wherever the owner
// dies meanwhile; its environment is there for that, and no longer.
func TestInterruptedTaskGoesOnOverADeath(t *testing.T) {
	t.Parallel()
	again := func(w task.Write) bool { return becomes(task.Queued)(w) && w.Task.Attempt == 2 }
	for _, c := range []struct {
		name   string
		fits   func(task.Write) bool
		after  bool
		killed bool // with the runner, while there is no owner
	}{
		{name: "before the commit", fits: again},
		{name: "after the commit", fits: again, after: true},
		{name: "before the runner", fits: becomes(task.Running), after: true, killed: true},
		{name: "before it was known to run", fits: becomes(task.Running), killed: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			gate := fakeclaude.NewGate(t)
			d := &death{died: make(chan struct{})}
			w.store.set(func() { d.at(w.store, c.fits, c.after) })
			prompt := "[[text one]][[kill 9]]"
			if c.killed {
				prompt = "[[text one]]" + gate.Directive()
			}
			spec := task.Spec{WorkingDir: w.home, Claude: w.claude, OnInterrupt: task.OnInterruptResume}
			env := append(w.env(), fakeclaude.ScriptEnv+"=[[text whole]]")
			submitted, err := w.Submit(w.ctx, engine.Submission{Spec: spec, Prompt: prompt, Env: env})
			w.must(err)
			id := submitted.ID
			if c.killed {
				defer w.reached(gate)()
			}
			<-d.died
			w.Close()
			if c.killed {
				killRunner(w, id)
			}
			if _, err := w.store.Env(id); err != nil {
				t.Errorf("without an owner: %v", err)
			}
			w.store.set(func() { w.store.before, w.store.after = nil, nil })
			w.open()
			got := w.end(id, task.Completed)
			if len(got.Attempts) != 2 || got.Attempts[1].Kind != task.Auto || got.Attempts[0].Reason != task.ReasonInterrupted || *got.Result != "whole" {
				t.Errorf("attempts %+v", got.Attempts)
			}
			w.starts(2)
			if _, err := w.store.Env(id); !errors.Is(err, task.ErrNotFound) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

// An owner that is on its way out records that the task goes on: the next one
// must find it in the queue.
func TestInterruptedWhileTheOwnerLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	gate := fakeclaude.NewGate(t)
	spec := task.Spec{WorkingDir: w.home, Claude: w.claude, OnInterrupt: task.OnInterruptResume}
	submitted, err := w.Submit(w.ctx, engine.Submission{Spec: spec, Prompt: "[[text one]]" + gate.Directive() + "[[kill 9]]", Env: w.env()})
	w.must(err)
	open := w.reached(gate)
	w.until("running", func() bool {
		t, err := w.Get(w.ctx, string(submitted.ID))
		return err == nil && t.Status == task.Running
	})
	w.Drain()
	open()
	w.until("queued again", func() bool {
		t, err := w.Get(w.ctx, string(submitted.ID))
		return err == nil && t.Status == task.Queued && t.Attempt == 2
	})
	w.Close()
	w.open()
	w.end(submitted.ID, task.Completed)
}

// A fork of a session that goes on meanwhile may have copied either total.
func TestForkWhileTheSessionGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	gate := fakeclaude.NewGate(t)
	id := w.submit("[[text x]][[cost 1]]")
	w.end(id, task.Completed)
	goOn := func(prompt string, fork bool) task.ID {
		spec := task.Spec{Claude: w.claude, ResumeTaskID: string(id), Fork: fork}
		got, err := w.Submit(w.ctx, engine.Submission{Spec: spec, Prompt: prompt, Env: w.env()})
		w.must(err)
		return got.ID
	}
	fork := goOn(gate.Directive()+"[[cost 0.5]]", true)
	open := w.reached(gate)
	w.end(goOn("[[cost 0.25]]", false), task.Completed)
	open()
	if got := w.end(fork, task.Completed); !got.CostUncertain || got.CostUSD != 0.5 {
		t.Errorf("cost %v, uncertain %v", got.CostUSD, got.CostUncertain)
	}
}

// An old claude counts what each process costs: the total of a resumed one is no
// difference, and no base of another.
func TestCostOfAnOldClaude(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	replay := func(version, cost string) string {
		path := filepath.Join(t.TempDir(), "stream")
		stream := `{"type":"system","subtype":"init","session_id":"s","claude_code_version":"` + version + `"}` + "\n" +
			`{"type":"result","subtype":"error_max_turns","is_error":true,"total_cost_usd":` + cost + "}\n"
		w.must(os.WriteFile(path, []byte(stream), 0o600))
		return "[[replay " + path + "]]"
	}
	id := w.submit(replay("2.1.276", "0.1575"))
	got := w.end(id, task.Failed)
	if got.CostUSD != 0.1575 || got.CostUncertain {
		t.Errorf("first: %v, uncertain %v", got.CostUSD, got.CostUncertain)
	}
	for _, c := range []struct {
		version, cost string
		want          float64
	}{{"2.1.276", "0.175", 0.175}, {"2.1.277", "0.125", 0.125}, {"2.1.276", "0.25", 0.25}, {"2.1.277", "0.375", 0.25}} {
		_, err := w.Resume(w.ctx, engine.Again{Ref: string(id), Prompt: replay(c.version, c.cost), Env: w.env()})
		w.must(err)
		got := w.end(id, task.Failed)
		a := got.Attempts[len(got.Attempts)-1]
		// The last one's base is known, from the third.
		if a.CostUSD != c.want || a.CostUncertain != (a.N < 5) || !got.CostUncertain {
			t.Errorf("attempt %d: %v, uncertain %v; want %v", a.N, a.CostUSD, a.CostUncertain, c.want)
		}
	}
}
