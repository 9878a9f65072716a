package mcp

import (
	"fmt"
	"strings"
	"testing"

	"cctask/engine"
	"cctask/engine/task"
)

const (
	saysHi    = `{"type":"assistant","message":{"content":[{"type":"text","text":"I looked."},{"type":"tool_use","name":"Bash","input":{"command":"make"}}]}}`
	aSubagent = `{"type":"assistant","message":{"content":[{"type":"text","text":"of a subagent"}]},"parent_tool_use_id":"toolu_1"}`
)

// An answer has what the caller needs, and no more: no stream of a task that is
// well, the last words of one that ended badly, as people read them.
func TestAnswersAreLean(t *testing.T) {
	f := newFake()
	f.output[task.Stdout] = []byte(strings.Repeat(`{"type":"system","subtype":"status"}`+"\n", 1000) + saysHi + "\n" + aSubagent + "\n")
	f.output[task.Stderr] = []byte("begin " + strings.Repeat("x", 5000) + " end\n")
	p := newPeer(t, f)
	check := func(id task.ID, more string) result {
		t.Helper()
		return p.ask("check_task_status", fmt.Sprintf(`{"task_id":%q%s}`, id, more))
	}
	id := f.seed(t)
	f.change(id, func(t *task.Task) {
		t.Progress = &task.Progress{Turns: 3, LastTool: "Bash make", LastText: "I looked.", CostUSD: 0.1, Events: 9}
	})
	r := check(id, "")
	if v := r.view; v.Progress == nil || v.Progress.Turns != 3 || v.Stdout != nil || v.Stderr != nil || v.ElapsedSeconds == nil {
		t.Errorf("running: %s", r.Data)
	}
	for _, part := range []string{"turn 3", "Bash make", "$0.1", "I looked."} {
		if !strings.Contains(r.Content[0].Text, part) {
			t.Errorf("%q is not in %q", part, r.Content[0].Text)
		}
	}
	f.end(id, task.Completed, "forty-two <3")
	want := fmt.Sprintf(`{"task_id":%q,"status":"completed","elapsed_seconds":92,"exit_code":0,"result":"forty-two <3","cost_usd":0.12,"num_turns":4,"progress":{"turns":3,"last_tool":"Bash make","last_text":"I looked.","cost_usd":0.1},"next":%q}`, id, task.NewView(task.Task{Status: task.Completed}, r.view.CreatedAt).Next)
	if r = check(id, ""); string(r.Data) != want {
		t.Errorf("got  %s\nwant %s", r.Data, want)
	}
	r = check(id, `,"detail":true`)
	if v := r.view; v.Command == "" || v.Prompt != "seed" || v.PromptBytes != 4 || v.WorkingDir == "" || v.DurationMS == nil || v.CreatedAt.IsZero() || v.SessionID == "" || v.ResultBytes != 12 || v.Stdout.URI == "" || !strings.Contains(r.Content[0].Text, v.Command) || !strings.HasSuffix(r.Content[0].Text, "\nprompt: seed\n\n"+v.Next) {
		t.Errorf("with detail: %s, %q", r.Data, r.Content[0].Text)
	}

	bad := f.seed(t)
	f.end(bad, task.Failed, "")
	r = check(bad, "")
	if v := r.view; v.Said != "I looked." || v.Stdout != nil || len(*v.Stderr.Tail) != badEnd || !strings.HasSuffix(*v.Stderr.Tail, " end\n") || !v.Stderr.Truncated || v.Stderr.URI == "" || v.Error == "" || v.StatusMessage != "" {
		t.Errorf("failed: %s", r.Data)
	}
	if r = check(bad, `,"output":"none"`); r.view.Said != "" || r.view.Stderr != nil {
		t.Errorf("failed, without output: %s", r.Data)
	}
	r = check(bad, `,"output":"tail"`)
	if v := r.view; *v.Stdout.Tail != "I looked.\n● Bash make\n  of a subagent" || len(*v.Stderr.Tail) != len(f.output[task.Stderr]) || v.Stderr.Bytes != 0 {
		t.Errorf("the tail: %s", r.Data)
	}
	if r = check(bad, `,"output":"tail","raw":true,"tail_bytes":20`); *r.view.Stdout.Tail != string(f.output[task.Stdout][len(f.output[task.Stdout])-20:]) {
		t.Errorf("the raw tail: %s", r.Data)
	}
	// The answer is not said twice.
	f.end(bad, task.Failed, "I looked.")
	if r = check(bad, ""); r.view.Said != "" {
		t.Errorf("failed with an answer: %s", r.Data)
	}
}

