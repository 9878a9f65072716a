package e2e

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"cctask/engine/task"
	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeapi"
)

// tool calls a tool of the server and gives the task that it answers with.
func (w *world) tool(s *sdk.ClientSession, name string, args map[string]any) task.View {
	w.T.Helper()
	args["detail"] = true
	obj, r := w.call(s, name, args)
	b, err := json.Marshal(obj)
	if err != nil || r.IsError {
		w.T.Fatalf("%s: %v %v", name, err, r.Content)
	}
	return cctest.Parse[task.View](w.T, string(b))
}

// conversation is the last request that the API got in a session.
func (w *world) conversation(session string) string {
	w.T.Helper()
	last := ""
	for _, r := range w.API.Requests() {
		if r.Kind == fakeapi.KindMain && r.Session == session {
			last = string(r.Raw)
		}
	}
	return last
}

func (w *world) transcript(session string) []byte {
	w.T.Helper()
	files, err := filepath.Glob(filepath.Join(w.Home, ".claude", "projects", "*", session+".jsonl"))
	if err != nil || len(files) != 1 {
		w.T.Fatalf("transcripts of %s: %v, %v", session, files, err)
	}
	b, err := os.ReadFile(files[0])
	must(w.T, err)
	return b
}

// A new task goes on with the session of another one, or with a copy of it: the
// model sees the whole conversation, and each task costs what itself cost.
func TestResumedAndForkedSessions(t *testing.T) {
	w := newWorld(t)
	elsewhere := filepath.Join(w.Home, "elsewhere")
	must(t, os.Mkdir(elsewhere, 0o755))
	s := w.connect()
	first := w.tool(s, "execute_cc_task", map[string]any{"prompt": "The word is walrus. [[bash true]][[text one]]", "name": "first"})
	before := w.transcript(first.SessionID)

	fork := map[string]any{"prompt": "[[bash touch forked]][[bash true]][[text forked]]", "resume_task_id": "first", "fork": true, "working_dir": elsewhere}
	forked := w.tool(s, "execute_cc_task", fork)
	if !bytes.Equal(w.transcript(first.SessionID), before) {
		t.Error("a fork changed the session")
	}
	resumed := w.tool(s, "execute_cc_task", map[string]any{"prompt": "[[text resumed]]", "resume_task_id": "first"})
	if !bytes.HasPrefix(w.transcript(first.SessionID), before) || len(w.transcript(first.SessionID)) == len(before) {
		t.Error("a resume left the session as it was")
	}
	again := w.tool(s, "execute_cc_task", map[string]any{"prompt": "[[text again]]", "resume_task_id": string(forked.TaskID)})
	for _, c := range []struct {
		v       task.View
		session string
		turns   int
		result  string
		dir     string
	}{
		{forked, forked.TaskID.UUID(), 3, "forked", elsewhere},
		{resumed, first.SessionID, 1, "resumed", w.Work},
		{again, forked.SessionID, 1, "again", elsewhere},
	} {
		if c.v.Status != task.Completed || *c.v.Result != c.result || c.v.SessionID != c.session || c.v.WorkingDir != c.dir {
			t.Errorf("%s: %+v", c.result, c.v)
			continue
		}
		if math.Abs(*c.v.CostUSD-fakeapi.Cost(c.turns)) > 1e-9 || c.v.CostUncertain {
			t.Errorf("%s: cost %v (uncertain: %v), want %v", c.result, *c.v.CostUSD, c.v.CostUncertain, fakeapi.Cost(c.turns))
		}
		if got := w.conversation(c.session); !strings.Contains(got, "The word is walrus") || !strings.Contains(got, "[[text "+c.result+"]]") {
			t.Errorf("%s: the model does not know the conversation: %.2000s", c.result, got)
		}
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "forked")); err != nil {
		t.Errorf("the fork did not work in its own directory: %v", err)
	}
	if got := w.conversation(again.SessionID); strings.Contains(got, "[[text resumed]]") {
		t.Error("the fork knows what came after it")
	}
	w.lostSession(s, first)
}

// lostSession: without its session a task does nothing rather than something else.
func (w *world) lostSession(s *sdk.ClientSession, first task.View) {
	w.T.Helper()
	must(w.T, os.RemoveAll(filepath.Join(w.Home, ".claude", "projects")))
	prompts := len(w.API.Prompts())
	for _, fork := range []bool{false, true} {
		v := w.tool(s, "execute_cc_task", map[string]any{"prompt": "[[text never]]", "resume_task_id": "first", "fork": fork})
		if v.Status != task.Failed || v.FailureReason != task.ReasonSessionLost || !strings.Contains(v.Error, string(first.TaskID)) || len(w.API.Prompts()) != prompts {
			w.T.Errorf("fork %v: %s, %s: %s", fork, v.Status, v.FailureReason, v.Error)
		}
	}
}

// A task whose claude and runner are killed goes on by itself in its session,
// whether its owner lives, or dies with them as in a reboot.
func TestOnInterruptResumes(t *testing.T) {
	for _, who := range []string{"runner and claude", "all"} {
		t.Run(who, func(t *testing.T) {
			w := newWorld(t)
			s := w.connect()
			v := w.tool(s, "start_cc_task_async", map[string]any{"prompt": "The word is walrus. [[bash echo run >> ran]][[hold go]][[text never]]", "on_interrupt": "resume"})
			w.Held("go", 1)
			session := v.TaskID.UUID()
			claude := w.Matching("--session-id=" + session)
			if len(claude) != 1 {
				t.Fatalf("claude is %v of %v", claude, w.Processes())
			}
			pids := []int{w.Parent(claude[0]), claude[0]}
			if who == "all" {
				pids = append([]int{w.Owner().PID}, pids...)
			}
			w.Kill(pids...)
			v = w.tool(s, "check_task_status", map[string]any{"task_id": string(v.TaskID), "wait_seconds": 60})
			rec := w.record(string(v.TaskID))
			if v.Status != task.Completed || v.Attempt != 2 || rec.Attempts[0].Status != task.Interrupted || rec.Attempts[1].Kind != task.Auto {
				t.Errorf("%s after %d attempts: %s", v.Status, v.Attempt, v.StatusMessage)
			}
			if got := w.conversation(session); !strings.Contains(got, "The word is walrus") || !strings.Contains(got, "verify what the last tool did") {
				t.Errorf("the model does not know the conversation: %.2000s", got)
			}
			if b, err := os.ReadFile(filepath.Join(w.Work, "ran")); err != nil || string(b) != "run\n" {
				t.Errorf("it ran its tool: %q, %v", b, err)
			}
		})
	}
}

// A repeated idempotency key starts nothing, also after the server has gone.
func TestIdempotencyKeyStartsNothing(t *testing.T) {
	w := newWorld(t)
	args := map[string]any{"prompt": "[[bash echo run >> ran]][[text once]]", "idempotency_key": "k1"}
	first := w.tool(w.connect(), "execute_cc_task", args)
	again := w.tool(w.connect(), "execute_cc_task", args)
	if again.TaskID != first.TaskID || again.Result == nil || *again.Result != "once" {
		t.Errorf("%s, then %s with %v", first.TaskID, again.TaskID, again.Result)
	}
	if b, err := os.ReadFile(filepath.Join(w.Work, "ran")); err != nil || string(b) != "run\n" || len(w.API.Prompts()) != 1 {
		t.Errorf("it ran its tool: %q, %v; prompts %q", b, err, w.API.Prompts())
	}
	args["prompt"] = "[[text other]]"
	if _, r := w.call(w.connect(), "execute_cc_task", args); !r.IsError {
		t.Error("the same key with another prompt was taken")
	}
}
