package engine_test

import (
	"fmt"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// limitedUntil is a run that meets a usage limit with that reset.
func limitedUntil(reset time.Time) string {
	return fmt.Sprintf(`[[text a]][[print {"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":%d}}]]`, reset.Unix()) +
		"[[is-error You've hit your limit]]"
}

const refusedKey = "[[is-error Invalid API key]]"

// gates are the accounts that are closed.
func (w *world) gates() []task.Gate {
	w.Helper()
	list, err := w.Gates(w.ctx, "")
	w.must(err)
	return list
}

// closed waits for the first gate that is closed.
func (w *world) closed() task.Gate {
	w.Helper()
	w.until("a closed gate", func() bool { return len(w.gates()) == 1 })
	return w.gates()[0]
}

// The first task that meets the limit closes the gate for all of its account; at the reset
// it goes on, and no retry of it is lost. Another account has nothing to do with it.
func TestUsageLimitHoldsTheAccount(t *testing.T) {
	t.Parallel()
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprintf("owner dies %v", dies), func(t *testing.T) {
			t.Parallel()
			w := retrying(t, 0)
			one := 1
			reset := time.Now().Add(2 * time.Second).Truncate(time.Second)
			limited := w.tries(limitedUntil(reset), "[[text whole]]", task.Spec{Retries: &one})
			g := w.closed()
			if g.Reason != task.ReasonUsageLimit || !g.Until.Equal(reset.Add(task.GateMargin)) || g.By != limited || g.Account != w.home+"/.claude" {
				t.Errorf("the gate is %+v", g)
			}
			var others []task.ID
			for range 3 {
				others = append(others, w.submit("[[text b]]"))
			}
			free, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: w.home, Claude: w.claude}, Prompt: "[[text c]]", Env: append(w.env(), "ANTHROPIC_API_KEY=secret")})
			w.must(err)
			w.end(free.ID, task.Completed)
			if time.Now().Before(g.Until) { // unless the machine was very slow
				for _, id := range append(others, limited) {
					got, err := w.Get(w.ctx, string(id))
					w.must(err)
					if got.Status == task.Queued && (got.Waiting.For != task.WaitUsageLimit || !got.Waiting.Until.Equal(g.Until)) {
						t.Errorf("%s waits for %+v", id, got.Waiting)
					}
				}
			}
			if dies {
				w.Close()
				w.open()
			}
			for _, id := range append(others, limited) {
				got := w.end(id, task.Completed)
				if last := got.Attempts[len(got.Attempts)-1]; last.StartedAt.Before(g.Until) {
					t.Errorf("%s was started at %v, and the gate was closed until %v", id, last.StartedAt, g.Until)
				}
				if id == limited && (len(got.Attempts) != 2 || !got.Attempts[1].Resumes || *got.Result != "whole") {
					t.Errorf("the limited one: %+v", got.Attempts)
				}
			}
			w.starts(6)
			if left := w.gates(); len(left) != 0 {
				t.Errorf("closed are still %+v", left)
			}
		})
	}
}

// Where nobody tells the reset one task after the other goes as a probe, with pauses that
// grow, and the gate opens with the first that is answered.
func TestProbesUntilTheLimitIsOver(t *testing.T) {
	t.Parallel()
	w := retrying(t, 0)
	w.Close()
	w.cfg.GatePause = 100 * time.Millisecond
	w.open()
	first := w.tries("[[is-error You've hit your limit]]", "[[is-error You've hit your limit]]", task.Spec{})
	w.until("a second end", func() bool { g := w.gates(); return len(g) == 1 && g[0].Fails > 1 })
	if g := w.closed(); g.Until.Sub(g.Since) < 300*time.Millisecond {
		t.Errorf("the pauses do not grow: %+v", g)
	}
	_, err := w.Cancel(w.ctx, string(first))
	w.must(err)
	w.end(w.submit("[[text b]]"), task.Completed)
	if left := w.gates(); len(left) != 0 {
		t.Errorf("closed are still %+v", left)
	}
}

