package mcp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cctask/engine"
	"cctask/internal/testkit/mcpwire"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("CCTASK_MCP_TEST"); mode != "" {
		if err := serveOthers(mode); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	// Before any synctest bubble, and before anything is timed.
	if err := mcpwire.Load(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Before any synctest bubble: the signal package keeps a goroutine.
	catchSIGPIPE()
	os.Exit(m.Run())
}

// serveOthers is a server for clients in other processes: "serve" as it is, or
// for the conformance suite with its "fixtures", also under HTTP.
func serveOthers(mode string) error {
	switch mode {
	case "serve":
		return New(Config{Service: newFake(), Defaults: defaults}).Serve(context.Background(), os.Stdin, os.Stdout)
	case "fixtures":
		return newFixtureServer().Serve(context.Background(), os.Stdin, os.Stdout)
	case "fixtures-http":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "serving MCP at http://%s%s,\n", l.Addr(), Endpoint)
		return newFixtureServer().ServeHTTPOn(context.Background(), l, HTTP{Token: os.Getenv("CCTASK_MCP_TOKEN")})
	}
	return fmt.Errorf("no mode %q", mode)
}

func defaults() (engine.Caller, error) {
	return engine.Caller{WorkingDir: "/project/dir", Env: []string{"HOME=/home/u"}, Claude: "/usr/bin/claude"}, nil
}

// message is what a client reads.
type message struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   *responseError  `json:"error"`
	raw     string
}

// serve runs a server on a pair of pipes. Every message that it writes, in any
// test, must be as the schema of its revision says.
func serve(ctx context.Context, t testing.TB, s *Server) (in *io.PipeWriter, out *io.PipeReader, served <-chan error) {
	inR, in := io.Pipe()
	out, outW := io.Pipe()
	var conv mcpwire.Conversation
	var over atomic.Bool // a goroutine that Serve leaves behind may still write
	t.Cleanup(func() { over.Store(true) })
	r, w := conv.Watch(inR, outW, func(err error) {
		if !over.Load() {
			t.Error(err)
		}
	})
	end := make(chan error, 1)
	go func() {
		end <- s.Serve(ctx, r, w)
		_ = outW.Close()
	}()
	return in, out, end
}

// peer is a client of a Server over pipes.
type peer struct {
	t      testing.TB
	svc    *fake
	in     *io.PipeWriter
	msgs   chan message
	served <-chan error
	cancel context.CancelFunc
}

func newPeer(t testing.TB, svc *fake) *peer {
	t.Helper()
	return servePeer(t, svc, New(Config{Service: svc, Version: "1.2.3", Defaults: defaults}))
}

func servePeer(t testing.TB, svc *fake, s *Server) *peer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	inW, outR, served := serve(ctx, t, s)
	p := &peer{t: t, svc: svc, in: inW, msgs: make(chan message, 20_000), served: served, cancel: cancel}
	go p.read(outR)
	t.Cleanup(func() {
		cancel()
		_ = inW.Close()
		_ = outR.Close()
	})
	return p
}

func (p *peer) read(out io.Reader) {
	defer close(p.msgs)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		m := message{raw: strings.TrimSuffix(line, "\n")}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			p.t.Errorf("the server wrote %q: %v", line, err)
		}
		p.msgs <- m
	}
}

func (p *peer) send(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) next() message {
	p.t.Helper()
	select {
	case m, ok := <-p.msgs:
		if !ok {
			p.t.Fatal("the server has ended its output")
		}
		m.validate(p.t)
		return m
	case <-time.After(hang):
		p.t.Fatal("no message")
	}
	return message{}
}

// validate checks what our tools answer, in whatever it is wrapped, against the
// schema that the client was shown.
func (m message) validate(t testing.TB) {
	t.Helper()
	var r struct {
		Data   json.RawMessage `json:"structuredContent"`
		Result struct {
			Data json.RawMessage `json:"structuredContent"`
		}
	}
	_ = json.Unmarshal(m.Result, &r)
	for _, data := range []json.RawMessage{r.Data, r.Result.Data} {
		switch {
		case strings.HasPrefix(string(data), `{"tasks":`) && (strings.Contains(string(data), " have ended, ") || strings.Contains(string(data), "these task_ids")):
			valid(t, "check.out.json", data)
		case strings.HasPrefix(string(data), `{"tasks":`):
			valid(t, "list.out.json", data)
		case strings.HasPrefix(string(data), `{"task_id":`):
			valid(t, "task.out.json", data)
		}
	}
}

// tool calls a tool and returns its id's response line.
func (p *peer) tool(id, name, args string) {
	p.t.Helper()
	p.send(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, id, name, args)
}

// result is a tool's answer.
type result struct {
	IsError bool `json:"isError"`
	Content []struct{ Text string }
	Data    json.RawMessage `json:"structuredContent"`
	view    taskResult
}

func (m message) tool(t testing.TB) result {
	t.Helper()
	var r result
	if m.Error != nil || json.Unmarshal(m.Result, &r) != nil || len(r.Content) != 1 {
		t.Fatalf("not a tool's answer: %s", m.raw)
	}
	if !r.IsError {
		if err := json.Unmarshal(r.Data, &r.view); err != nil {
			t.Fatal(err)
		}
		// A host that hands only the text to its model hands all that is needed.
		text := r.Content[0].Text
		for _, part := range []string{string(r.view.TaskID), string(r.view.Status), *orZero(r.view.Result), r.view.Error, r.view.Said, *orZero(orZero(r.view.Stderr).Tail), r.view.Next} {
			if !strings.Contains(text, strings.TrimRight(part, "\n")) {
				t.Errorf("%q is not in the text %q", part, text)
			}
		}
		if json.Valid([]byte(text)) {
			t.Errorf("the same JSON twice: %s", m.raw)
		}
		if strings.Contains(string(r.Data), ":null") {
			t.Errorf("null in %s", r.Data)
		}
	}
	return r
}

// ask calls a tool and waits for its answer.
func (p *peer) ask(name, args string) result {
	p.t.Helper()
	p.tool("1", name, args)
	return p.next().tool(p.t)
}
