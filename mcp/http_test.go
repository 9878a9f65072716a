package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/mcpwire"
)

const testToken = "a token of the tests"

// site is a Server on a loopback listener.
type site struct {
	t    testing.TB
	url  string
	stop context.CancelFunc
	done chan error
	conv mcpwire.Conversation
}

func newSite(t testing.TB, s *Server, hosts ...string) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &site{t: t, url: "http://" + l.Addr().String() + Endpoint, stop: stop, done: make(chan error, 1)}
	go func() {
		p.done <- s.ServeHTTPOn(ctx, l, HTTP{Token: testToken, Hosts: hosts})
	}()
	t.Cleanup(stop)
	return p
}

func newServer(f *fake) *Server {
	return New(Config{Service: f, Version: "1.2.3", Defaults: defaults})
}

// request makes a POST of body, or what method says, with the token. Headers
// come in pairs; an empty value removes one.
func (p *site) request(method, body string, headers ...string) *http.Request {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	all := append([]string{
		"Authorization", "Bearer " + testToken, "Content-Type", "application/json", "Accept", "application/json, text/event-stream",
	}, headers...)
	for i := 0; i < len(all); i += 2 {
		r.Header.Set(all[i], all[i+1])
		switch {
		case all[i] == "Host":
			r.Host = all[i+1]
		case all[i+1] == "":
			r.Header.Del(all[i])
		}
	}
	return r
}

// answer is a response that has been read, its messages in order.
type answer struct {
	*http.Response
	body string
	msgs []message
}

func (a answer) last() message {
	if len(a.msgs) == 0 {
		return message{raw: a.body}
	}
	return a.msgs[len(a.msgs)-1]
}

func (p *site) do(r *http.Request) answer {
	p.t.Helper()
	if r.Method == http.MethodPost && r.GetBody != nil {
		body, _ := r.GetBody()
		sent, _ := io.ReadAll(body)
		p.conv.Sent(sent)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Error(err)
		return answer{Response: &http.Response{}}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Error(err)
	}
	a := answer{Response: resp, body: string(body)}
	lines := strings.Split(a.body, "\n")
	if resp.Header.Get("Content-Type") == "text/plain; charset=utf-8" {
		lines = nil
	}
	for _, line := range lines {
		text := strings.TrimPrefix(line, "data: ")
		if !strings.HasPrefix(text, "{") {
			continue
		}
		m := message{raw: text}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			p.t.Errorf("the server wrote %q: %v", text, err)
		}
		if err := p.conv.Received([]byte(text)); err != nil {
			p.t.Error(err)
		}
		a.msgs = append(a.msgs, m)
	}
	return a
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"%s","version":"1"}}}`

// login begins a session and returns its header.
func (p *site) login(client string) []string {
	p.t.Helper()
	a := p.do(p.request("POST", fmt.Sprintf(initialize, client)))
	id := a.Header.Get("Mcp-Session-Id")
	if a.StatusCode != 200 || id == "" || a.last().Error != nil {
		p.t.Fatalf("initialize: %s, %s", a.Status, a.body)
	}
	session := []string{"Mcp-Session-Id", id, "Mcp-Protocol-Version", "2025-11-25"}
	if a := p.do(p.request("POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, session...)); a.StatusCode != 202 || a.body != "" {
		p.t.Fatalf("initialized: %s, %s", a.Status, a.body)
	}
	return session
}

// modernCall is a tool call of the modern era with its headers.
func modernCall(id, tool, args string) (body string, headers []string) {
	body = fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s,"_meta":%s}}`, id, tool, args, metaOverHTTP)
	return body, []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool}
}

const metaOverHTTP = `{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"progressToken":"p"}`