// Some clients put every value into a string, for the rest of a session.
func TestValuesInStringsAreTaken(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	p.ask("start_cc_task_async", `{"prompt":"7","timeout":"120","skip_permissions":"false","labels":"[\"a\",\"b\"]","json_schema":" {\"type\":\"object\"} ","max_turns":"1e1","name":"true"}`)
	s := f.subs[0]
	if s.Prompt != "7" || s.Spec.TimeoutSeconds != 120 || *s.Spec.SkipPermissions || fmt.Sprint(s.Spec.Labels) != "[a b]" || string(s.Spec.JSONSchema) != `{"type":"object"}` || s.Spec.MaxTurns != 10 || s.Spec.Name != "true" {
		t.Errorf("submitted %+v", s)
	}
	var page listResult
	if r := p.ask("list_active_tasks", `{"include_finished":"true","limit":"1","status":"[\"running\"]"}`); r.IsError {
		t.Errorf("got %s, %v", r.Content[0].Text, page)
	}
	for _, args := range []string{
		`"timeout":"+5"`, `"timeout":"five"`, `"timeout":""`, `"timeout":"-1"`, `"timeout":"null"`, `"timeout":"[5]"`, `"timeout":"\"5\""`, `"literal":"True"`, `"literal":"1"`, `"literal":1`,
		`"labels":"a"`, `"labels":"a,b"`, `"labels":"[1]"`, `"labels":"[\"a\""`, `"json_schema":"[]"`, `"json_schema":"x"`, `"max_turns":"1.5"`, `"name":7`,
	} {
		if r := p.ask("start_cc_task_async", `{"prompt":"x",`+args+`}`); !r.IsError || !strings.Contains(r.Content[0].Text, ": given ") {
			t.Errorf("%s was answered %s", args, r.Content[0].Text)
		}
	}
	if len(f.subs) != 1 {
		t.Errorf("%d submissions", len(f.subs))
	}
}

// A blank is none where that changes nothing, and refused where it does.
func TestBlanks(t *testing.T) {
	f := newFake()
	var defaults task.Draft
	for name, v := range map[string]any{"model": "haiku", "labels": []any{"l"}} {
		if o, _ := task.Find(name); defaults.Take(o, v) != nil {
			t.Fatal(name)
		}
	}
	p := servePeer(t, f, New(Config{Service: f, Defaults: func() (engine.Caller, error) {
		return engine.Caller{WorkingDir: "/project/dir", Claude: "/usr/bin/claude", Defaults: defaults}, nil
	}}))
	p.ask("start_cc_task_async", `{"prompt":"x","model":"","name":"","working_dir":"","labels":[],"append_system_prompt":"","on_interrupt":"","add_dirs":[],"mcp_config":[]}`)
	if s := f.subs[0].Spec; s.Model != "haiku" || fmt.Sprint(s.Labels) != "[l]" || s.WorkingDir != "/project/dir" {
		t.Errorf("submitted %+v", s)
	}
	for _, name := range []string{"resume_task_id", "idempotency_key", "permission_mode", "allowed_tools"} {
		blank := map[bool]string{true: "[]", false: `""`}[name == "allowed_tools"]
		if r := p.ask("start_cc_task_async", fmt.Sprintf(`{"prompt":"x",%q:%s}`, name, blank)); !r.IsError || !strings.Contains(r.Content[0].Text, name+": given "+blank+", allowed is ") {
			t.Errorf("%s was answered %s", name, r.Content[0].Text)
		}
	}
	if len(f.subs) != 1 {
		t.Errorf("%d submissions", len(f.subs))
	}
}
