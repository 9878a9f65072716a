package mcp

import (
	"fmt"
	"strings"
	"testing"
)

// Wrong params are refused in words that name the param, with the code of the
// specification, and never in terms of a library's types.
func TestWrongParamsAreNamed(t *testing.T) {
	p := newPeer(t, newFake())
	const modern = "," + modernMeta
	for _, c := range []struct {
		method, params string
		code           int
		want           string
	}{
		{"tools/list", `[]`, -32602, "params: given [], allowed is an object"},
		{"tools/list", `{"_meta":5}`, -32602, "_meta: given 5, allowed is a JSON object"},
		{"tools/list", `{"cursor":5}`, -32602, "cursor: given 5, allowed is none"},
		{"resources/list", `{"cursor":"bad"}`, -32602, `cursor: given "bad", allowed is none: the list is one page`},
		{"resources/templates/list", `{"cursor":"YmFk"}`, -32602, `cursor: given "YmFk"`},
		{"prompts/list", `{"cursor":"x"` + modern + `}`, -32602, `cursor: given "x"`},
		{"prompts/get", `{"name":5}`, -32602, "name: given 5, allowed is a string"},
		{"prompts/get", `null`, -32602, "name: missing, required is a string"},
		{"prompts/get", `{"name":"fan_out","arguments":{"job":5}}`, -32602, "arguments.job: given 5, allowed is a string"},
		{"prompts/get", `{"name":"fan_out","arguments":[]}`, -32602, "arguments: given [], allowed is a JSON object"},
		{"prompts/get", `{"name":"nope"}`, -32602, `there is no prompt "nope"; prompts/list has those that there are`},
		{"resources/read", `{"uri":5` + modern + `}`, -32602, "uri: given 5, allowed is a string"},
		{"resources/read", `{}`, -32602, "uri: missing, required is a string"},
		{"resources/read", `{"uri":"x://y"}`, -32002, `there is no resource "x://y"; resources/list`},
		{"resources/read", `{"uri":"x://y"` + modern + `}`, -32602, `there is no resource "x://y"`},
		{"resources/subscribe", `{"uri":5}`, -32602, "uri: given 5"},
		{"resources/unsubscribe", `{}`, -32602, "uri: missing"},
		{"resources/subscribe", `{` + modernMeta + `}`, -32601, ""},
		{"resources/unsubscribe", `{` + modernMeta + `}`, -32601, ""},
		{"initialize", `{"protocolVersion":5` + modern + `}`, -32601, ""},
		{"tools/call", `{"name":5}`, -32602, "name: given 5"},
		{"tools/call", `{"name":"execute_cc_task","arguments":"x"}`, -32602, `arguments: given "x", allowed is a JSON object`},
		{"tools/call", `{"name":"execute_cc_task","arguments":[]` + modern + `}`, -32602, `arguments: given []`},
		{"tools/call", `{"name":"nope"}`, -32602, `there is no tool "nope"; tools/list has`},
		{"completion/complete", `{"ref":5,"argument":{"name":"id","value":""}}`, -32602, "ref: given 5"},
		{"completion/complete", `{"ref":{"type":"ref/x"},"argument":{"name":"id","value":""}}`, -32602, `ref.type: given "ref/x", allowed is one of ref/prompt, ref/resource`},
		{"completion/complete", `{"ref":{"type":"ref/prompt","name":"fan_out"},"argument":{"name":"id","value":7}}`, -32602, "argument.value: given 7"},
		{"completion/complete", `{"ref":{"type":"ref/prompt","name":"fan_out"},"argument":{"value":""}}`, -32602, "argument.name: missing"},
		{"completion/complete", `{}`, -32602, "ref: missing"},
		{"initialize", `{"protocolVersion":5}`, -32602, "protocolVersion: given 5"},
		{"initialize", `{"protocolVersion":"2025-11-25","capabilities":{"roots":5}}`, -32602, "the params are not those of the method"},
		{"subscriptions/listen", `{` + modernMeta + `}`, -32602, "notifications: missing"},
		{"subscriptions/listen", `{"notifications":{"resourceSubscriptions":"x"}` + modern + `}`, -32602, `notifications.resourceSubscriptions: given "x", allowed is a list, each item a string`},
		{strings.Repeat("m", 1<<20), `{}`, -32601, "Method mmmm"},
		{"server/discover", `{}`, -32602, "_meta: io.modelcontextprotocol/protocolVersion must be there"},
		{"server/discover", `{"_meta":{"io.modelcontextprotocol/protocolVersion":"2025-11-25"}}`, -32602, "must be there, and 2026-07-28 or later"},
		{"server/discover", `{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}`, -32602, "io.modelcontextprotocol/clientCapabilities"},
	} {
		p.send(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, c.method, c.params)
		m := p.next()
		if m.Error == nil || m.Error.Code != c.code || !strings.Contains(m.Error.Message, c.want) || len(m.raw) > 2000 || strings.Contains(m.raw, "json:") || strings.Contains(m.raw, "Go struct") {
			t.Errorf("%.80s %s\nwas answered %.2000s\nwant %d %s", c.method, c.params, m.raw, c.code, c.want)
		}
	}
	// What is not wrong.
	for _, call := range []string{`"tools/list","params":{"cursor":""}`, `"tools/list","params":null`, `"prompts/list"`} {
		p.send(`{"jsonrpc":"2.0","id":1,"method":%s}`, call)
		if m := p.next(); m.Error != nil {
			t.Errorf("%s was answered %s", call, m.raw)
		}
	}
}

