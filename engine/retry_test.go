package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// retrying is a world in which the table of retries holds, with pauses of random parts
// of their lengths.
func retrying(t *testing.T, random float64) *world {
	t.Helper()
	w := newWorld(t, 1)
	w.Close()
	w.cfg.Retry, w.cfg.Random = nil, func() float64 { return random }
	w.open()
	return w
}

// tries submits a task whose first run does prompt, and each that goes on does then.
func (w *world) tries(prompt, then string, s task.Spec) task.ID {
	w.Helper()
	s.WorkingDir, s.Claude = w.home, w.claude
	t, err := w.Submit(w.ctx, engine.Submission{Spec: s, Prompt: prompt, Env: append(w.env(), fakeclaude.ScriptEnv+"="+then)})
	w.must(err)
	return t.ID
}

const overloaded, overflow = "[[text a]][[is-error API Error: 529 Overloaded]]", "[[text a]][[is-error Prompt is too long]]"

func TestRetries(t *testing.T) {
	t.Parallel()
	one, none, five := 1, 0, 5
	const whole = "[[text whole]]"
	for _, c := range []struct {
		name         string
		prompt, then string
		spec         task.Spec
		set          task.RetryPolicy
		attempts     int
		status       task.Status
		fresh        bool
		says         string
	}{
		{name: "overloaded", prompt: overloaded, then: whole, attempts: 2, status: task.Completed},
		{name: "killed", prompt: "[[text a]][[kill 9]]", then: whole, attempts: 2, status: task.Completed},
		{name: "killed again and again", prompt: "[[text a]][[kill 9]]", then: "[[text b]][[kill 15]]", attempts: 4, status: task.Interrupted, says: "tried again 3 times"},
		{name: "once only", prompt: overloaded, then: overloaded, spec: task.Spec{Retries: &one}, attempts: 2, status: task.Failed, says: "tried again once already"},
		{name: "never", prompt: overloaded, spec: task.Spec{Retries: &none}, attempts: 1, status: task.Failed},
		{name: "the prompt is too long", prompt: overflow, attempts: 2, status: task.Failed, fresh: true, says: "tried again once already"},
		{name: "not the reason that is asked for", prompt: overloaded, spec: task.Spec{RetryOn: []string{"network"}}, attempts: 1, status: task.Failed},
		{name: "a reason that is asked for", prompt: "[[text a]][[no-result]]", then: whole, spec: task.Spec{RetryOn: []string{"no_result"}}, attempts: 2, status: task.Completed},
		{name: "nothing is set to be tried", prompt: overloaded, set: task.RetryPolicy{"": {Attempts: &none}}, attempts: 1, status: task.Failed},
		{name: "a reason of its own", prompt: overloaded, then: overloaded, set: task.RetryPolicy{"": {Attempts: &none}, task.ReasonOverloaded: {Attempts: &five}}, attempts: 6, status: task.Failed},
		{name: "a bad key", prompt: "[[text a]][[is-error Invalid API key]]", attempts: 1, status: task.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := retrying(t, 0)
			w.Close()
			w.cfg.Retry = func() task.RetryPolicy { return c.set }
			w.open()
			id := w.tries(c.prompt, c.then, c.spec)
			got := w.end(id, c.status)
			if len(got.Attempts) != c.attempts || !strings.Contains(got.Message, c.says) {
				t.Fatalf("%d attempts, %q: %+v", len(got.Attempts), got.Message, got.Attempts)
			}
			logged := w.starts(c.attempts)
			for i, a := range got.Attempts {
				if a.Reason == "" && a.Status != task.Completed || a.StdoutBytes == 0 {
					t.Errorf("attempt %d does not say how it went: %+v", i, a)
				}
				if again := i > 0; again != (a.Kind == task.Auto) || again && !c.fresh != a.Resumes || again && (a.SessionID == got.Attempts[0].SessionID) == c.fresh {
					t.Errorf("attempt %d: %+v", i, a)
				}
				if bounded := slices.Contains(logged[i].Env, "CLAUDE_CODE_MAX_RETRIES=2"); bounded != (c.name != "never" && c.name != "nothing is set to be tried") {
					t.Errorf("claude's own retries are bounded: %v", bounded)
				}
			}
			if _, err := w.store.Env(id); !errors.Is(err, task.ErrNotFound) {
				t.Errorf("after the end the environment: %v", err)
			}
		})
	}
}

// The pause before a retry is told, and is the same under the next owner.
func TestRetryWaitsOverADeath(t *testing.T) {
	t.Parallel()
	w := retrying(t, 1)
	id := w.tries(overloaded, "[[text whole]]", task.Spec{})
	waits := func() task.Task {
		var got task.Task
		w.until("a retry", func() bool {
			var err error
			got, err = w.Get(w.ctx, string(id))
			w.must(err)
			return got.Waiting.For == task.WaitRetryAt // a moment after the end is recorded
		})
		return got
	}
	before := waits()
	pause := before.NotBefore.Sub(before.QueuedAt)
	if before.Status != task.Queued || !before.Waiting.Until.Equal(before.NotBefore) || pause != 10*time.Second {
		t.Errorf("%s, waits for %+v, %v", before.Status, before.Waiting, pause)
	}
	if !strings.Contains(before.Message, "529") || !strings.Contains(before.Message, "1 of at most 3") {
		t.Errorf("it says %q", before.Message)
	}
	w.Close()
	w.open()
	if after := waits(); !after.NotBefore.Equal(before.NotBefore) {
		t.Errorf("the next owner waits for %+v", after.Waiting)
	}
	_, err := w.Edit(w.ctx, engine.Edit{Ref: string(id), Clear: []string{"start_at"}})
	w.must(err)
	got := w.end(id, task.Completed)
	if fmt.Sprint(got.Attempts[0].Reason, *got.Result) != "overloadedwhole" {
		t.Errorf("attempts %+v", got.Attempts)
	}
}
