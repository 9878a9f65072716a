package e2e

import (
	"strings"
	"testing"

	"cctask/engine/task"
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
