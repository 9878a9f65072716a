package fakeapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"cctask/internal/testkit/fakeapi"
	"cctask/internal/testkit/realclaude"
)

// deadline is generous: a run costs a CPU-second, and the cores may be shared.
const deadline = 5 * time.Minute

// result is the last result event of a run.
type result struct {
	Type      string  `json:"type"`
	Subtype   string  `json:"subtype"`
	IsError   bool    `json:"is_error"`
	Result    string  `json:"result"`
	Turns     int     `json:"num_turns"`
	Cost      float64 `json:"total_cost_usd"`
	Status    int     `json:"api_error_status"`
	SessionID string  `json:"session_id"`

	exit   int
	events []json.RawMessage
}

// home is one HOME with its server; runs in it share sessions.
type home struct {
	t    *testing.T
	path string
	dir  string
	api  *fakeapi.Server
}

func newHome(t *testing.T) *home {
	t.Helper()
	t.Parallel()
	return &home{t: t, path: realclaude.Require(t), dir: t.TempDir(), api: fakeapi.Start(t)}
}

func (h *home) command(ctx context.Context, prompt string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	args = append([]string{"-p", "--output-format=stream-json", "--verbose", "--dangerously-skip-permissions"}, args...)
	cmd := exec.CommandContext(ctx, h.path, args...)
	cmd.Env = realclaude.Env(h.dir, h.api.URL, "IS_SANDBOX=1", "CLAUDE_CODE_MAX_RETRIES=2")
	cmd.Dir = h.dir
	cmd.Stdin = strings.NewReader(prompt)
	var out bytes.Buffer
	cmd.Stdout = &out
	return cmd, &out
}

func (h *home) run(prompt string, args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	cmd, out := h.command(ctx, prompt, args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	r := lastResult(h.t, out.Bytes())
	r.exit = cmd.ProcessState.ExitCode()
	return r
}

func lastResult(t *testing.T, stdout []byte) result {
	t.Helper()
	var last result
	var events []json.RawMessage
	for line := range bytes.Lines(stdout) {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("line %.200q: %v", line, err)
		}
		events = append(events, line)
		if r.Type == "result" {
			last = r
		}
	}
	if last.Type == "" {
		t.Fatalf("no result event in %.2000s", stdout)
	}
	last.events = events
	return last
}

func (r result) want(t *testing.T, text string, turns int, cost float64) {
	t.Helper()
	if r.exit != 0 || r.IsError || r.Result != text || r.Turns != turns || math.Abs(r.Cost-cost) > 1e-9 {
		t.Errorf("exit %d, is_error %v, %d turns, $%v, result %.500q; want %d turns, $%v, %.500q",
			r.exit, r.IsError, r.Turns, r.Cost, r.Result, turns, cost, text)
	}
}

func TestRealTextResumeAndCost(t *testing.T) {
	h := newHome(t)
	const session = "0190a0aa-0000-4000-8000-000000000001"
	h.run("[[text hello]] [[text  again]]", "--session-id="+session).want(t, "hello again", 1, fakeapi.Cost(1))
	h.run("[[bash echo two]][[text ${result.0}]]", "--resume="+session).want(t, "two", 2, fakeapi.Cost(3))
	if got := h.api.Prompts(); len(got) != 2 || got[1] != "[[bash echo two]][[text ${result.0}]]" {
		t.Errorf("prompts: %q", got)
	}
	for _, r := range h.api.Requests() {
		if r.Kind != fakeapi.KindMain || r.Session != session || r.Path != "/v1/messages" {
			t.Errorf("%s request to %s of session %s", r.Kind, r.Path, r.Session)
		}
	}
	if st := h.api.Stats(); st.Turns != 3 || st.MaxConcurrent != 1 || st.InFlight != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestRealParallelToolsAndTemplates(t *testing.T) {
	h := newHome(t)
	h.run(`[[tools {"name":"Bash","input":{"command":"echo '{\"id\":\"A\",\"n\":[7]}'"}}
		{"name":"Bash","input":{"command":"echo '{\"id\":\"B\"}'"}}]]
		[[bash echo ${result.0.id}-${result.0.n.0}-${result.1.id}]] [[text got ${result.2}]]`).
		want(t, "got A-7-B", 4, fakeapi.Cost(3))
}

func TestRealHoldAndRelease(t *testing.T) {
	h := newHome(t)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var outs []*bytes.Buffer
	var cmds []*exec.Cmd
	for range 2 {
		cmd, out := h.command(ctx, "[[text before ]][[hold go]][[stream 3 1ms x]]")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds, outs = append(cmds, cmd), append(outs, out)
	}
	if err := h.api.WaitHeld(ctx, "go", 2); err != nil {
		t.Fatal(err)
	}
	h.api.Release("go")
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		lastResult(t, outs[i].Bytes()).want(t, "before x x x ", 1, fakeapi.Cost(1))
	}
	if got := h.api.MaxConcurrent(); got != 2 {
		t.Errorf("most at once: %d, want 2", got)
	}
}