func legacyCall(id, tool, args string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s,"_meta":{"progressToken":7}}}`, id, tool, args)
}

func TestHTTPRefusals(t *testing.T) {
	s := newServer(newFake())
	s.bounds.line = 4 << 10
	p := newSite(t, s, "build7.lan")
	session := p.login("t")
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	long := `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"pad":"` + strings.Repeat("x", 4<<10) + `"}}`
	list := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":` + metaOverHTTP + `}}`
	modern := func(more ...string) []string {
		return append([]string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list"}, more...)
	}
	call, named := modernCall("1", "list_active_tasks", "{}")
	taskGet := `{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"a","_meta":` + metaOverHTTP + `}}`
	with := func(h []string, more ...string) []string { return append(append([]string{}, h...), more...) }
	for _, c := range []struct {
		name, method, body string
		headers            []string
		status             int
		says               string
	}{
		{"no token", "POST", ping, with(session, "Authorization", ""), 401, "Authorization: Bearer TOKEN"},
		{"wrong token", "POST", ping, with(session, "Authorization", "Bearer "+testToken+"x"), 401, "where the token is"},
		{"another scheme", "POST", ping, with(session, "Authorization", "Basic "+testToken), 401, "where the token is"},
		{"empty token", "POST", ping, with(session, "Authorization", "Bearer "), 401, "where the token is"},
		{"scheme in lower case", "POST", ping, with(session, "Authorization", "bearer "+testToken), 200, ""},
		{"rebound host", "POST", ping, with(session, "Host", "evil.example:80"), 403, "evil.example"},
		{"host that looks like loopback", "POST", ping, with(session, "Host", "127.0.0.1.evil.example"), 403, "evil"},
		{"localhost", "POST", ping, with(session, "Host", "LocalHost:1"), 200, ""},
		{"localhost from the root", "POST", ping, with(session, "Host", "localhost.:1"), 200, ""},
		{"allowed host from the root", "POST", ping, with(session, "Host", "build7.lan."), 200, ""},
		{"preflight of a foreign page", "OPTIONS", "", []string{"Authorization", "", "Origin", "https://evil.example"}, 403, "evil.example"},
		{"preflight of no page", "OPTIONS", "", nil, 405, ""},
		{"ipv6 loopback", "POST", ping, with(session, "Host", "[::1]:1"), 200, ""},
		{"allowed host", "POST", ping, with(session, "Host", "Build7.lan:1"), 200, ""},
		{"foreign origin", "POST", ping, with(session, "Origin", "https://evil.example"), 403, "evil.example"},
		{"null origin", "POST", ping, with(session, "Origin", "null"), 403, "null"},
		{"file origin", "POST", ping, with(session, "Origin", "file://localhost"), 403, "file"},
		{"own origin", "POST", ping, with(session, "Origin", "http://localhost:6274"), 200, ""},
		{"put", "PUT", ping, session, 405, ""},
		{"other type", "POST", ping, with(session, "Content-Type", "text/plain"), 415, "application/json"},
		{"accepts html", "POST", ping, with(session, "Accept", "text/html"), 406, "text/event-stream"},
		{"accepts all", "POST", ping, with(session, "Accept", "*/*"), 200, ""},
		{"accepts json only", "POST", ping, with(session, "Accept", "application/*;q=0.5"), 200, ""},
		{"empty", "POST", "", session, 400, `"code":-32700`},
		{"garbage", "POST", "{", session, 400, `"code":-32700`},
		{"batch", "POST", "[" + ping + "]", session, 400, "batches"},
		{"no method", "POST", `{"jsonrpc":"2.0","id":5}`, session, 400, `"id":5`},
		{"a response", "POST", `{"jsonrpc":"2.0","id":5,"result":{}}`, session, 202, ""},
		{"too long", "POST", long, session, 413, "4096"},
		{"no session", "POST", ping, nil, 400, "initialize"},
		{"unknown session", "POST", ping, []string{"Mcp-Session-Id", "x"}, 404, "initialize again"},
		{"unknown version", "POST", ping, with(session, "Mcp-Protocol-Version", "1999-01-01"), 400, "2025-11-25"},
		{"no version", "POST", ping, with(session, "Mcp-Protocol-Version", ""), 200, ""},
		{"get for json", "GET", "", with(session, "Accept", "application/json"), 406, "event-stream"},
		{"get of no session", "GET", "", nil, 400, "initialize"},
		{"delete of an unknown session", "DELETE", "", []string{"Mcp-Session-Id", "x"}, 404, ""},
		{"modern get", "GET", "", modern(), 405, ""},
		{"modern delete", "DELETE", "", modern(), 405, ""},
		{"modern", "POST", list, modern(), 200, `"resultType":"complete"`},
		{"modern with a session", "POST", list, modern("Mcp-Session-Id", "x"), 200, ""},
		{"modern notification", "POST", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, modern(), 202, ""},
		{"no version header", "POST", list, []string{"Mcp-Method", "tools/list"}, 400, `"code":-32020`},
		{"other version header", "POST", list, modern("Mcp-Protocol-Version", "2025-11-25"), 400, `"code":-32020`},
		{"no _meta", "POST", ping, modern(), 400, `"code":-32602`},
		{"no such version", "POST", strings.Replace(list, "2026-07-28", "2099-01-01", 1), modern("Mcp-Protocol-Version", "2099-01-01"), 400, `"code":-32022`},
		{"no method header", "POST", list, modern("Mcp-Method", ""), 400, `"code":-32020`},
		{"other method header", "POST", list, modern("Mcp-Method", "Tools/list"), 400, `"code":-32020`},
		{"named", "POST", call, named, 200, ""},
		{"named in base64", "POST", call, with(named, "Mcp-Name", "=?base64?bGlzdF9hY3RpdmVfdGFza3M=?="), 200, ""},
		{"no name", "POST", call, with(named, "Mcp-Name", ""), 400, `"code":-32020`},
		{"other name", "POST", call, with(named, "Mcp-Name", "cleanup_task"), 400, `"code":-32020`},
		{"other task", "POST", taskGet, modern("Mcp-Method", "tasks/get", "Mcp-Name", "b"), 400, `"code":-32020`},
		{"bad task", "POST", taskGet, modern("Mcp-Method", "tasks/get", "Mcp-Name", "=?base64?!?="), 400, `"code":-32020`},
		{"unknown method", "POST", strings.Replace(list, "tools/list", "no/such", 1), modern("Mcp-Method", "no/such"), 404, `"code":-32601`},
		{"removed method with params", "POST", strings.Replace(list, "tools/list", "resources/subscribe", 1), modern("Mcp-Method", "resources/subscribe"), 404, `"code":-32601`},
		{"removed method", "POST", strings.Replace(list, "tools/list", "ping", 1), modern("Mcp-Method", "ping"), 404, `"code":-32601`},
	} {
		a := p.do(p.request(c.method, c.body, c.headers...))
		if a.StatusCode != c.status || !strings.Contains(a.body, c.says) {
			t.Errorf("%s: %s\n%s\nwant %d, %q", c.name, a.Status, a.body, c.status, c.says)
		}
		if want := map[int]string{401: `Bearer realm="cctask"`}[c.status]; a.Header.Get("WWW-Authenticate") != want {
			t.Errorf("%s: WWW-Authenticate %q", c.name, a.Header.Get("WWW-Authenticate"))
		}
		if a.StatusCode == 403 && a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: a page may read the refusal", c.name)
		}
		if strings.Contains(a.body, testToken) || a.StatusCode == 401 && strings.Contains(a.body, "/") {
			t.Errorf("%s: told the token, or where it is: %s", c.name, a.body)
		}
	}
	chunked := p.request("POST", long, session...)
	chunked.ContentLength, chunked.GetBody = -1, nil
	if a := p.do(chunked); a.StatusCode != 413 {
		t.Errorf("a long message without a length: %s", a.Status)
	}
	r := p.request("POST", ping, session...)
	r.URL.Path = "/other"
	if a := p.do(r); a.StatusCode != 404 {
		t.Errorf("another path: %s", a.Status)
	}
}

