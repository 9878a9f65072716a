package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

func TestGarbageLines(t *testing.T) {
	p := newPeer(t, newFake())
	const n = 10_000
	go func() {
		for i := range n {
			_, _ = fmt.Fprintf(p.in, "garbage %d {[\"\x00\xff\n", i)
		}
		_, _ = io.WriteString(p.in, `{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n")
	}()
	for range n {
		if m := p.next(); m.Error == nil || m.Error.Code != codeParse || strings.Contains(m.raw, `"id"`) {
			t.Fatalf("got %s", m.raw)
		}
	}
	if m := p.next(); string(m.ID) != "1" {
		t.Errorf("got %s", m.raw)
	}
}

func TestLongLines(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	long := func(n int) string {
		frame := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"start_cc_task_async","arguments":{"prompt":""}}}`
		return strings.Replace(frame, `"prompt":""`, `"prompt":"`+strings.Repeat("x", n-len(frame))+`"`, 1)
	}
	p.send("%s", long(defaultBounds.line+1))
	if m := p.next(); m.Error == nil || m.Error.Code != codeInvalidRequest || string(m.ID) != "1" {
		t.Errorf("got %.300s", m.raw)
	}
	p.send("%s", long(task.MaxPrompt))
	if m := p.next(); m.tool(t).IsError || len(f.subs) != 1 || len(f.subs[0].Prompt) < task.MaxPrompt-200 {
		t.Errorf("got %.300s", m.raw)
	}
	p.send("%s", long(task.MaxPrompt+1000))
	if m := p.next(); !m.tool(t).IsError || !strings.Contains(m.raw, "at most 4194304 are allowed") {
		t.Errorf("got %.300s", m.raw)
	}
}

// TestLongLinesAreAnsweredWithTheirID: without it the call would hang until the
// client's patience ends.
func TestLongLinesAreAnsweredWithTheirID(t *testing.T) {
	s := New(Config{Service: newFake(), Defaults: defaults})
	s.bounds.line = 100 << 10 // more than the reader's buffer
	p := servePeer(t, newFake(), s)
	pad := strings.Repeat("x", s.bounds.line)
	for _, c := range []struct{ id, line string }{
		{"1", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"pad":"` + pad + `"}}`},
		{"2", `{"id": 2 ,"jsonrpc":"2.0","method":"ping","params":{"pad":"` + pad + `"}}`},
		{`"3"`, `{"method":"ping","params":{"pad":"` + pad + `"},"jsonrpc":"2.0","id":"3"}`},
		{"4", `{"method":"ping","params":{"pad":"` + pad + `"}, "id" : 4 } ` + "\r"},
		{"5", `{"method":"ping","params":{"pad":"` + strings.Repeat("x", 128<<10-50) + `"},"jsonrpc":"2.0","id":5}`}, // across the buffer's end
		{"", `{"method":"ping","params":{"pad":"` + pad + `","id":5}}`},
		{"", `{"method":"ping","params":{"pad":"` + pad + `,\"id\":5"}}`},
		{"", `[{"method":"ping","params":{"pad":"` + pad + `"},"id":5}]`},
		{"", `{"method":"ping","params":{"pad":"` + pad + `"},"id":5.5}`},
		{"", `{"method":"ping","params":{"pad":"` + pad + `"},"id":"` + "\x01" + `"}`},
	} {
		p.send("%s", c.line)
		if m := p.next(); m.Error == nil || m.Error.Code != codeInvalidRequest || string(m.ID) != c.id {
			t.Errorf("got %.300s, want id %q", m.raw, c.id)
		}
	}
}

func TestClientThatNeverReads(t *testing.T) {
	inR, inW := io.Pipe()
	_, outW := io.Pipe() // nobody reads: every write blocks for ever
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	s := New(Config{Service: newFake(), Defaults: defaults})
	s.bounds.held = 4 << 20
	go func() { served <- s.Serve(ctx, inR, outW) }()

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	blocked := make(chan struct{})
	progress := make(chan struct{}, 1)
	go func() {
		defer close(blocked)
		pad := strings.Repeat("x", 100<<10)
		for i := range 1 << 20 {
			if _, err := fmt.Fprintf(inW, `{"jsonrpc":"2.0","id":%d,"method":"ping","params":{"pad":%q}}`+"\n", i, pad); err != nil {
				return
			}
			select {
			case progress <- struct{}{}:
			default:
			}
		}
		t.Error("a client that never reads was let send for ever")
	}()
	for stalled := false; !stalled; {
		select {
		case <-progress:
		case <-time.After(time.Second): // nothing signals that a writer is stuck
			stalled = true
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) >> 20; held > 20 {
		t.Errorf("%d MiB held for a client that never reads", held)
	}
	cancel() // else it would not return: its writer is stuck for ever
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve returned %v", err)
	}
	inR.Close()
	<-blocked
}

func TestClientThatClosesOurOutput(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CCTASK_MCP_TEST=serve")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	_, _ = io.WriteString(in, `{"jsonrpc":"2.0","id":2,"method":"ping"}`+"\n")
	if err := cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v, want a clean exit", err)
	}
	in.Close()
}

func TestTooManyRequests(t *testing.T) {
	const n = 64
	f := newFake()
	s := New(Config{Service: f, Defaults: defaults})
	s.bounds.requests = n
	p := servePeer(t, f, s)
	id := f.seed(t)
	for i := range n {
		p.tool(fmt.Sprint(i), "check_task_status", fmt.Sprintf(`{"task_id":%q,"wait_seconds":3600,"output":"none"}`, id))
	}
	p.send(`{"jsonrpc":"2.0","id":"one more","method":"ping"}`)
	if m := p.next(); m.Error == nil || m.Error.Code != codeInternal {
		t.Errorf("got %s", m.raw)
	}
	f.end(id, task.Completed, "ok")
	for range n {
		p.next().tool(t)
	}
}

// forgetful keeps nothing of what is submitted.
type forgetful struct{ *fake }

func (f forgetful) Submit(ctx context.Context, s engine.Submission) (task.Task, error) {
	s.Prompt = ""
	return f.fake.Submit(ctx, s)
}

// A call that waits keeps nothing of its message but what it may still need:
// else the bound on messages in work would not bound anything.
func TestWaitingCallsHoldNoMessages(t *testing.T) {
	const n = 16
	f := newFake()
	in, inW := io.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- New(Config{Service: forgetful{f}, Defaults: defaults}).Serve(context.Background(), in, io.Discard)
	}()
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	pad := strings.Repeat("x", 256<<10)
	for i := range n {
		fmt.Fprintf(inW, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"execute_cc_task","arguments":{"prompt":"%s"}}}`+"\n", i, pad)
	}
	f.until(t, "all calls wait", func() bool { return f.waiting == n })
	if grown := (heap() - before) >> 10; grown > n/2*256 {
		t.Errorf("%d calls with prompts of 256 KiB wait with %d KiB", n, grown)
	}
	inW.Close()
	<-served
}
