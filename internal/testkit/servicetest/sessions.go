package servicetest

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// goOn submits a task that goes on with the session of another one.
func (s *suite) goOn(ref, prompt string, spoil func(*engine.Submission)) (task.Task, error) {
	b := s.submission(prompt)
	b.Spec.ResumeTaskID = ref
	if spoil != nil {
		spoil(&b)
	}
	return s.Submit(s.ctx, b)
}

// args are those of the last claude that was started.
func (s *suite) args() string {
	s.Helper()
	log, err := fakeclaude.ReadLog(s.logFile(), "start")
	s.must(err)
	return strings.Join(log[len(log)-1].Args, " ")
}

func (s *suite) costs(t task.Task, want float64) {
	s.Helper()
	if math.Abs(t.CostUSD-want) > 1e-9 || t.CostUncertain {
		s.Errorf("task %s cost %v (uncertain: %v), want %v", t.ID, t.CostUSD, t.CostUncertain, want)
	}
}

func (s *suite) goesOnWithASession() {
	id := s.submit("[[text one]][[cost 0.5]]")
	s.end(id)
	// The reference is the submission's, the record has the id; so is the directory.
	b := s.submission("[[text two]][[cost 0.25]]")
	b.Spec.ResumeTaskID, b.Spec.WorkingDir, b.Key = "last", "", "once"
	t, err := s.Submit(s.ctx, b)
	s.must(err)
	again, err := s.Submit(s.ctx, b)
	if err != nil || again.ID != t.ID {
		s.Errorf("the same key gave %s and %s, %v", t.ID, again.ID, err)
	}
	t = s.end(t.ID)
	s.wants(t, task.Completed, "")
	s.costs(t, 0.25)
	if t.SessionID != id.UUID() || t.Spec.ResumeTaskID != string(id) || t.Spec.WorkingDir != s.work || len(t.Attempts) != 1 || *t.Result != "two" {
		s.Errorf("session %s of %s in %s, %d attempts", t.SessionID, t.Spec.ResumeTaskID, t.Spec.WorkingDir, len(t.Attempts))
	}
	if got := s.args(); !strings.Contains(got, "--resume="+id.UUID()) || strings.Contains(got, "--session-id") {
		s.Errorf("claude was started with %s", got)
	}
	// The total outlives the task that began the session.
	s.must(s.Remove(s.ctx, string(id), false))
	third, err := s.goOn(string(t.ID), "[[cost 0.125]][[error error_max_turns]]", nil)
	s.must(err)
	s.costs(s.end(third.ID), 0.125)
	_, err = s.Retry(s.ctx, engine.Again{Ref: string(third.ID), Env: s.env()})
	s.must(err)
	s.end(third.ID)
	if got := s.args(); !strings.Contains(got, "--resume="+id.UUID()) {
		s.Errorf("the retry lost the context: claude was started with %s", got)
	}
}

func (s *suite) forksASession() {
	fork := func(b *engine.Submission) { b.Spec.Fork = true }
	gate := fakeclaude.NewGate(s)
	id := s.submit("[[text one]][[cost 0.5]]")
	s.end(id)
	t, err := s.goOn(string(id), gate.Directive()+"[[cost 0.25]]", fork)
	s.must(err)
	open, err := gate.Reached(s.ctx)
	s.must(err)
	if got := s.args(); !strings.Contains(got, "--resume="+id.UUID()+" --fork-session --session-id="+t.ID.UUID()) {
		s.Errorf("claude was started with %s", got)
	}
	// Neither a live fork nor the first task holds the session.
	other, err := s.goOn(string(id), "[[cost 0.125]]", nil)
	s.must(err)
	open()
	t = s.end(t.ID)
	s.costs(t, 0.25)
	if t.SessionID != t.ID.UUID() {
		s.Errorf("the fork's session is %s", t.SessionID)
	}
	s.costs(s.end(other.ID), 0.125)
	// Killed, it loses its cost, but not the total that it began with.
	t, err = s.goOn(string(id), "[[cost 1]][[text x]][[kill 9]]", fork)
	s.must(err)
	s.wants(s.end(t.ID), task.Interrupted, task.ReasonInterrupted)
	_, err = s.Resume(s.ctx, engine.Again{Ref: string(t.ID), Prompt: "[[cost 0.25]]", Env: s.env()})
	s.must(err)
	if t = s.end(t.ID); math.Abs(t.Attempts[1].CostUSD-0.25) > 1e-9 {
		s.Errorf("the fork's second attempt cost %v", t.Attempts[1].CostUSD)
	}
}