// A page of an origin that is let in can use the server from a browser.
func TestHTTPPages(t *testing.T) {
	p := newSite(t, newServer(newFake()))
	const page = "http://localhost:6274"
	a := p.do(p.request("OPTIONS", "", "Authorization", "", "Origin", page, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type,mcp-session-id"))
	headers := strings.ToLower(a.Header.Get("Access-Control-Allow-Headers"))
	if a.StatusCode != 204 || a.Header.Get("Access-Control-Allow-Origin") != page || !strings.Contains(a.Header.Get("Access-Control-Allow-Methods"), "DELETE") ||
		!strings.Contains(headers, "authorization") || !strings.Contains(headers, "mcp-session-id") || !strings.Contains(headers, "mcp-protocol-version") {
		t.Errorf("preflight: %s %v", a.Status, a.Header)
	}
	a = p.do(p.request("POST", fmt.Sprintf(initialize, "page"), "Origin", page))
	if a.StatusCode != 200 || a.Header.Get("Access-Control-Allow-Origin") != page || a.Header.Get("Access-Control-Expose-Headers") != "Mcp-Session-Id" || a.Header.Get("Vary") != "Origin" {
		t.Errorf("initialize: %s %v", a.Status, a.Header)
	}
	a = p.do(p.request("POST", "", "Origin", page, "Authorization", ""))
	if a.StatusCode != 401 || a.Header.Get("Access-Control-Allow-Origin") != page {
		t.Errorf("without a token: %s %v", a.Status, a.Header)
	}
}

// A client that first sends all and then reads gets its refusal too.
func TestHTTPTooLongIsRead(t *testing.T) {
	s := newServer(newFake())
	s.bounds.line = 4 << 10
	p := newSite(t, s)
	for _, length := range []string{"Content-Length: %d\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n%x\r\n"} {
		const size = 32 << 20
		c, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(p.url, "http://"), Endpoint))
		if err != nil {
			t.Fatal(err)
		}
		head := "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + testToken + "\r\nContent-Type: application/json\r\n" + fmt.Sprintf(length, size)
		if _, err = c.Write([]byte(head)); err == nil {
			_, err = c.Write([]byte(strings.Repeat("x", size)))
		}
		if err == nil && strings.Contains(length, "chunked") {
			_, err = c.Write([]byte("\r\n0\r\n\r\n"))
		}
		if err != nil {
			t.Fatalf("%q: %v", length, err)
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || r.StatusCode != 413 {
			t.Errorf("%q: %v, %v", length, r, err)
		}
		c.Close()
	}
}

// The revision of 2025-03-26 has batches: requests run at once, their answers
// come together.
func TestHTTPBatches(t *testing.T) {
	f := newFake()
	p := newSite(t, newServer(f))
	a := p.do(p.request("POST", strings.Replace(fmt.Sprintf(initialize, "b"), "2025-11-25", batchRevision, 1)))
	session := []string{"Mcp-Session-Id", a.Header.Get("Mcp-Session-Id"), "Mcp-Protocol-Version", batchRevision}
	ping := func(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"method":"ping"}` }
	const note = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	for _, c := range []struct {
		name, body, accept string
		status             int
		ids                string // of the answers, sorted; with ! those of errors
	}{
		{"json", "[" + ping("1") + "," + note + "," + ping(`"b"`) + "]", "application/json", 200, `"b" 1`},
		{"events", " [" + ping("1") + "]", "application/json, text/event-stream", 200, `1`},
		{"notifications alone", "[" + note + "]", "application/json", 202, ""},
		{"responses alone", `[{"jsonrpc":"2.0","id":5,"result":{}}]`, "application/json", 202, ""},
		{"none", "[]", "application/json", 200, "!"},
		{"a bad one", "[7," + ping("1") + "," + ping("1.5") + "]", "application/json", 200, "! ! 1"},
		{"initialize", "[" + fmt.Sprintf(initialize, "b") + "]", "application/json", 200, "!0"},
	} {
		a := p.do(p.request("POST", c.body, append(session, "Accept", c.accept)...))
		text := a.body
		var got []message
		if a.StatusCode == 200 {
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Errorf("%s: %q: %v", c.name, text, err)
			}
			if err := p.conv.Received([]byte(strings.TrimSpace(text))); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		var ids []string
		for _, m := range got {
			id := string(m.ID)
			if m.Error != nil {
				id = "!" + id
			}
			ids = append(ids, id)
		}
		slices.Sort(ids)
		if a.StatusCode != c.status || strings.Join(ids, " ") != c.ids {
			t.Errorf("%s: %s %s, ids %q", c.name, a.Status, text, ids)
		}
	}
	// A call with progress makes it a stream, with the answers in one event.
	done := make(chan answer)
	go func() {
		done <- p.do(p.request("POST", "["+legacyCall("1", "execute_cc_task", `{"prompt":"x"}`)+","+ping("2")+"]", session...))
	}()
	f.until(t, "the call waits", func() bool { return f.waiting == 1 })
	f.end(fakeID(1), task.Completed, "together")
	if a := <-done; !strings.Contains(a.body, "notifications/progress") || !strings.Contains(a.body, `data: [{`) || !strings.Contains(a.body, "together") || !strings.Contains(a.body, `"id":2`) {
		t.Errorf("a batch with progress: %s", a.body)
	}
}

// A batch of a client on lines is answered in a line.
func TestLineBatch(t *testing.T) {
	f := newFake()
	inR, in := io.Pipe()
	out, outW := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- newServer(f).Serve(t.Context(), inR, outW) }()
	lines := bufio.NewReader(out)
	fmt.Fprintln(in, strings.Replace(fmt.Sprintf(initialize, "b"), "2025-11-25", batchRevision, 1))
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, `[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`)
	in.Close() // the answers are waited for
	line, err := lines.ReadString('\n')
	var got []message
	if err != nil || json.Unmarshal([]byte(line), &got) != nil || len(got) != 2 {
		t.Errorf("got %q, %v", line, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestHTTPSession(t *testing.T) {
	f := newFake()
	p := newSite(t, newServer(f))
	one, two := p.login("one"), p.login("claude-code")
	var all sync.WaitGroup
	for _, s := range [][]string{one, two} {
		all.Go(func() {
			// The same id in each.
			a := p.do(p.request("POST", legacyCall("1", "execute_cc_task", `{"prompt":"x"}`), s...))
			if len(a.msgs) < 2 || a.Header.Get("Content-Type") != "text/event-stream" || a.msgs[0].Method != "notifications/progress" || a.last().tool(t).view.Status != task.Completed {
				t.Errorf("got %s", a.body)
			}
		})
	}
	f.until(t, "both calls wait", func() bool { return f.waiting == 2 })
	if a := p.do(p.request("POST", legacyCall("1", "list_active_tasks", `{}`), one...)); a.last().Error == nil || a.last().Error.Code != codeInvalidRequest {
		t.Errorf("an id in use: %s", a.body)
	}
	f.end(fakeID(1), task.Completed, "ok")
	f.end(fakeID(2), task.Completed, "ok")
	all.Wait()
	if a := p.do(p.request("DELETE", "", one...)); a.StatusCode != 204 {
		t.Errorf("delete: %s", a.Status)
	}
	for s, want := range map[*[]string]int{&one: 404, &two: 200} {
		if a := p.do(p.request("POST", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, *s...)); a.StatusCode != want {
			t.Errorf("after the delete: %s, want %d", a.Status, want)
		}
	}
	if a := p.do(p.request("POST", strings.Replace(fmt.Sprintf(initialize, "x"), `"protocolVersion":"2025-11-25"`, `"protocolVersion":5`, 1))); a.last().Error == nil || a.Header.Get("Mcp-Session-Id") != "" {
		t.Errorf("a failed initialize: %s, %v", a.body, a.Header)
	}
}

// TestHTTPCancel: a lost connection is a cancel in the modern era alone.
func TestHTTPCancel(t *testing.T) {
	f := newFake()
	p := newSite(t, newServer(f))
	session := p.login("claude-code")

	body, headers := modernCall("1", "execute_cc_task", `{"prompt":"x"}`)
	p.lose(p.request("POST", body, headers...))
	f.until(t, "the modern task is cancelled", func() bool { return f.tasks[fakeID(1)].Status == task.Cancelled })

	p.lose(p.request("POST", legacyCall("1", "execute_cc_task", `{"prompt":"y"}`), session...))
	// The call lives on, so its id is in use, and it can be cancelled.
	if a := p.do(p.request("POST", legacyCall("1", "list_active_tasks", `{}`), session...)); a.last().Error == nil {
		t.Errorf("the call is gone with its connection: %s", a.body)
	}
	if f.called("Cancel " + string(fakeID(2))) {
		t.Error("the legacy task was cancelled with its connection")
	}
	cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"no"}}`
	if a := p.do(p.request("POST", cancel, session...)); a.StatusCode != 202 {
		t.Errorf("cancel: %s", a.Status)
	}
	f.until(t, "the legacy task is cancelled", func() bool { return f.tasks[fakeID(2)].Status == task.Cancelled })

	var all sync.WaitGroup
	all.Go(func() {
		a := p.do(p.request("POST", legacyCall("2", "execute_cc_task", `{"prompt":"z"}`), session...))
		if a.last().Method == "" && len(a.msgs) > 0 {
			t.Errorf("a cancelled call was answered: %s", a.body)
		}
	})
	f.until(t, "the call waits", func() bool { return f.waiting == 1 })
	p.do(p.request("POST", strings.Replace(cancel, ":1", ":2", 1), session...))
	all.Wait() // its stream has ended
}

// lose sends a request and breaks its connection after the first message.
func (p *site) lose(r *http.Request) {
	p.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "event: message\n" {
		p.t.Fatalf("read %q, %v", line, err)
	}
	_ = resp.Body.Close()
}

// TestHTTPEnds: whoever waits is told how far the task came, and no task ends.
func TestHTTPEnds(t *testing.T) {
	f := newFake()
	p := newSite(t, newServer(f))
	session := p.login("claude-code")
	var all sync.WaitGroup
	all.Go(func() {
		if a := p.do(p.request("POST", legacyCall("1", "execute_cc_task", `{"prompt":"x"}`), session...)); a.last().tool(t).view.Status != task.Running {
			t.Errorf("legacy: %s", a.body)
		}
	})
	all.Go(func() {
		body, headers := modernCall(`"m"`, "execute_cc_task", `{"prompt":"y","max_wait_seconds":86400}`)
		if a := p.do(p.request("POST", body, headers...)); a.last().tool(t).view.Status != task.Running {
			t.Errorf("modern: %s", a.body)
		}
	})
	f.until(t, "both calls wait", func() bool { return f.waiting == 2 })
	resp, err := http.DefaultClient.Do(p.request("GET", "", append(session, "Accept", "text/event-stream")...))
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	p.stop() // nothing else ends the calls: how long it takes is a matter of the machine
	if err := <-p.done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	all.Wait()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the stream of the session was cut off: %v", err)
	}
	resp.Body.Close()
	for i := 1; i <= 2; i++ {
		if f.tasks[fakeID(i)].Status != task.Running {
			t.Errorf("task %d is %s", i, f.tasks[fakeID(i)].Status)
		}
	}
}

func TestHTTPProgressComesInOrderAndBeforeTheResponse(t *testing.T) {
	const n = 300
	s := newServer(newFake())
	chatty(s, n)
	p := newSite(t, s)
	session := p.login("t")
	for range 5 {
		a := p.do(p.request("POST", legacyCall("1", "chatty", "{}"), session...))
		if len(a.msgs) < n+1 || a.last().Error != nil || a.last().Method != "" {
			t.Fatalf("%d messages, the last %s", len(a.msgs), a.last().raw)
		}
		for i, m := range a.msgs[:n] {
			if !strings.Contains(string(m.Params), fmt.Sprintf(`"progress":%d,`, i+1)) {
				t.Fatalf("message %d is %s", i, m.raw)
			}
		}
	}
	a := p.do(p.request("POST", legacyCall("1", "chatty", "{}"), append(session, "Accept", "application/json")...))
	if len(a.msgs) != 1 || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("to a client that takes no events: %s", a.body)
	}
}

// TestHTTPSubscriptions: a session's updates come on its stream, a listen's on
// its own response, which ends with the server.
func TestHTTPSubscriptions(t *testing.T) {
	f := newFake()
	p := newSite(t, newServer(f))
	id := f.seed(t)
	uri := "task://" + string(id)
	session := p.login("t")
	open := func(r *http.Request) *bufio.Reader {
		resp, err := http.DefaultClient.Do(r)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return bufio.NewReader(resp.Body)
	}
	next := func(r *bufio.Reader) string {
		for {
			line, err := r.ReadString('\n')
			if data, ok := strings.CutPrefix(line, "data: "); ok || err != nil {
				return data
			}
		}
	}
	stream := open(p.request("GET", "", session...))
	if a := p.do(p.request("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":%q}}`, uri), session...)); a.last().Error != nil {
		t.Fatalf("subscribe: %s", a.body)
	}
	listen := open(p.request("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":"l","method":"subscriptions/listen","params":{"_meta":%s,"notifications":{"resourceSubscriptions":[%q]}}}`, metaOverHTTP, uri),
		"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen"))
	if m := next(listen); !strings.Contains(m, "notifications/subscriptions/acknowledged") {
		t.Fatalf("listen began with %s", m)
	}
	f.end(id, task.Completed, "ok")
	for name, r := range map[string]*bufio.Reader{"session": stream, "listen": listen} {
		if m := next(r); !strings.Contains(m, `"method":"notifications/resources/updated"`) || !strings.Contains(m, uri) || strings.Contains(m, "subscriptionId") != (name == "listen") {
			t.Errorf("%s: %s", name, m)
		}
	}
	p.stop()
	last := ""
	for m := next(listen); m != ""; m = next(listen) {
		last = m
	}
	if !strings.Contains(last, `"id":"l"`) || !strings.Contains(last, `"resultType":"complete"`) {
		t.Errorf("listen ended with %q", last)
	}
}

