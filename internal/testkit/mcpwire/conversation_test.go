package mcpwire

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

const modernMeta = `"_meta":{"progressToken":"p","io.modelcontextprotocol/protocolVersion":"2026-07-28"}`

// Each message is right, or wrong in the one way that its name says.
func TestJudgement(t *testing.T) {
	const (
		legacyCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":7}}}`
		modernCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x",` + modernMeta + `}}`
		legacyList = `{"jsonrpc":"2.0","id":"a","method":"tools/list"}`
		modernList = `{"jsonrpc":"2.0","id":"a","method":"tools/list","params":{` + modernMeta + `}}`
	)
	for _, c := range []struct{ name, sent, received, want string }{
		{"call", legacyCall, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"x"}]}}`, ""},
		{"call without content", legacyCall, `{"jsonrpc":"2.0","id":1,"result":{}}`, `missing properties: ["content"]`},
		{"unknown content", legacyCall, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"txt","text":"x"}]}}`, "anyOf"},
		{"a created task", legacyCall, `{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"1","status":"working","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z","ttl":null}}}`, ""},
		{"a created task without ttl", legacyCall, `{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"1","status":"working","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z"}}}`, `["ttl"]`},
		{"modern call", modernCall, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}`, ""},
		{"modern call without its type", modernCall, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`, `["resultType"]`},
		{"modern task", modernCall, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"1","status":"working","createdAt":"x","lastUpdatedAt":"x","ttlMs":null}}`, ""},
		{"modern task of no status", modernCall, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"1","status":"busy","createdAt":"x","lastUpdatedAt":"x","ttlMs":null}}`, "CreateTaskResult of ext-tasks"},
		{"list", legacyList, `{"jsonrpc":"2.0","id":"a","result":{"tools":[]}}`, ""},
		{"modern list", modernList, `{"jsonrpc":"2.0","id":"a","result":{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[]}}`, ""},
		{"modern list without cache hints", modernList, `{"jsonrpc":"2.0","id":"a","result":{"resultType":"complete","tools":[]}}`, `["cacheScope" "ttlMs"]`},
		{"tool without a schema", legacyList, `{"jsonrpc":"2.0","id":"a","result":{"tools":[{"name":"x"}]}}`, `["inputSchema"]`},
		{"another id", legacyList, `{"jsonrpc":"2.0","id":"b","result":{"tools":[]}}`, "no request"},
		{"id of another type", legacyCall, `{"jsonrpc":"2.0","id":"1","result":{"content":[]}}`, "no request"},
		{"no version", legacyList, `{"id":"a","result":{"tools":[]}}`, `["jsonrpc"]`},
		{"result and error", legacyList, `{"jsonrpc":"2.0","id":"a","result":{},"error":{}}`, "a result and an error"},
		{"error", legacyCall, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"x"}}`, ""},
		{"error without message", legacyCall, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602}}`, `["message"]`},
		{"error with id null", legacyCall, `{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"x"}}`, "/id"},
		{"parse error", "{", `{"jsonrpc":"2.0","error":{"code":-32700,"message":"x"}}`, ""},
		{"error of no request", "{", `{"jsonrpc":"2.0","error":{"code":-32603,"message":"x"}}`, "belongs to no request"},
		{"version error", modernCall, `{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"x","data":{"supported":["y"],"requested":"z"}}}`, ""},
		{"version error without data", modernCall, `{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"x"}}`, `["data"]`},
		{"progress", legacyCall, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}`, ""},
		{"progress of no request", legacyCall, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":8,"progress":1}}`, "no request had"},
		{"progress without progress", legacyCall, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7}}`, `["progress"]`},
		{"unknown notification", legacyCall, `{"jsonrpc":"2.0","method":"notifications/x"}`, "has no notifications/x"},
		{"acknowledgement", modernCall, `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1}}}`, `["notifications"]`},
		{"unknown method", `{"jsonrpc":"2.0","id":1,"method":"x"}`, `{"jsonrpc":"2.0","id":1,"result":{}}`, "has no request x"},
		{"request of the server", legacyCall, `{"jsonrpc":"2.0","id":1,"method":"roots/list"}`, "asks the client"},
		{"no JSON", legacyCall, `log: hello`, "not a message"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var conv Conversation
			conv.Sent([]byte(c.sent))
			err := conv.Received([]byte(c.received))
			if c.want == "" && err != nil {
				t.Error(err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Every revision has its own schema: structured content, for one, is unknown
// to the first two, and what initialize settles holds for what comes after.
func TestEveryRevision(t *testing.T) {
	for _, version := range Versions {
		var c Conversation
		c.Sent([]byte(`{"jsonrpc":"2.0","id":1,"method":"initialize"}`))
		err := c.Received([]byte(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"` + version + `","capabilities":{},"serverInfo":{"name":"x","version":"1"}}}`))
		if (err == nil) != (version != Modern) {
			t.Errorf("initialize with %s: %v", version, err)
		}
		c.Sent([]byte(`{"jsonrpc":"2.0","id":2,"method":"tools/call"}`))
		err = c.Received([]byte(`{"jsonrpc":"2.0","id":2,"result":{"content":[],"structuredContent":7}}`))
		if (err == nil) != (version < "2025-06-18") {
			t.Errorf("structured content that is no object in %s: %v", version, err)
		}
	}
}

// What passes through is judged, however it is cut, and arrives unchanged.
func TestWatch(t *testing.T) {
	var c Conversation
	var found []error
	var out bytes.Buffer
	r, w := c.Watch(strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`), &out, func(err error) { found = append(found, err) })
	if _, err := io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	const said = `{"jsonrpc":"2.0","id":1,"result":{}}` + "\n" + `{"jsonrpc":"2.0","id":1,"result":{}}` + "\n"
	for i := range len(said) {
		if _, err := io.WriteString(w, said[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != said || c.Judged() != 2 || len(found) != 1 || !strings.Contains(found[0].Error(), "a second one") {
		t.Errorf("%d messages passed as %q: %v", c.Judged(), out.String(), found)
	}
}

// The id of a cancelled request may be in use again before it is clear whether
// an answer was on its way.
func TestCancelledRequest(t *testing.T) {
	var c Conversation
	c.Sent([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	c.Sent([]byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`))
	c.Sent([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	for i, want := range []bool{true, false} {
		err := c.Received([]byte(`{"jsonrpc":"2.0","id":1,"result":{}}`))
		if (err == nil) != want {
			t.Errorf("answer %d: %v", i, err)
		}
	}
	if err := c.Received([]byte(`{"jsonrpc":"2.0","id":1,"result":{}}`)); err == nil || !strings.Contains(err.Error(), "no request") {
		t.Error(err)
	}
}
