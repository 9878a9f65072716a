package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"cctask/engine"
	"cctask/engine/task"
)

// outputSchemas are those that the client was shown.
var outputSchemas = sync.OnceValues(func() (map[string]*jsonschema.Resolved, error) {
	all := map[string]*jsonschema.Resolved{}
	for _, file := range []string{"task.out.json", "list.out.json", "check.out.json"} {
		var s jsonschema.Schema
		err := json.Unmarshal(schemaText(file), &s)
		if err == nil {
			all[file], err = s.Resolve(nil)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
})

// valid checks structured content against its output schema.
func valid(t testing.TB, file string, data json.RawMessage) {
	t.Helper()
	schemas, err := outputSchemas()
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if err := schemas[file].Validate(v); err != nil {
		t.Errorf("%s: %v", data, err)
	}
}

func TestEveryPathOfEveryTool(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	v := p.ask("start_cc_task_async", `{"prompt":"do it","working_dir":"sub","model":"opus","skip_permissions":false,"timeout":1.5,"name":"n","labels":["a","b"],"idempotency_key":"k"}`)
	id := v.view.TaskID
	if v.view.Status != task.Running || v.view.Next == "" || id == "" {
		t.Fatalf("got %s", v.Data)
	}
	skip := false
	want := task.Spec{
		WorkingDir: "/project/dir/sub", Claude: "/usr/bin/claude", Model: "opus", SkipPermissions: &skip,
		TimeoutSeconds: 1.5, Name: "n", Labels: []string{"a", "b"},
	}
	if got := f.subs[0]; fmt.Sprint(got.Spec.SkipsPermissions(), got.Spec.WorkingDir, got.Spec.Model, got.Spec.TimeoutSeconds, got.Spec.Name, got.Spec.Labels, got.Spec.Claude, got.Prompt, got.Key, got.Env) !=
		fmt.Sprint(false, want.WorkingDir, want.Model, want.TimeoutSeconds, want.Name, want.Labels, want.Claude, "do it", "k", []string{"HOME=/home/u"}) {
		t.Errorf("submitted %+v", got)
	}

	for _, args := range []string{`{"task_id":%q}`, `{"task_id":%q,"output":"none"}`, `{"task_id":%q,"output":"full"}`, `{"task_id":%q,"output":"full","stream":"stderr","offset":2}`, `{"task_id":%q,"output":"full","stream":"result"}`, `{"task_id":%q,"tail_bytes":2,"wait_seconds":0.01}`} {
		p.ask("check_task_status", fmt.Sprintf(args, id))
	}
	p.ask("list_active_tasks", `{}`)
	f.end(id, task.Failed, "it went wrong")
	for _, args := range []string{`{"task_id":%q}`, `{"task_id":%q,"output":"full","offset":4}`, `{"task_id":"n","output":"none"}`} {
		if strings.Contains(args, "%q") {
			args = fmt.Sprintf(args, id)
		}
		r := p.ask("check_task_status", args)
		if r.IsError || r.view.Status != task.Failed || r.view.Error == "" || *r.view.ExitCode != 1 || !strings.Contains(r.view.Next, "cctask resume") {
			t.Errorf("a failed task was shown as %s", r.Data)
		}
	}
	p.ask("list_active_tasks", `{"status":["failed"],"limit":1}`)
	r := p.ask("cleanup_task", fmt.Sprintf(`{"task_id":%q,"keep_record":true}`, id))
	if *r.view.Removed || f.tasks[id] == nil {
		t.Errorf("got %s", r.Data)
	}
	r = p.ask("cleanup_task", `{"task_id":"n"}`)
	if !*r.view.Removed || f.tasks[id] != nil {
		t.Errorf("got %s", r.Data)
	}
}

func TestExecuteWaitsForTheAnswer(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	p.tool("1", "execute_cc_task", `{"prompt":"x"}`)
	f.until(t, "the call waits", func() bool { return f.waiting == 1 })
	f.end(fakeID(1), task.Completed, "forty-two")
	r := p.next().tool(t)
	v := r.view
	if v.Status != task.Completed || *v.Result != "forty-two" || v.Stdout != nil || v.Stderr != nil || *v.CostUSD != 0.12 || *v.ElapsedSeconds != 92 || v.Error != "" {
		t.Errorf("got %s", r.Data)
	}
	if f.subs[0].Key == "" {
		t.Error("a submission without a key may start twice over an owner's death")
	}

	// A deadline of the call's own leaves the task running.
	r = p.ask("execute_cc_task", `{"prompt":"x","max_wait_seconds":0.01}`)
	if r.view.Status != task.Running || r.view.TaskID != fakeID(2) || r.view.PollAfterMS == 0 {
		t.Errorf("got %s", r.Data)
	}
	// The task of an earlier call with this key, with its answer.
	p.tool("1", "execute_cc_task", `{"prompt":"x","idempotency_key":"k"}`)
	f.until(t, "the call waits", func() bool { return f.waiting == 1 })
	f.end(fakeID(3), task.Completed, "once")
	p.next()
	if r = p.ask("execute_cc_task", `{"prompt":"x","idempotency_key":"k"}`); *r.view.Result != "once" || r.view.TaskID != fakeID(3) {
		t.Errorf("got %s", r.Data)
	}
}

// What a start is answered is short, whatever the task is called and why it waits.
func TestAStartIsAnsweredShortly(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	v := p.ask("start_cc_task_async", `{"prompt":"`+strings.Repeat("long ", 1000)+`","name":"`+strings.Repeat("n", 100)+`","labels":["a"],"model":"opus","add_dirs":["/d"]}`)
	f.change(v.view.TaskID, func(t *task.Task) {
		t.Status, t.StartedAt, t.QueuePosition, t.Message = task.Queued, time.Time{}, 100_000, strings.Repeat("claude is not there; ", 20)
	})
	// The same call again is answered with the task as it waits.
	f.keys["k"] = v.view.TaskID
	v = p.ask("start_cc_task_async", `{"prompt":"x","idempotency_key":"k"}`)
	if n := jsonSize(v.Data); n >= 300 || v.view.QueuePosition != 100_000 || v.view.StatusMessage == "" {
		t.Errorf("%d characters: %s", n, v.Data)
	}
	if v = p.ask("start_cc_task_async", `{"prompt":"x","idempotency_key":"k","detail":true}`); v.view.WorkingDir == "" || v.view.Command == "" || v.view.Prompt == "" {
		t.Errorf("with detail: %s", v.Data)
	}
}

func TestBadArgumentsAreNamed(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	for _, c := range []struct{ tool, args, want string }{
		{"execute_cc_task", `{}`, "prompt: missing, required is a string that is not empty"},
		{"execute_cc_task", `null`, "prompt: missing"},
		{"execute_cc_task", `{"prompt":7}`, "prompt: given 7, allowed is a string that is not empty"},
		{"execute_cc_task", `{"prompt":7,"prompt":"x"}`, "the same argument is given twice"},
		{"execute_cc_task", `{"prompt":"  \n"}`, "prompt: is blank"},
		{"execute_cc_task", `{"prompt":"a\u0000b"}`, "prompt: contains a NUL byte"},
		{"execute_cc_task", `{"Prompt":"x"}`, "Prompt: no such argument, the nearest is prompt; prompt: missing"},
		{"execute_cc_task", `{"prompt":"x","working_directory":"/"}`, "working_directory: no such argument, the nearest is working_dir"},
		{"execute_cc_task", `{"prompt":"x","timeout_seconds":5}`, "timeout_seconds: no such argument, the nearest is timeout"},
		{"execute_cc_task", `{"prompt":"x","append_system_promt":"y"}`, "append_system_promt: no such argument, the nearest is append_system_prompt"},
		{"execute_cc_task", `{"prompt":"x","options":{"efort":"low"}}`, "efort: no such argument, the nearest is effort"},
		{"execute_cc_task", `{"prompt":"x","options":{"effort":"little"}}`, `effort: given "little", allowed is one of low, medium, high, xhigh, max`},
		{"execute_cc_task", `{"prompt":"x","options":{"effort":"low"},"effort":"low"}`, "options: effort stands beside it too"},
		{"execute_cc_task", `{"prompt":"x","options":["effort"]}`, `options: given ["effort"], allowed is a JSON object`},
		{"execute_cc_task", `{"prompt":"x","env":{"A B":"hush"}}`, "env: given something else, allowed is 1 to 256 variables by their names"},
		{"execute_cc_task", `{"prompt":"x","zzz":1}`, "zzz: no such argument, allowed are add_dirs, after, agent, agents, allowed_tools, append_system_prompt, "},
		{"check_task_status", `{"id":"x"}`, "id: no such argument, the nearest is task_id"},
		{"execute_cc_task", `{"prompt":"x","timeout":-1}`, "timeout: given -1, allowed is seconds, or a time like 90s"},
		{"execute_cc_task", `{"prompt":"x","timeout":"soon"}`, `timeout: given "soon", allowed is seconds, or a time`},
		{"execute_cc_task", `{"prompt":"x","timeout":1e999}`, "timeout: given 1e999"},
		{"execute_cc_task", `{"prompt":"x","skip_permissions":"yes"}`, `skip_permissions: given "yes", allowed is true or false`},
		{"execute_cc_task", `{"prompt":"x","model":"a b"}`, `model: "a b" is not a model name`},
		{"execute_cc_task", `{"prompt":"x","labels":["a",1]}`, `labels: given ["a",1], allowed is a list of 1 to 32 items, each a string of 1 to 100 characters`},
		{"execute_cc_task", `{"prompt":"x","name":"` + strings.Repeat("é", 101) + `"}`, "name: given"},
		{"execute_cc_task", `{"prompt":"x","json_schema":"[]"}`, `json_schema: given "[]", allowed is a JSON object`},
		{"execute_cc_task", `{"prompt":"x","permission_mode":"yolo"}`, "permission_mode: given \"yolo\", allowed is one of default, acceptEdits,"},
		{"execute_cc_task", `{"prompt":"x","max_turns":1.5}`, "max_turns: given 1.5, allowed is a whole number from 0 to 100000"},
		{"execute_cc_task", `{"prompt":"x","skip_permissions":true,"allowed_tools":["Read"]}`, "skip_permissions: true contradicts permission_mode and allowed_tools"},
		{"execute_cc_task", `{"prompt":"x","claude":"/bin/sh"}`, "claude: no such argument"},
		{"check_task_status", `{"task_id":"x","wait_seconds":3601}`, "wait_seconds: given 3601, allowed is a number from 0 to 3600"},
		{"check_task_status", `{"task_id":"x","output":"all"}`, `output: given "all", allowed is one of auto, none, tail, full`},
		{"check_task_status", `{"task_id":"x","offset":1.5}`, "offset: given 1.5, allowed is a whole number from 0 to"},
		{"check_task_status", `{"task_id":""}`, `task_id: given "", allowed is a string of 1 to 200 characters`},
		{"list_active_tasks", `{"status":["starting"]}`, `status: given ["starting"]`},
		{"list_active_tasks", `{"status":"running"}`, `status: given "running", allowed is a list`},
		{"list_active_tasks", `{"limit":0}`, "limit: given 0, allowed is a whole number from 1 to 1000"},
		{"cleanup_task", `{"task_id":"x","force":true,"a":1}`, "a: no such argument, allowed are keep_record, task_id; force: no such argument"},
	} {
		p.tool("1", c.tool, c.args)
		r := p.next().tool(t)
		if text := r.Content[0].Text; !r.IsError || !strings.HasPrefix(text, "invalid_argument: ") || !strings.Contains(text, c.want) || !strings.HasSuffix(text, ".") {
			t.Errorf("%s %s\nwas answered %q\nwant %q", c.tool, c.args, text, c.want)
		}
	}
	if len(f.calls) > 0 {
		t.Errorf("bad arguments reached the Service: %v", f.calls)
	}
	// null is absent, 1e1 is a whole number.
	if r := p.ask("list_active_tasks", `{"limit":1e1,"label":null}`); r.IsError {
		t.Errorf("got %s", r.Content[0].Text)
	}
}

func TestErrors(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	if text := p.ask("check_task_status", `{"task_id":"nope"}`).Content[0].Text; !strings.HasPrefix(text, `not_found: read task nope: no task "nope". Call list_active_tasks`) {
		t.Errorf("got %q", text)
	}
	if r := p.ask("cleanup_task", `{"task_id":"nope"}`); !r.IsError || !strings.HasPrefix(r.Content[0].Text, "not_found: ") {
		t.Errorf("got %q", r.Content[0].Text)
	}
	f.fault = &task.Error{Code: task.CodeNoSpace, Message: "the disk is full", Hint: "Free some space."}
	if r := p.ask("start_cc_task_async", `{"prompt":"x"}`); !r.IsError || r.Content[0].Text != "no_space: submit: the disk is full. Free some space." {
		t.Errorf("got %q", r.Content[0].Text)
	}
	for _, fault := range []error{errors.New("bug"), &task.Error{Code: task.CodeCorrupt, Message: "damaged"}} {
		f.fault = fault
		p.tool("1", "list_active_tasks", "{}")
		if m := p.next(); m.Error == nil || m.Error.Code != codeInternal || !strings.Contains(m.Error.Message, fault.Error()) {
			t.Errorf("got %s", m.raw)
		}
	}
	refused := &task.Error{Code: task.CodeInvalid, Message: "claude was not found", Hint: "Install it."}
	p = servePeer(t, f, New(Config{Service: f, Defaults: func() (engine.Caller, error) { return engine.Caller{}, refused }}))
	if r := p.ask("start_cc_task_async", `{"prompt":"x"}`); !r.IsError || r.Content[0].Text != "invalid_argument: claude was not found. Install it." {
		t.Errorf("got %q", r.Content[0].Text)
	}
}

func TestHandshakeAndListsDoNotTouchTheService(t *testing.T) {
	p := servePeer(t, nil, New(Config{Version: "1.2.3"})) // a call would be a panic
	modern := `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	for i, call := range []string{
		`"method":"server/discover","params":{` + modern + `}`, `"method":"tools/list","params":{` + modern + `}`,
		`"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}`,
		`"method":"tools/list"`, `"method":"resources/list"`, `"method":"resources/templates/list"`, `"method":"prompts/list"`, `"method":"ping"`,
	} {
		p.send(`{"jsonrpc":"2.0","id":%d,%s}`, i, call)
		if m := p.next(); m.Error != nil {
			t.Errorf("%s was answered %s", call, m.raw)
		}
	}
}

func TestToolTable(t *testing.T) {
	type schemaShape struct {
		Properties map[string]struct {
			Type, Description string
			Default           any
		}
		Required             []string
		AdditionalProperties any
	}
	var names []string
	size := 0
	for _, tl := range (&Server{}).tools() {
		names = append(names, tl.name)
		if n := len([]rune(tl.description)); n > 1000 || n < 100 {
			t.Errorf("%s: a description of %d characters", tl.name, n)
		}
		data, err := json.Marshal(tl.describe())
		if err != nil {
			t.Fatal(err)
		}
		size += len([]rune(string(data)))
		var d struct {
			Title       string
			InputSchema schemaShape
			Annotations map[string]any
			Meta        map[string]any `json:"_meta"`
		}
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatal(err)
		}
		if d.Title == "" || len(d.Annotations) != 5 || d.InputSchema.AdditionalProperties != false {
			t.Errorf("%s: %s", tl.name, data)
		}
		for name, p := range d.InputSchema.Properties {
			// A default is shown where it is not 0, false or nothing.
			usual := map[string]any{"skip_permissions": true, "strict_mcp_config": true, "output": "auto", "stream": "stdout", "tail_bytes": 8192.0, "limit": 50.0, "until": "all"}
			if p.Description == "" || p.Type == "" || p.Default != usual[name] {
				t.Errorf("%s: argument %s lacks a description, a type or a default", tl.name, name)
			}
		}
		if always := d.Meta[alwaysLoad] == true; always != slices.Contains([]string{"execute_cc_task", "start_cc_task_async", "check_task_status"}, tl.name) {
			t.Errorf("%s: meta %v", tl.name, d.Meta)
		}
	}
	if want := []string{"execute_cc_task", "start_cc_task_async", "check_task_status", "list_active_tasks", "cleanup_task"}; !slices.Equal(names, want) {
		t.Errorf("tools %v", names)
	}
	if size >= 20_000 {
		t.Errorf("the tools have %d characters", size)
	}
	if n := len([]rune(instructions)); n > 1000 {
		t.Errorf("instructions of %d characters", n)
	}
}

