package mcp

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"

	"cctask/engine/task"
)

// metaWith declares the protocol of 2026-07-28, with these extensions.
func metaWith(extensions string) string {
	return `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},` +
		`"io.modelcontextprotocol/clientCapabilities":{"extensions":{` + extensions + `}}}`
}

var knowsTasks = metaWith(`"io.modelcontextprotocol/tasks":{}`)

// wire is a task in any of its shapes.
type wire struct {
	ResultType     string
	Meta           map[string]json.RawMessage `json:"_meta"`
	TaskID         string
	Status         mcpgo.TaskStatus
	StatusMessage  string
	CreatedAt      time.Time
	LastUpdatedAt  time.Time
	TTL            *int64
	TTLMS          *int64
	PollInterval   int
	PollIntervalMS int
	Result         json.RawMessage
	Content        json.RawMessage
	Task           *wire
	Tasks          []wire
	NextCursor     string
}

// request sends a request and gives its answer.
func (p *peer) request(method, params string) message {
	p.t.Helper()
	p.send(`{"jsonrpc":"2.0","id":7,"method":%q,"params":{%s}}`, method, params)
	return p.next()
}

func (p *peer) wire(method, params string) wire {
	p.t.Helper()
	m := p.request(method, params)
	var w wire
	if m.Error != nil || json.Unmarshal(m.Result, &w) != nil {
		p.t.Fatalf("%s: %s", method, m.raw)
	}
	return w
}

// code gives the code of the error that a request is answered with, 0 for none.
func (p *peer) code(method, params string) int {
	p.t.Helper()
	if m := p.request(method, params); m.Error != nil {
		if m.Error.Message == "" {
			p.t.Errorf("no message in %s", m.raw)
		}
		return m.Error.Code
	}
	return 0
}

func TestEveryStatusIsMapped(t *testing.T) {
	if len(mcpStatuses) != len(task.Statuses) {
		t.Errorf("%d statuses are mapped, there are %d", len(mcpStatuses), len(task.Statuses))
	}
	for _, s := range task.Statuses {
		if mcpStatuses[s].IsTerminal() != s.Ended() {
			t.Errorf("%s is mapped to %q", s, mcpStatuses[s])
		}
		if mcpStatuses[s] == mcpgo.TaskStatusFailed {
			t.Errorf("%s has an answer, and failed is for JSON-RPC errors", s)
		}
	}
}

// tasks/get gives to the byte what execute_cc_task gives, whoever started
// the task.
func TestTaskResultIsTheToolsResult(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	p.tool("1", "execute_cc_task", `{"prompt":"x"}`)
	f.until(t, "the call waits", func() bool { return f.waiting == 1 })
	f.end(fakeID(1), task.Completed, "forty-two")
	want := p.next().tool(t)
	of := fmt.Sprintf(`"taskId":%q`, fakeID(1))
	inlined := message{Result: p.wire("tasks/get", of+","+knowsTasks).Result}
	if got := inlined.tool(t); string(got.Data) != string(want.Data) {
		t.Errorf("got  %s\nwant %s", got.Data, want.Data)
	}
	valid(t, "task.out.json", want.Data)
}

func TestExtensionTask(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	run := func(args string) string { return `"name":"execute_cc_task","arguments":` + args + `,` + knowsTasks }
	made := p.wire("tools/call", run(`{"prompt":"x","idempotency_key":"k"}`))
	if made.ResultType != "task" || made.TaskID != string(fakeID(1)) || made.Status != "working" || made.TTLMS != nil || made.PollIntervalMS < 1000 || made.Result != nil || made.Task != nil {
		t.Fatalf("got %+v", made)
	}
	of := fmt.Sprintf(`"taskId":%q,%s`, made.TaskID, knowsTasks)
	if got := p.wire("tasks/get", of); got.ResultType != "complete" || got.Status != "working" || got.Result != nil {
		t.Errorf("got %+v", got)
	}
	f.end(fakeID(1), task.Timeout, "")
	if got := p.wire("tasks/get", of); got.Status != "completed" || !strings.Contains(string(got.Result), `"status":"timeout"`) || strings.Contains(string(got.Result), "related-task") {
		t.Errorf("got %+v", got)
	}
	for _, method := range []string{"tasks/cancel", "tasks/update"} {
		if got := p.wire(method, `"inputResponses":{"a":{}},`+of); got.ResultType != "complete" || got.TaskID != "" {
			t.Errorf("%s: %+v", method, got)
		}
	}
	second := f.seed(t)
	of = fmt.Sprintf(`"taskId":%q,%s`, second, knowsTasks)
	p.wire("tasks/cancel", of)
	if got := p.wire("tasks/get", of); got.Status != "cancelled" || got.Result != nil {
		t.Errorf("got %+v", got)
	}

	// No task where there is an answer already, or the caller says how long it waits.
	for _, args := range []string{`{"prompt":"x","idempotency_key":"k"}`, `{"prompt":"x","max_wait_seconds":0.01}`, `{"prompt":7}`} {
		if got := p.wire("tools/call", run(args)); got.ResultType != "complete" || got.TaskID != "" || got.Content == nil {
			t.Errorf("%s: %+v", args, got)
		}
	}
	// Nor for a client that does not know the extension, whatever else it knows.
	p.send(`{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"execute_cc_task","arguments":{"prompt":"x"},"task":{},%s}}`, metaWith(`"x/y":{}`))
	f.until(t, "the call waits", func() bool { return f.waiting == 1 })
	f.end(fakeID(4), task.Completed, "done")
	if r := p.next().tool(t); r.view.Status != task.Completed {
		t.Errorf("got %s", r.Data)
	}
}