func TestRealErrors(t *testing.T) {
	h := newHome(t)
	r := h.run("[[status 400 Your credit balance is too low]]")
	if r.exit != 1 || !r.IsError || r.Status != 400 || !strings.Contains(r.Result, "Credit balance is too low") {
		t.Errorf("status 400: %+v", r)
	}
	h.run("[[status 529 times=1]][[text second try]]").want(t, "second try", 1, fakeapi.Cost(1))
	r = h.run("[[bash echo x]][[text ${result.7}]]")
	if r.exit != 1 || !strings.Contains(r.Result, "there are 1 tool results") {
		t.Errorf("broken script: %+v", r)
	}
	if got := len(h.api.Prompts()); got != 3 {
		t.Errorf("%d prompts, want 3: a repeated try is no new prompt", got)
	}
}

func TestRealNoRetry(t *testing.T) {
	h := newHome(t)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	cmd, out := h.command(ctx, "[[status 529]]")
	cmd.Env = append(cmd.Env, "CLAUDE_CODE_MAX_RETRIES=0")
	err := cmd.Run()
	if r := lastResult(t, out.Bytes()); err == nil || r.Status != 529 || !r.IsError {
		t.Errorf("%v, %+v", err, r)
	}
	if got := h.api.Stats().Turns; got != 1 {
		t.Errorf("%d tries, want 1", got)
	}
}

func TestRealPromptBytes(t *testing.T) {
	h := newHome(t)
	prompts := []string{
		"a\r\nb\ttab $(x) `y` 'q' \"d\" \\n 🎉 \u200d\u00a0é",
		"-p --help",
		"/unknown-command argument",
		"  blanks around  \n\n",
		strings.Repeat("0123456789abcde\n", 1<<16),
	}
	for _, p := range prompts {
		h.run(p).want(t, fakeapi.DefaultText(p), 1, fakeapi.Cost(1))
	}
	for i, got := range h.api.Prompts() {
		if got != prompts[i] {
			t.Errorf("prompt %d: %.100q, want %.100q", i, got, prompts[i])
		}
	}
}

func TestRealHandlerAndSubagent(t *testing.T) {
	h := newHome(t)
	h.api.Handle(func(p string) bool { return p == "outer" }, func(c fakeapi.Conversation) fakeapi.Turn {
		if c.Turn == 0 {
			return fakeapi.Call(fakeapi.ToolUse{Name: "Agent", Input: map[string]any{
				"description": "d", "prompt": "[[text inner]]", "subagent_type": "general-purpose", "run_in_background": false,
			}})
		}
		return fakeapi.Say(fmt.Sprint("agent said inner: ", strings.Contains(c.ToolResults[0].Text, "inner")))
	})
	r := h.run("outer")
	if r.Result != "agent said inner: true" {
		t.Errorf("result %q", r.Result)
	}
	if st := h.api.Stats(); st.Turns != 2 || len(st.Prompts) != 1 {
		t.Errorf("a subagent was counted: %+v", st)
	}
}

// A subscription's limit is an event of its own with the time of its reset.
func TestRealUsageLimit(t *testing.T) {
	h := newHome(t)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	run := func(prompt string) []byte {
		cmd, out := h.command(ctx, prompt)
		cmd.Env = append(cmd.Env, "ANTHROPIC_API_KEY=", "CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-fake")
		_ = cmd.Run() // its last event tells how it went
		return out.Bytes()
	}
	before := time.Now().Add(time.Hour).Unix()
	out := run("[[limit after=1h]]")
	var info struct {
		Info struct {
			Status   string
			ResetsAt int64
		} `json:"rate_limit_info"`
	}
	for line := range bytes.Lines(out) {
		if bytes.Contains(line, []byte(`"rate_limit_event"`)) {
			if err := json.Unmarshal(line, &info); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r := lastResult(t, out); !r.IsError || !strings.Contains(r.Result, "limit") {
		t.Errorf("%+v", r)
	}
	if info.Info.Status != "rejected" || info.Info.ResetsAt < before {
		t.Errorf("%+v", info.Info)
	}
	if got := h.api.Stats().Turns; got != 1 {
		t.Errorf("%d tries, want 1", got)
	}
}