func (s *suite) sessionIsHeld() {
	gate := fakeclaude.NewGate(s)
	id := s.submit("[[text x]][[error error_max_turns]]")
	s.end(id)
	busy := func(what string, err error) {
		s.Helper()
		if !errors.Is(err, task.ErrSessionBusy) || task.HintOf(err) == "" {
			s.Errorf("%s: %v, hint %q", what, err, task.HintOf(err))
		}
	}
	// One job: the first waits at its gate, the second in the queue.
	blocker := s.submit(gate.Directive())
	queued, err := s.goOn(string(id), "[[text second]]", nil)
	s.must(err)
	_, err = s.goOn(string(id), "[[text third]]", nil)
	busy("while a task with the session is queued", err)
	_, err = s.goOn(string(queued.ID), "[[text third]]", nil)
	busy("of the queued one itself", err)
	_, err = s.Resume(s.ctx, engine.Again{Ref: string(id), Env: s.env()})
	busy("resume of the first", err)
	open, err := gate.Reached(s.ctx)
	s.must(err)
	open()
	s.end(blocker)
	s.wants(s.end(queued.ID), task.Completed, "")
	if _, err = s.Resume(s.ctx, engine.Again{Ref: string(id), Env: s.env()}); err != nil {
		s.Errorf("resume when nobody holds it: %v", err)
	}
	s.end(id)
}

func (s *suite) noSessionToGoOnWith() {
	gate := fakeclaude.NewGate(s)
	blocker := s.submit(gate.Directive())
	waiting := s.submit("[[text x]]")
	_, never := s.goOn(string(waiting), "x", nil)
	_, unknown := s.goOn("nobody", "x", nil)
	_, alone := s.goOn("", "x", func(b *engine.Submission) { b.Spec.Fork = true })
	_, other := s.goOn("", "x", func(b *engine.Submission) { b.Spec.OnInterrupt = "retry" })
	for want, err := range map[*task.Error]error{task.ErrConflict: never, task.ErrNotFound: unknown} {
		if !errors.Is(err, want) || task.HintOf(err) == "" || !strings.Contains(err.Error(), "resume_task_id") {
			s.Errorf("%v, want %s; hint %q", err, want.Code, task.HintOf(err))
		}
	}
	if !errors.Is(alone, task.ErrInvalid) || !errors.Is(other, task.ErrInvalid) {
		s.Errorf("fork alone: %v, unknown on_interrupt: %v", alone, other)
	}
	open, err := gate.Reached(s.ctx)
	s.must(err)
	open()
	s.end(blocker)
	s.end(waiting)
	// Without its session the prompt would silently mean something else.
	s.must(os.RemoveAll(filepath.Join(s.home, ".fakeclaude")))
	for _, fork := range []bool{false, true} {
		t, err := s.goOn(string(waiting), "x", func(b *engine.Submission) { b.Spec.Fork, b.Spec.OnInterrupt = fork, "resume" })
		s.must(err)
		t = s.end(t.ID)
		s.wants(t, task.Failed, task.ReasonSessionLost)
		if len(t.Attempts) != 1 || !strings.Contains(t.Message, string(waiting)) {
			s.Errorf("%d attempts, %q", len(t.Attempts), t.Message)
		}
	}
}