// A bad key fails the task that meets it, and not those that come after: they wait until
// a probe has passed, which loses nothing itself, or a hand opens the gate.
func TestRefusedKeyFailsOneTask(t *testing.T) {
	t.Parallel()
	w := retrying(t, 0)
	bad := w.tries(refusedKey, "[[text whole]]", task.Spec{})
	w.end(bad, task.Failed)
	g := w.closed()
	if g.Reason != task.ReasonAuth || g.Until.Sub(g.Since) < 50*time.Second {
		t.Errorf("the gate is %+v", g)
	}
	next := w.tries(refusedKey, "[[text whole]]", task.Spec{})
	got, err := w.Get(w.ctx, string(next))
	w.must(err)
	if got.Status != task.Queued || got.Waiting.For != task.WaitUsageLimit || got.Waiting.Words(time.Now()) != "login refused until "+g.Until.Local().Format("15:04") {
		t.Errorf("%s, waits for %+v, %q", got.Status, got.Waiting, got.Waiting.Words(time.Now()))
	}
	w.Close()
	w.open()
	if again := w.closed(); !again.Until.Equal(g.Until) {
		t.Errorf("the next owner has %+v", again)
	}
	// Who asks again may have mended it: one task goes at once, and the rest with it.
	_, err = w.Retry(w.ctx, engine.Again{Ref: string(bad), Env: w.env()})
	w.must(err)
	w.until("a probe", func() bool { got, err := w.Get(w.ctx, string(next)); w.must(err); return len(got.Attempts) > 1 })
	got, err = w.Get(w.ctx, string(next))
	w.must(err)
	if got.Status == task.Failed || got.Attempts[0].Reason != task.ReasonAuth {
		t.Errorf("a probe that was refused is %s: %+v", got.Status, got.Attempts)
	}
	_, err = w.Cancel(w.ctx, string(bad)) // it would only be refused again
	w.must(err)
	account := w.closed().Account
	if _, err := w.Gates(w.ctx, "another"); err == nil {
		t.Error("an account that is not closed was opened")
	}
	_, err = w.Gates(w.ctx, account)
	w.must(err)
	if got := w.end(next, task.Completed); *got.Result != "whole" {
		t.Errorf("it answered %q", *got.Result)
	}
}

// A task that wants no retries ends at the limit, which holds its account all the same.
func TestLimitWithoutRetries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	got := w.end(w.submit(limitedUntil(time.Now().Add(time.Hour))), task.Failed)
	if got.Reason != task.ReasonUsageLimit || got.RetryAt.IsZero() {
		t.Errorf("%s, %v", got.Reason, got.RetryAt)
	}
	if g := w.closed(); g.Queued != 0 {
		t.Errorf("%+v", g)
	}
}

// A gate that is opened while the commit of the end that closed it is made is open for the
// next owner too.
func TestGateOpenedWhileItIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	opened := false
	w.store.set(func() {
		w.store.before = func(write task.Write) error {
			if write.Gate == nil || opened {
				return nil
			}
			opened = true
			_, err := w.Gates(w.ctx, write.Gate.Account)
			return err
		}
	})
	w.end(w.submit(limitedUntil(time.Now().Add(time.Hour))), task.Failed)
	w.Close()
	w.open()
	if left := w.gates(); len(left) != 0 || !opened {
		t.Errorf("closed are still %+v", left)
	}
}

// A task that was recorded without an account has one that can be named and opened.
func TestGateOfATaskWithoutAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	held := w.submission("", limitedUntil(time.Now().Add(time.Hour)))
	held.Spec.Hold = true
	old, err := w.Submit(w.ctx, held)
	w.must(err)
	w.Close()
	old, err = w.store.Task(old.ID)
	w.must(err)
	old.Account, old.Spec.Hold = "", false
	w.must(w.store.Apply(task.Write{Task: &old}))
	w.open()
	w.end(old.ID, task.Failed)
	_, err = w.Gates(w.ctx, w.closed().Account)
	w.must(err)
	if left := w.gates(); len(left) != 0 {
		t.Errorf("closed are still %+v", left)
	}
}