// TestHTTPSessionStream: what belongs to no request comes on the newest stream.
func TestHTTPSessionStream(t *testing.T) {
	s := newServer(newFake())
	s.calls["tell"] = func(_ context.Context, r *request) (any, error) {
		r.conn.notify(r.conn.out, "notifications/tools/list_changed", struct{}{})
		return listResult{Tasks: []task.View{}}, nil
	}
	p := newSite(t, s)
	session, other := p.login("t"), p.login("other")
	tell := func() { p.do(p.request("POST", legacyCall("1", "tell", "{}"), session...)) }
	tell() // nobody listens
	open := func(session []string) *bufio.Reader {
		resp, err := http.DefaultClient.Do(p.request("GET", "", session...))
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return bufio.NewReader(resp.Body)
	}
	alien, old := open(other), open(session)
	latest := open(session)
	if rest, err := io.ReadAll(old); err != nil || string(rest) != ":\n\n" {
		t.Errorf("the older stream ended with %q, %v", rest, err)
	}
	tell()
	for _, want := range []string{":\n", "\n", "event: message\n", `data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{}}` + "\n"} {
		if line, err := latest.ReadString('\n'); err != nil || line != want {
			t.Fatalf("read %q, %v", line, err)
		}
	}
	p.stop()
	if rest, err := io.ReadAll(alien); err != nil || string(rest) != ":\n\n" {
		t.Errorf("another session's stream: %q, %v", rest, err)
	}
}

