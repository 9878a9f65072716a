package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzArguments gives every tool any arguments: each call is answered, once,
// and what was refused has reached nobody.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"prompt":"x"}`, `{"prompt":"x","max_wait_seconds":0.001,"labels":["a"]}`, `{"task_id":"greeter","output":"full","offset":3}`,
		`{"task_id":"greeter","wait_seconds":0.001}`, `{"include_finished":true,"status":["failed"],"limit":3}`, `{"task_id":"x","keep_record":true}`,
		`[]`, `null`, `"x"`, `1e999`, `{"prompt":null}`, `{"offset":9007199254740993,"task_id":"x"}`, `{"prompt":"x","prompt":7}`, `{"tail_bytes":1.0,"task_id":"greeter"}`,
	} {
		for i := range 5 {
			f.Add(i, seed)
		}
	}
	tools := (&Server{}).tools()
	f.Fuzz(func(t *testing.T, which int, args string) {
		if !json.Valid([]byte(args)) || strings.ContainsAny(args, "\n\r") || !utf8.ValidString(args) {
			return
		}
		tool := tools[(which%5+5)%5].name
		svc := newFake()
		p := newPeer(t, svc)
		if tool == "execute_cc_task" && !strings.Contains(args, "max_wait_seconds") {
			// Nobody ends the task: a call that is taken would wait for ever.
			svc.fault = context.Canceled
		}
		p.send(`{"jsonrpc":"2.0","id":"f","method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, args)
		if args := decodeLoose(args); args["max_wait_seconds"] != nil || args["wait_seconds"] != nil {
			p.in.Close() // ends a long wait with an answer
		}
		m := p.next()
		if string(m.ID) != `"f"` {
			t.Fatalf("got %s", m.raw)
		}
		var r result
		if m.Error == nil && (json.Unmarshal(m.Result, &r) != nil || len(r.Content) != 1) {
			t.Fatalf("got %s", m.raw)
		}
		if r.IsError && strings.HasPrefix(r.Content[0].Text, "invalid_argument") && len(svc.calls) > 0 {
			t.Errorf("%s reached the Service: %v", args, svc.calls)
		}
	})
}

func decodeLoose(args string) map[string]any {
	var m map[string]any
	_ = json.Unmarshal([]byte(args), &m)
	return m
}

// FuzzLines gives the server any input: it never panics, always ends, answers
// each request, and never writes a null id.
func FuzzLines(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":"a","method":"tools/list","params":{}}`, `[1]`, `{`, "\xff", `{"jsonrpc":"2.0","id":null,"method":"ping"}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_active_tasks","arguments":{},"_meta":{"progressToken":1}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["task://active","x"]},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
		`{"jsonrpc":"2.0","id":-1,"method":"resources/subscribe","params":{"uri":"task://x/stdout"}}` + "\n" + `{"jsonrpc":"2.0","id":2,"method":"resources/unsubscribe","params":{"uri":"task://x/stdout"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"fan_out"},"argument":{"name":"job","value":""}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"fan_out","arguments":{"job":"x"}}}` + "\n" + `{"id":2,"method":"resources/read","jsonrpc":"2.0","params":{"uri":"task://x/stdout?offset=1"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`,
		strings.Repeat(`[{"a":`, 2000),
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"execute_cc_task","arguments":{"prompt":"x"},"task":{"ttl":1}}}`, `{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"x"}}`, `{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`,
		`{"jsonrpc":"2.0","id":1,"method":"tasks/update","params":{"taskId":"x","inputResponses":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		p := newPeer(t, newFake())
		go func() {
			_, _ = p.in.Write(append(input, "\n"...))
			_, _ = fmt.Fprintln(p.in, `{"jsonrpc":"2.0","id":"the last one","method":"ping"}`)
		}()
		due := requestsOf(input)
		defer time.AfterFunc(hang, func() { panic(fmt.Sprintf("not answered: %v of %q", due, input)) }).Stop()
		last := false
		for m := range p.msgs {
			if m.Method == "" {
				delete(due, string(m.ID))
			}
			if string(m.ID) == "null" || m.JSONRPC != "2.0" || m.Error == nil && m.Result == nil && m.Method == "" {
				t.Errorf("wrote %s", m.raw)
			}
			if last = last || string(m.ID) == `"the last one"`; last && len(due) == 0 {
				p.cancel() // what still waits has 50 ms to say so
			}
		}
		if err := <-p.served; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

// requestsOf gives the ids that must be answered at once: of every request that
// does not wait for something; but after a cancel nobody can say which.
func requestsOf(input []byte) map[string]bool {
	due := map[string]bool{}
	for line := range bytes.Lines(input) {
		m, refusal := parse(line)
		switch {
		case refusal != nil:
		case m.kind == isRequest && m.method != "tools/call" && m.method != "subscriptions/listen" && !strings.HasPrefix(m.method, "tasks/"):
			due[string(m.ID)] = true
		case m.method == "notifications/cancelled":
			return nil
		}
	}
	return due
}