// resumesItself is about a task that is interrupted and goes on by itself.
func (s *suite) resumesItself() {
	b := s.submission("[[text one]][[kill 9]]")
	b.Spec.OnInterrupt, b.Env = task.OnInterruptResume, append(b.Env, fakeclaude.ScriptEnv+"=[[text whole]]")
	t, err := s.Submit(s.ctx, b)
	s.must(err)
	t = s.end(t.ID)
	s.wants(t, task.Completed, "")
	if a := t.Attempts; len(a) != 2 || a[0].Status != task.Interrupted || a[1].Kind != task.Auto || a[1].SessionID != a[0].SessionID || *t.Result != "whole" {
		s.Errorf("attempts %+v", a)
	}
	prompt := string(s.read(engine.OutputQuery{Ref: string(t.ID), Stream: task.Prompt}).Data)
	if !strings.Contains(prompt, "verify what the last tool did") || !strings.Contains(s.args(), "--resume="+t.SessionID) {
		s.Errorf("it went on with %q and %s", prompt, s.args())
	}
	// Killed before its session began: the original prompt, in a new one.
	b.Prompt = "[[kill 9]]"
	t, err = s.Submit(s.ctx, b)
	s.must(err)
	t = s.end(t.ID)
	var kinds []task.AttemptKind
	for _, a := range t.Attempts {
		kinds = append(kinds, a.Kind)
	}
	if got := fmt.Sprint(kinds); got != "[first auto auto auto]" || !strings.Contains(t.Message, "3 times") {
		s.Errorf("attempts %s, %s %q", got, t.Status, t.Message)
	}
	// Cancelled, by us, it does not go on.
	gate := fakeclaude.NewGate(s)
	b.Prompt = "[[text x]]" + gate.Directive()
	t, err = s.Submit(s.ctx, b)
	s.must(err)
	open, err := gate.Reached(s.ctx)
	s.must(err)
	defer open()
	t, err = s.Cancel(s.ctx, string(t.ID))
	s.must(err)
	s.wants(t, task.Cancelled, task.ReasonCancelled)
}

func (s *suite) resumesItselfNoMoreThanAllowed() {
	b := s.submission("[[text one]][[kill 9]]")
	b.Spec.OnInterrupt, b.Env = task.OnInterruptResume, append(b.Env, fakeclaude.ScriptEnv+"=[[text more]][[kill 15]]")
	t, err := s.Submit(s.ctx, b)
	s.must(err)
	t = s.end(t.ID)
	s.wants(t, task.Interrupted, task.ReasonInterrupted)
	if len(t.Attempts) != 1+task.MaxAutoResumes || !strings.Contains(t.Message, "3 times") {
		s.Errorf("%d attempts, %q", len(t.Attempts), t.Message)
	}
	// A person who goes on means it: the count begins again.
	_, err = s.Resume(s.ctx, engine.Again{Ref: string(t.ID), Env: s.env()})
	s.must(err)
	s.wants(s.end(t.ID), task.Completed, "")
}

// boundsAreTheTasks: what earlier attempts took of max_turns and max_budget_usd
// is not there for the next one.
func (s *suite) boundsAreTheTasks() {
	b := s.submission("[[text one]][[tool Bash]][[tool Bash]][[cost 0.1]][[turns 9]][[error x]]")
	b.Spec.MaxTurns, b.Spec.MaxBudgetUSD = 5, 0.3
	t, err := s.Submit(s.ctx, b)
	s.must(err)
	s.end(t.ID)
	told := func(want string) {
		s.Helper()
		if got := s.args(); !strings.Contains(got, want) {
			s.Errorf("claude was started with %s, want %s", got, want)
		}
	}
	told("--max-turns=5 --max-budget-usd=0.3")
	again := engine.Again{Ref: string(t.ID), Prompt: "[[text two]][[cost 0.2]][[error x]]", Env: s.env()}
	_, err = s.Resume(s.ctx, again)
	s.must(err)
	t = s.end(t.ID)
	told("--max-turns=2 --max-budget-usd=0.2")
	// Floats add up to 0.30000000000000004.
	if t.CostUSD != 0.3 || t.Attempts[1].CostUSD != 0.2 {
		s.Errorf("costs %v, of it %v in the second attempt", t.CostUSD, t.Attempts[1].CostUSD)
	}
	refused := func(option string) {
		s.Helper()
		_, resume := s.Resume(s.ctx, again)
		_, retry := s.Retry(s.ctx, again)
		for _, err := range []error{resume, retry} {
			if !errors.Is(err, task.ErrConflict) || !strings.Contains(err.Error(), "used up its "+option) || !strings.Contains(task.HintOf(err), "resume_task_id "+string(t.ID)) {
				s.Errorf("%v, hint %q", err, task.HintOf(err))
			}
		}
	}
	refused("max_budget_usd of 0.3")
	b = s.submission("[[text one]][[kill 9]]")
	b.Spec.MaxTurns, b.Spec.OnInterrupt = 1, task.OnInterruptResume
	t, err = s.Submit(s.ctx, b)
	s.must(err)
	again.Ref = string(t.ID)
	t = s.end(t.ID)
	if s.wants(t, task.Interrupted, task.ReasonInterrupted); len(t.Attempts) != 1 || !strings.Contains(t.Message, "does not go on by itself") {
		s.Errorf("%d attempts: %s", len(t.Attempts), t.Message)
	}
	refused("max_turns of 1")
}