func TestListFiltersAndPages(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	long := strings.Repeat("long name ", 10)
	for i := range 200 {
		_, err := f.Submit(context.Background(), engine.Submission{Key: fmt.Sprint(i), Prompt: strings.Repeat("p", 500), Spec: task.Spec{WorkingDir: "/w/" + strings.Repeat("d", 200), Name: long, Labels: []string{"l"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	f.end(fakeID(7), task.Failed, "no")
	f.change(fakeID(8), func(t *task.Task) { t.Status = task.Starting })
	seen := map[task.ID]bool{}
	args := `{"limit":1000}`
	for pages := 1; ; pages++ {
		r := p.ask("list_active_tasks", args)
		if n := jsonSize(r.Data); n > maxResult {
			t.Fatalf("a page of %d characters", n)
		}
		var page listResult
		if err := json.Unmarshal(r.Data, &page); err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Tasks {
			if seen[v.TaskID] {
				t.Errorf("%s came twice", v.TaskID)
			}
			seen[v.TaskID] = true
		}
		if page.NextCursor == "" {
			if pages < 2 {
				t.Error("everything on one page")
			}
			break
		}
		args = fmt.Sprintf(`{"limit":1000,"cursor":%q}`, page.NextCursor)
	}
	if len(seen) != 199 || seen[fakeID(7)] || !seen[fakeID(8)] {
		t.Errorf("%d tasks were listed", len(seen))
	}
	for args, want := range map[string]string{
		`{"name":"x"}`: "No task fits. With include_finished the tasks that have ended are listed too.", `{"status":["timeout"]}`: "No task fits.",
		`{"include_finished":true,"name":"x"}`: "No task fits.", `{"cursor":"` + string(task.FirstID(time.UnixMilli(1))) + `"}`: "There are no more: the page before was the last one.",
	} {
		var page listResult
		if err := json.Unmarshal(p.ask("list_active_tasks", args).Data, &page); err != nil || page.Next != want {
			t.Errorf("%s: next says %q, %v", args, page.Next, err)
		}
	}
	for args, want := range map[string]int{`{"status":["failed"]}`: 1, `{"include_finished":true,"label":"none"}`: 0, `{"include_finished":true,"working_dir":"/nowhere"}`: 0, `{"include_finished":true,"limit":3}`: 3, `{"name":"long name","search":"ppp","limit":5}`: 5, `{"name":"x"}`: 0, `{"search":"x"}`: 0} {
		var page listResult
		if err := json.Unmarshal(p.ask("list_active_tasks", args).Data, &page); err != nil || len(page.Tasks) != want {
			t.Errorf("%s listed %d tasks, want %d", args, len(page.Tasks), want)
		}
		if all := strings.Contains(args, "include_finished"); want == 0 && all == strings.Contains(page.Next, "include_finished") {
			t.Errorf("%s: next says %q", args, page.Next)
		}
	}
}

// recorder is a request whose progress is kept, with the time of each message.
func recorder(s *Server) (*request, *[]string) {
	lines, start := &[]string{}, time.Now()
	out := writeFunc(func(b []byte) {
		var m struct{ Params progressParams }
		if json.Unmarshal(b, &m) == nil {
			*lines = append(*lines, fmt.Sprintf("%v %d %s", time.Since(start).Round(time.Millisecond), m.Params.Progress, m.Params.Message))
		}
	})
	c := s.newConn(context.Background(), newLoad(s.bounds), newWriter(out))
	return &request{conn: c, out: c.out, id: json.RawMessage("1"), token: json.RawMessage("1")}, lines
}

type writeFunc func([]byte)

func (w writeFunc) Write(b []byte) (int, error) { w(b); return len(b), nil }

// deaf lets a task be waited for, and does not answer what it is.
type deaf struct{ *fake }

func (deaf) Get(context.Context, string) (task.Task, error) {
	return task.Task{}, &task.Error{Code: task.CodeOwnerGone, Message: "silent"}
}

// Who cancels a call while the owner is silent has its task stopped all the same.
func TestWatchGivesTheTaskWithAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		s := New(Config{Service: deaf{f}, Defaults: defaults})
		id := f.seed(t)
		r, _ := recorder(s)
		now, _ := f.Get(t.Context(), string(id))
		if got, err := s.await(t.Context(), r, &now, time.Second); err == nil || got == nil || got.ID != id {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// A task that is deleted while a call waits for several keeps it from no answer about the
// others.
func TestWaitForSeveralOfWhichOneIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		s := New(Config{Service: f, Defaults: defaults})
		stays, goes := f.seed(t), f.seed(t)
		r, _ := recorder(s)
		go func() {
			time.Sleep(time.Second)
			if err := f.Remove(t.Context(), string(goes), true); err != nil {
				t.Error(err)
			}
		}()
		q := engine.WaitQuery{Refs: []string{string(stays), string(goes)}, Until: engine.All}
		got, err := s.awaitAll(t.Context(), r, q, time.Minute)
		if err != nil || got[0].Status.Ended() || got[1].ID != goes || got[1].Status != "" {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestProgressPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		s := New(Config{Service: f, Defaults: defaults})
		id := f.seed(t)
		r, lines := recorder(s)
		go func() {
			// Twenty changes in about two seconds, none on a full one, then silence, then the end.
			for i := range 20 {
				time.Sleep(105 * time.Millisecond)
				f.change(id, func(t *task.Task) {
					t.Progress = &task.Progress{Turns: i + 1, LastTool: "Bash go test ./...", CostUSD: 0.12}
				})
			}
			time.Sleep(40 * time.Second)
			f.end(id, task.Completed, "ok")
		}()
		now, _ := f.Get(t.Context(), string(id))
		got, err := s.await(t.Context(), r, &now, 0)
		if err != nil || got.Status != task.Completed {
			t.Fatalf("got %v, %v", got.Status, err)
		}
		want := []string{
			"0s 1 starting · 0s",
			"1s 2 turn 9 · Bash go test ./... · 1s · $0.12",
			"2s 3 turn 19 · Bash go test ./... · 2s · $0.12",
			"3s 4 turn 20 · Bash go test ./... · 3s · $0.12",
			"17s 5 turn 20 · Bash go test ./... · 17s · $0.12",
			"31s 6 turn 20 · Bash go test ./... · 31s · $0.12",
		}
		loose := func(s string) string {
			return strings.NewReplacer("turn 10", "turn 9", "turn 20", "turn 19").Replace(s)
		}
		if a, b := loose(strings.Join(*lines, "\n")), loose(strings.Join(want, "\n")); a != b {
			t.Errorf("got\n%s\nwant\n%s", a, b)
		}
	})
}

func TestProgressText(t *testing.T) {
	now := time.Now()
	start := now.Add(-92 * time.Second)
	base := task.Task{Status: task.Running, StartedAt: start, CostUSD: 0.1}
	for _, c := range []struct {
		change func(*task.Task)
		want   string
	}{
		{func(t *task.Task) {
			t.Progress = &task.Progress{Turns: 4, LastTool: "Bash go test ./...", CostUSD: 0.02}
		}, "turn 4 · Bash go test ./... · 1m32s · $0.12"},
		{func(t *task.Task) { t.CostUSD = 0 }, "starting · 1m32s"},
		{func(t *task.Task) {
			t.Progress = &task.Progress{Turns: 1, LastTool: "x", Retrying: "attempt 3 of 10: overloaded"}
		}, "turn 1 · retrying: attempt 3 of 10: overloaded · 1m32s · $0.10"},
		{func(t *task.Task) { t.Status, t.QueuePosition = task.Queued, 3 }, "queued · position 3"},
		{func(t *task.Task) { t.Status = task.Completed }, "completed"},
	} {
		tk := base
		c.change(&tk)
		if got := progressText(tk, now); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestATaskIsDeletedUnderThoseWhoWait(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	id := f.seed(t)
	p.tool("1", "check_task_status", fmt.Sprintf(`{"task_id":%q,"wait_seconds":600}`, id))
	f.until(t, "the call waits", func() bool { return f.waiting == 1 })
	// As by the owner, where the end and the deletion can be one moment.
	if err := f.Remove(t.Context(), string(id), true); err != nil {
		t.Fatal(err)
	}
	want := "not_found: task " + string(id) + " was deleted while this call waited for it. Call list_active_tasks with include_finished to see the tasks."
	if r := p.next().tool(t); !r.IsError || r.Content[0].Text != want {
		t.Errorf("got %q", r.Content[0].Text)
	}
}

// stuck is a Service that cannot record that a task has ended.
type stuck struct{ *fake }

func (s stuck) Cancel(ctx context.Context, _ string) (task.Task, error) {
	<-ctx.Done()
	return task.Task{}, fmt.Errorf("wait: %w", ctx.Err())
}

func TestCleanupDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := servePeer(t, f, New(Config{Service: stuck{f}, Defaults: defaults}))
		start := time.Now()
		x := string(fakeID(1))
		p.tool("1", "cleanup_task", `{"task_id":"`+x+`"}`)
		r := (<-p.msgs).tool(t)
		if text := r.Content[0].Text; !r.IsError || !strings.HasPrefix(text, "conflict: task "+x+" was told to stop, but its end is not recorded yet. Call cleanup_task again") || time.Since(start) != usualPatience {
			t.Errorf("after %v: %q", time.Since(start), text)
		}
		if f.called("Remove " + x) {
			t.Error("a task that has not ended was removed")
		}
		p.in.Close()
		<-p.served
	})
}

// A server that was started inside a task waits for no end that waits for it.
func TestNobodyWaitsForItself(t *testing.T) {
	f := newFake()
	id := string(fakeID(1))
	p := servePeer(t, f, New(Config{Service: f, Defaults: defaults, Within: task.Within{id}}))
	p.ask("start_cc_task_async", `{"prompt":"x"}`)
	if r := p.ask("check_task_status", `{"task_id":"`+id+`","wait_seconds":600}`); !r.IsError || !strings.HasPrefix(r.Content[0].Text, "invalid_argument: task "+id+" runs this very command") {
		t.Errorf("got %q", r.Content[0].Text)
	}
	if r := p.ask("check_task_status", `{"task_id":"`+id+`"}`); r.IsError || r.view.Status != task.Running {
		t.Errorf("a look at itself: %s", r.Data)
	}
}

// Inside a task the list begins with what that has started, on the first page alone.
func TestOwnTasksFirst(t *testing.T) {
	f := newFake()
	self := fakeID(1)
	p := servePeer(t, f, New(Config{Service: f, Defaults: defaults, Within: task.Within{string(self)}}))
	for range 5 {
		p.ask("start_cc_task_async", `{"prompt":"x"}`)
	}
	f.change(fakeID(2), func(t *task.Task) { t.ParentID = self })
	list := func(args string) (ids []task.ID, cursor string) {
		var v listResult
		if err := json.Unmarshal(p.ask("list_active_tasks", args).Data, &v); err != nil {
			t.Fatal(err)
		}
		for _, one := range v.Tasks {
			ids = append(ids, one.TaskID)
		}
		return ids, v.NextCursor
	}
	first, cursor := list(`{"limit":2}`)
	second, _ := list(`{"limit":4,"cursor":"` + cursor + `"}`)
	want := []task.ID{fakeID(2), fakeID(5), fakeID(4), fakeID(3), fakeID(1)}
	if got := slices.Concat(first, second); !slices.Equal(got, want) {
		t.Errorf("lists %v, want %v", got, want)
	}
}