// TestHTTPSessionStreamMissesNothing: from the first byte on, a client that
// listens hears everything.
func TestHTTPSessionStreamMissesNothing(t *testing.T) {
	w := &web{srv: newServer(newFake()), base: t.Context(), load: newLoad(defaultBounds), sessions: sessions{byID: map[string]*session{}}}
	s := w.newSession()
	w.sessions.keep(s)
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, "GET", Endpoint, nil)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Mcp-Session-Id", s.id)
	w.listen(&brittle{ResponseRecorder: httptest.NewRecorder(), before: func() {
		if s.inbox.out == nil {
			t.Error("a message would be lost now")
		}
		cancel()
	}}, r)
}

func TestHTTPSessionsAreBounded(t *testing.T) {
	w := &web{srv: newServer(newFake()), base: t.Context(), load: newLoad(defaultBounds), sessions: sessions{byID: map[string]*session{}}}
	begin := func() *session {
		s := w.newSession()
		w.sessions.keep(s)
		w.sessions.release(s)
		return s
	}
	first := begin()
	busy := w.sessions.use(begin().id)
	for range maxSessions {
		begin()
	}
	if n := len(w.sessions.byID); n != maxSessions || w.sessions.use(first.id) != nil || !stopping(first.base) || w.sessions.byID[busy.id] == nil {
		t.Errorf("%d sessions", n)
	}
	last := begin()
	w.sessions.byID[last.id].used = time.Now().Add(-sessionIdle)
	begin()
	if w.sessions.use(last.id) != nil {
		t.Error("an idle session was kept")
	}
}