func TestTaskMethodsRefuse(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	id := fmt.Sprintf(`"taskId":%q`, f.seed(t))
	unknown := fmt.Sprintf(`"taskId":%q`, fakeID(99))
	for _, c := range []struct {
		method, params string
		code           int
	}{
		// Of 2025-11-25, whose tasks we have not.
		{"tasks/get", id, mcpgo.METHOD_NOT_FOUND},
		{"tasks/result", id, mcpgo.METHOD_NOT_FOUND},
		{"tasks/list", ``, mcpgo.METHOD_NOT_FOUND},
		{"tasks/cancel", id, mcpgo.METHOD_NOT_FOUND},
		{"tasks/get", knowsTasks, mcpgo.INVALID_PARAMS},
		{"tasks/get", `"taskId":7,` + knowsTasks, mcpgo.INVALID_PARAMS},
		{"tasks/update", id + `,"inputResponses":{}`, mcpgo.METHOD_NOT_FOUND},
		{"tasks/get", unknown + "," + knowsTasks, mcpgo.INVALID_PARAMS},
		{"tasks/cancel", unknown + "," + knowsTasks, mcpgo.INVALID_PARAMS},
		{"tasks/update", unknown + `,"inputResponses":{},` + knowsTasks, mcpgo.INVALID_PARAMS},
		{"tasks/update", id + "," + knowsTasks, mcpgo.INVALID_PARAMS},
		{"tasks/result", id + "," + knowsTasks, mcpgo.METHOD_NOT_FOUND},
		{"tasks/list", knowsTasks, mcpgo.METHOD_NOT_FOUND},
		{"tasks/get", id + "," + metaWith(""), mcpgo.MISSING_REQUIRED_CLIENT_CAPABILITY},
		{"tasks/update", id + "," + metaWith(""), mcpgo.MISSING_REQUIRED_CLIENT_CAPABILITY},
		{"tasks/cancel", id + "," + metaWith(""), mcpgo.MISSING_REQUIRED_CLIENT_CAPABILITY},
		{"tasks/get", id + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`, mcpgo.INVALID_PARAMS},
		{"tasks/get", id + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2126-07-28","io.modelcontextprotocol/clientCapabilities":{}}`, mcpgo.UNSUPPORTED_PROTOCOL_VERSION},
		{"tasks/get", id + `,"_meta":7`, mcpgo.INVALID_PARAMS},
	} {
		if got := p.code(c.method, c.params); got != c.code {
			t.Errorf("%s {%s}: code %d, want %d", c.method, c.params, got, c.code)
		}
	}
	if len(f.order) != 1 || f.called("Cancel "+string(fakeID(1))) {
		t.Errorf("a refused request changed something: %v", f.calls)
	}
}

// Nobody knows the id of a task whose creation was cancelled.
func TestCancelledCreationOfATask(t *testing.T) {
	f := newFake()
	f.submitting, f.submit = make(chan struct{}), make(chan struct{})
	p := newPeer(t, f)
	p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"execute_cc_task","arguments":{"prompt":"x"},%s}}`, knowsTasks)
	<-f.submitting
	p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	if code := p.code("tasks/get", `"taskId":"x"`); code == 0 { // so that the cancel has been read
		t.Error("got a task")
	}
	close(f.submit)
	f.until(t, "the task is cancelled", func() bool { return f.tasks[fakeID(1)] != nil && f.tasks[fakeID(1)].Status == task.Cancelled })
}

func TestListenToTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := newPeer(t, f)
		id := f.seed(t)
		told := func() (w wire) {
			t.Helper()
			m := p.next()
			if m.Method != "notifications/tasks" || json.Unmarshal(m.Params, &w) != nil || string(w.Meta[mcpgo.MetaKeySubscriptionID]) != `"a"` {
				t.Fatalf("got %s", m.raw)
			}
			return w
		}
		ids := fmt.Sprintf(`"notifications":{"taskIds":[%q,"nobody"]}`, id)
		p.send(`{"jsonrpc":"2.0","id":"a","method":"subscriptions/listen","params":{%s,%s}}`, ids, knowsTasks)
		if m := p.next(); !strings.Contains(string(m.Params), fmt.Sprintf(`"notifications":{"taskIds":[%q]}`, id)) {
			t.Fatalf("got %s", m.raw)
		}
		if got := told(); got.Status != "working" || got.ResultType != "" {
			t.Errorf("at once: %+v", got)
		}
		f.end(id, task.Completed, "forty-two")
		if got := told(); got.Status != "completed" || !strings.Contains(string(got.Result), "forty-two") {
			t.Errorf("at the end: %+v", got)
		}
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}`)
		if code := p.code("subscriptions/listen", ids+","+metaWith("")); code != mcpgo.MISSING_REQUIRED_CLIENT_CAPABILITY {
			t.Errorf("code %d", code)
		}
		_ = p.in.Close()
		if err := <-p.served; err != nil {
			t.Error(err)
		}
	})
}
