package e2e

import (
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeapi"
)

// What the API refuses for now goes on in its session, after claude itself has asked no
// more than three times. Nothing is written a second time, and each attempt says how it went.
func TestRetriesByCause(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name, prompt string
		reason       task.FailureReason
	}{
		{"overloaded", "The word is walrus. [[status 529]]", task.ReasonOverloaded},
		{"dropped", "The word is walrus. [[drop]]", task.ReasonNetwork},
		{"limited", "The word is walrus. [[status 429]]", task.ReasonRateLimited},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			v := w.Wait(w.Start(c.prompt, "--retries", "2"))[0]
			rec := w.record(string(v.TaskID))
			if v.Status != task.Completed || len(rec.Attempts) != 2 || rec.Attempts[0].Reason != c.reason || rec.Attempts[1].Kind != task.Auto {
				t.Fatalf("%s, %q: %+v", v.Status, v.StatusMessage, rec.Attempts)
			}
			if rec.Attempts[0].SessionID != rec.Attempts[1].SessionID || rec.Attempts[0].StdoutBytes == 0 || v.NumTurns == nil || rec.CostUSD != rec.Attempts[1].CostUSD {
				t.Errorf("attempts %+v, cost %v", rec.Attempts, rec.CostUSD)
			}
			if got := w.conversation(v.SessionID); !strings.Contains(got, "The word is walrus") {
				t.Errorf("the model does not know the conversation: %.2000s", got)
			}
			tries := 0
			for _, r := range w.API.Requests() {
				if r.Kind == fakeapi.KindMain && strings.Contains(r.Prompt, "walrus") {
					tries++
				}
			}
			if tries != 3 {
				t.Errorf("claude asked %d times in its first run, want 3", tries)
			}
		})
	}
	v := w.Wait(w.Start("[[status 400 prompt is too long: 250000 tokens > 200000 maximum]]", "--retries", "2"))[0]
	rec := w.record(string(v.TaskID))
	if len(rec.Attempts) != 2 || rec.Attempts[1].SessionID == rec.Attempts[0].SessionID || v.FailureReason != task.ReasonContextOverflow {
		t.Errorf("%s, %s: %+v", v.Status, v.FailureReason, rec.Attempts)
	}
}

// The limit of a subscription holds all tasks of its account until its reset, also over the
// death of the owner; then the limited one goes on in its session, and another account
// was never held up.
func TestUsageLimitGate(t *testing.T) {
	w := newWorld(t, "ANTHROPIC_API_KEY=", "CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-fake")
	limited := w.Start("The word is walrus. [[limit times=1 after=15s]][[text first]]", "--retries", "1")
	gates := func() []task.Gate {
		return cctest.Parse[struct{ Accounts []task.Gate }](t, w.OK("limits", "--json")).Accounts
	}
	w.Eventually(func() bool { return len(gates()) == 1 }, "the account is not closed")
	g := gates()[0]
	second, third := w.Start("[[text second]]"), w.Start("[[text third]]")
	w.Kill(w.Owner().PID)
	if again := gates(); len(again) != 1 || !again[0].Until.Equal(g.Until) || g.Reason != task.ReasonUsageLimit || string(g.By) != limited {
		t.Errorf("after the owner's death %+v, before %+v", again, g)
	}
	if v := w.View(second); v.WaitingFor != task.WaitUsageLimit || !v.WaitingUntil.Equal(g.Until) {
		if time.Now().Before(g.Until) {
			t.Errorf("%s waits for %s until %v", v.Status, v.WaitingFor, v.WaitingUntil)
		}
	}
	other := w.Wait(w.Start("[[text other]]", "--env", "CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-other"))[0]
	if other.Status != task.Completed {
		t.Errorf("another account: %s, %q", other.Status, other.StatusMessage)
	}
	for _, v := range w.Wait(limited, second, third) {
		rec := w.record(string(v.TaskID))
		if last := rec.Attempts[len(rec.Attempts)-1]; v.Status != task.Completed || last.StartedAt.Before(g.Until) {
			t.Errorf("%s, %q, started at %v, closed until %v", v.Status, v.StatusMessage, last.StartedAt, g.Until)
		}
		if string(v.TaskID) == limited && (len(rec.Attempts) != 2 || rec.Attempts[0].Reason != task.ReasonUsageLimit || !rec.Attempts[1].Resumes) {
			t.Errorf("the limited task: %+v", rec.Attempts)
		}
	}
	if !strings.Contains(w.conversation(w.View(limited).SessionID), "The word is walrus") || len(gates()) != 0 {
		t.Errorf("closed are %+v", gates())
	}
	if log := w.OK("dump"); strings.Contains(log, "sk-ant-oat01") {
		t.Error("the dump holds a token")
	}
}