// What has more values than memory should hold is refused with its id.
func TestWideMessages(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	for id, line := range []string{
		`{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"start_cc_task_async","arguments":{"prompt":"x","labels":[%s1]}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"x":[%s1]}}}`,
		`{"jsonrpc":"2.0","method":"prompts/get","params":[%s1],"id":2}`,
	} {
		p.send(line, strings.Repeat("1,", maxValues))
		if m := p.next(); m.Error == nil || m.Error.Code != codeInvalidRequest || string(m.ID) != fmt.Sprint(id) || !strings.Contains(m.Error.Message, "more than 20000 values") {
			t.Errorf("%.200s", m.raw)
		}
	}
	if len(f.calls) > 0 {
		t.Errorf("calls %v", f.calls)
	}
	// Those in strings do not count.
	if r := p.ask("start_cc_task_async", `{"prompt":"`+strings.Repeat(`1,\"`, maxValues+1)+`"}`); r.IsError {
		t.Errorf("got %.300s", r.Content[0].Text)
	}
}

// What is nested deeper than any parser on the way likes is refused with its id.
func TestDeepMessages(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	nested := func(n int) string { return strings.Repeat(`{"a":[`, n/2) + "1" + strings.Repeat(`]}`, n/2) }
	const brackets = `["{[\"[[",`
	for _, n := range []int{3000, 9990, 20_000, 1 << 20} {
		for id, line := range []string{
			`{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"start_cc_task_async","arguments":{"prompt":"x","json_schema":` + nested(n) + `}}}`,
			`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"task://active","_meta":{"x":` + nested(n) + `}}}`,
			`{"jsonrpc":"2.0","method":"prompts/get","params":` + nested(n) + `,"id":2}`,
			`{"jsonrpc":"2.0","id":3,"method":` + nested(n) + `}`,
		} {
			p.send("%s", line)
			m := p.next()
			if m.Error == nil || m.Error.Code != codeInvalidRequest || string(m.ID) != fmt.Sprint(id) || !strings.Contains(m.Error.Message, "nested more than 1000 levels deep") {
				t.Fatalf("%d levels: %.200s", n, m.raw)
			}
		}
		p.send("%s", strings.Repeat("[", n)) // not even JSON
		if m := p.next(); m.Error == nil || m.ID != nil {
			t.Fatalf("%d levels: %.200s", n, m.raw)
		}
	}
	if len(f.calls) > 0 {
		t.Errorf("calls %v", f.calls)
	}
	// Below the bound all goes through; brackets in strings do not count.
	r := p.ask("start_cc_task_async", `{"prompt":`+fmt.Sprintf("%q", strings.Repeat(brackets, 1000))+`,"json_schema":`+nested(900)+`}`)
	if r.IsError || len(f.subs[0].Spec.JSONSchema) != len(nested(900)) {
		t.Errorf("got %.300s", r.Content[0].Text)
	}
}