func TestHTTPConnectionsAreBounded(t *testing.T) {
	w := &web{}
	w.open.Store(maxConnections)
	one, other := net.Pipe()
	w.count(one, http.StateNew)
	if _, err := other.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one too many: %v", err)
	}
	w.count(one, http.StateClosed)
	if w.open.Load() != maxConnections {
		t.Errorf("%d connections", w.open.Load())
	}
}

// TestHTTPMemoryIsBounded: a long message waits for the room that another takes,
// even where that one is slow to come; short ones go on.
func TestHTTPMemoryIsBounded(t *testing.T) {
	f := newFake()
	s := newServer(f)
	s.bounds.held = 100 << 10
	p := newSite(t, s)
	session := p.login("t")
	body := legacyCall("1", "start_cc_task_async", `{"prompt":"`+strings.Repeat("x", 90<<10)+`"}`)
	slow, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(p.url, "http://"), Endpoint))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprintf(slow, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nMcp-Session-Id: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", testToken, session[1], len(body))
	answers := bufio.NewReader(slow)
	if line, err := answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") { // its body is being read
		t.Fatalf("read %q, %v", line, err)
	}
	second := make(chan answer, 1)
	go func() { second <- p.do(p.request("POST", strings.Replace(body, `"id":1`, `"id":2`, 1), session...)) }()
	for i := range 20 {
		if a := p.do(p.request("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":"p%d","method":"ping"}`, i), session...)); a.last().Error != nil {
			t.Fatalf("ping: %s", a.body)
		}
	}
	select {
	case a := <-second:
		t.Fatalf("answered beyond the bound: %s", a.body)
	default:
	}
	if _, err := io.WriteString(slow, body); err != nil {
		t.Fatal(err)
	}
	if a := <-second; a.last().tool(t).IsError || len(f.subs) != 2 {
		t.Errorf("got %s", a.body)
	}
}

// TestHTTPStreamLives: a silent stream shows signs of life, and a client that
// takes nothing is given up.
func TestHTTPStreamLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &brittle{ResponseRecorder: httptest.NewRecorder()}
		s := newStream(w, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Second)
		defer cancel()
		s.hold(ctx, t.Context())
		if got := w.Body.String(); got != strings.Repeat(":\n\n", 4) || w.Header().Get("Content-Type") != "text/event-stream" {
			t.Errorf("in a minute: %q", got)
		}
		w.broken = true
		s.hold(t.Context(), t.Context())
		s.send([]byte("late"))
		if bytes.Contains(w.Body.Bytes(), []byte("late")) {
			t.Error("written after the client was gone")
		}
	})
}

type brittle struct {
	*httptest.ResponseRecorder
	broken bool
	before func()
}

func (b *brittle) Write(p []byte) (int, error) {
	if b.before != nil {
		b.before()
	}
	if b.broken {
		return 0, io.ErrClosedPipe
	}
	return b.ResponseRecorder.Write(p)
}

func TestHTTPWorkingDirMustBeAbsolute(t *testing.T) {
	f := newFake()
	s := New(Config{Service: f, Defaults: func() (engine.Caller, error) { return engine.Caller{Claude: "/usr/bin/claude"}, nil }})
	p := servePeer(t, f, s)
	for args, says := range map[string]string{
		`{"prompt":"x"}`:                                            "working_dir: is missing",
		`{"prompt":"x","working_dir":"sub"}`:                        "working_dir",
		`{"prompt":"x","working_dir":"/p","add_dirs":["sub"]}`:      "add_dirs",
		`{"prompt":"x","working_dir":"/p","mcp_config":["a.json"]}`: "mcp_config",
	} {
		if r := p.ask("start_cc_task_async", args); !r.IsError || !strings.Contains(r.Content[0].Text, says) || !strings.Contains(r.Content[0].Text, "absolute") {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if r := p.ask("list_active_tasks", `{"working_dir":"sub"}`); !r.IsError {
		t.Errorf("got %+v", r)
	}
	if r := p.ask("start_cc_task_async", `{"prompt":"x","working_dir":"/p/../q","mcp_config":["{}"]}`); r.IsError || f.subs[0].Spec.WorkingDir != "/q" {
		t.Errorf("got %+v", r)
	}
}

// The SDK's own client drives the server over HTTP in both eras.
func TestGoSDKClientOverHTTP(t *testing.T) {
	for _, version := range []string{"2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			f := newFake()
			p := newSite(t, newServer(f))
			progress := make(chan string, 100)
			session := dial(t, &sdk.StreamableClientTransport{Endpoint: p.url, HTTPClient: &http.Client{Transport: bearer{}}}, version, progress)
			if got := session.InitializeResult().ProtocolVersion; got != version {
				t.Errorf("negotiated %s", got)
			}
			driveTools(t, f, session, progress)
			if err := session.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

type bearer struct{}

func (bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+testToken)
	return http.DefaultTransport.RoundTrip(r)
}
