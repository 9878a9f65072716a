package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

func TestStatusIsAnsweredAtOnceBehindBlockedCalls(t *testing.T) {
	for _, n := range []int{60, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f := newFake()
			p := newPeer(t, f)
			for i := range n {
				p.tool(fmt.Sprint(i), "execute_cc_task", `{"prompt":"block"}`)
			}
			f.until(t, "all calls wait", func() bool { return f.waiting == n })
			p.tool(`"status"`, "check_task_status", fmt.Sprintf(`{"task_id":%q}`, fakeID(1)))
			if m := p.next(); string(m.ID) != `"status"` || m.tool(t).view.Status != task.Running {
				t.Fatalf("got %s", m.raw)
			}
			for i := range n {
				f.end(fakeID(i+1), task.Completed, "ok")
			}
			for range n {
				if m := p.next(); m.tool(t).view.Status != task.Completed {
					t.Fatalf("got %s", m.raw)
				}
			}
		})
	}
}

// chatty adds a tool that sends many progress messages.
func chatty(s *Server, n int) {
	s.calls["chatty"] = func(_ context.Context, r *request) (any, error) {
		for i := range n {
			r.progress(fmt.Sprint(i))
		}
		go r.progress("late")
		return listResult{Tasks: []task.View{}}, nil
	}
}

func TestProgressComesInOrderAndBeforeTheResponse(t *testing.T) {
	const n = 300
	f := newFake()
	s := New(Config{Service: f, Defaults: defaults})
	chatty(s, n)
	p := servePeer(t, f, s)
	for run := range 20 {
		p.send(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"chatty","_meta":{"progressToken":"tok<&>"}}}`, run)
		last := 0
		for {
			m := p.next()
			if m.Method == "" {
				if string(m.ID) != fmt.Sprint(run) {
					t.Fatalf("got %s", m.raw)
				}
				break
			}
			var at progressParams
			if err := json.Unmarshal(m.Params, &at); err != nil || string(at.Token) != `"tok<&>"` || at.Progress <= last {
				t.Fatalf("after %d came %s", last, m.raw)
			}
			last = at.Progress
		}
		if last < n || last > n+1 {
			t.Fatalf("run %d: %d progress messages of %d", run, last, n)
		}
	}
	p.in.Close()
	<-p.served
	for m := range p.msgs {
		t.Errorf("after the last response came %s", m.raw)
	}
}

func TestCancel(t *testing.T) {
	for _, c := range []struct {
		tool, reason string
		cancels      bool
	}{
		{"execute_cc_task", "AbortError: user-cancel", true},
		{"execute_cc_task", "", true},
		{"execute_cc_task", "SdkError: Request timed out", false},
		{"execute_cc_task", "context deadline exceeded", false},
		{"check_task_status", "AbortError: user-cancel", false},
	} {
		t.Run(c.tool+" "+c.reason, func(t *testing.T) {
			f := newFake()
			p := newPeer(t, f)
			id, args := fakeID(1), `{"prompt":"x"}`
			if c.tool == "check_task_status" {
				id = f.seed(t)
				args = fmt.Sprintf(`{"task_id":%q,"wait_seconds":3600}`, id)
			}
			p.tool(`"a"`, c.tool, args)
			f.until(t, "the call waits", func() bool { return f.waiting == 1 })
			p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a","reason":%q}}`, c.reason)
			f.until(t, "the waiting has ended", func() bool { return f.waiting == 0 })
			if c.cancels {
				f.until(t, "the task is cancelled", func() bool { return f.tasks[id].Status == task.Cancelled })
			}
			// The id is free again, and nothing more is said of the first call.
			p.tool(`"a"`, "check_task_status", fmt.Sprintf(`{"task_id":%q}`, id))
			want := task.Running
			if c.cancels {
				want = task.Cancelled
			}
			if got := p.next().tool(t).view.Status; got != want {
				t.Errorf("the task is %s, want %s", got, want)
			}
			p.in.Close()
			<-p.served
			for m := range p.msgs {
				t.Errorf("a cancelled call was answered: %s", m.raw)
			}
		})
	}
}

func TestIDsComeBackAsTheyWereSent(t *testing.T) {
	p := newPeer(t, newFake())
	for _, id := range []string{`9007199254740993`, `-1`, `0`, `123456789012345678901234567890`, `""`, `"9007199254740993"`, `"é\n\"<&>"`, `"\u00e9\ud83d\ude00"`} {
		p.send(`{"jsonrpc":"2.0","id":%s,"method":"ping"}`, id)
		if m := p.next(); string(m.ID) != id || m.Error != nil {
			t.Errorf("id %s came back in %s", id, m.raw)
		}
	}
}

func TestBadMessagesAreAnsweredWithoutNull(t *testing.T) {
	p := newPeer(t, newFake())
	for _, c := range []struct {
		line, id string
		code     int
	}{
		{`{`, "", codeParse},
		{`nonsense`, "", codeParse},
		{"\xff", "", codeParse},
		{`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, "", codeInvalidRequest},
		{`[]`, "", codeInvalidRequest},
		{`1`, "", codeInvalidRequest},
		{`null`, "", codeInvalidRequest},
		{`{}`, "", codeInvalidRequest},
		{`{"jsonrpc":"2.0","id":null,"method":"ping"}`, "", codeInvalidRequest},
		{`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, "", codeInvalidRequest},
		{`{"jsonrpc":"2.0","id":{},"method":"ping"}`, "", codeInvalidRequest},
		{`{"jsonrpc":"2.0","id":true,"method":"ping"}`, "", codeInvalidRequest},
		{`{"jsonrpc":"1.0","id":7,"method":"ping"}`, "7", codeInvalidRequest},
		{`{"id":7,"method":"ping"}`, "7", codeInvalidRequest},
		{`{"jsonrpc":"2.0","id":7}`, "7", codeInvalidRequest},
		{`{"jsonrpc":"2.0","id":7,"method":5}`, "7", codeInvalidRequest},
		{`{"jsonrpc":"2.0","id":7,"method":""}`, "7", codeInvalidRequest},
		{`{"jsonrpc":"2.0","id":7,"method":"ping","result":{}}`, "7", codeInvalidRequest},
		{`{"jsonrpc":"2.0","id":7,"method":"no/such"}`, "7", -32601},
		{"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{\"name\":\"execute_cc_task\",\"arguments\":{\"prompt\":\"\xff\"}}}", "7", codeInvalidRequest},
		{`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"no_such"}}`, "7", -32602},
		{`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":5}`, "7", -32602},
		{`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":null}`, "7", -32602},
	} {
		p.send("%s", c.line)
		m := p.next()
		if m.Error == nil || m.Error.Code != c.code || string(m.ID) != c.id {
			t.Errorf("%s\nwas answered %s\nwant code %d, id %q", c.line, m.raw, c.code, c.id)
		}
	}
	// What is never answered: blank lines, notifications, responses.
	for _, line := range []string{"", "  \r", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","method":"notifications/cancelled"}`, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}`, `{"jsonrpc":"2.0","method":"x","params":7}`, `{"jsonrpc":"2.0","id":3,"result":{}}`, `{"jsonrpc":"2.0","id":3,"error":{}}`} {
		p.send("%s", line)
	}
	p.send(`{"jsonrpc":"2.0","id":8,"method":"ping"}`)
	if m := p.next(); string(m.ID) != "8" {
		t.Errorf("got %s", m.raw)
	}
}

func TestDuplicateIDIsRefusedWhileTheFirstIsInWork(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	p.tool(`5`, "execute_cc_task", `{"prompt":"x"}`)
	f.until(t, "the call waits", func() bool { return f.waiting == 1 })
	p.send(`{"jsonrpc":"2.0","id":5,"method":"ping"}`)
	if m := p.next(); m.Error == nil || m.Error.Code != codeInvalidRequest || string(m.ID) != "5" {
		t.Errorf("got %s", m.raw)
	}
	p.send(`{"jsonrpc":"2.0","id":"5","method":"ping"}`) // another id
	if m := p.next(); m.Error != nil || string(m.ID) != `"5"` {
		t.Errorf("got %s", m.raw)
	}
	f.end(fakeID(1), task.Completed, "ok")
	if m := p.next(); m.tool(t).view.Status != task.Completed {
		t.Errorf("got %s", m.raw)
	}
	p.send(`{"jsonrpc":"2.0","id":5,"method":"ping"}`)
	if m := p.next(); m.Error != nil {
		t.Errorf("got %s", m.raw)
	}
}

func TestContextEndStopsWaitingCallsWithAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := newPeer(t, f)
		p.tool(`1`, "execute_cc_task", `{"prompt":"x"}`)
		f.until(t, "the call waits", func() bool { return f.waiting == 1 })
		start := time.Now()
		p.cancel()
		if err := <-p.served; !errors.Is(err, context.Canceled) || time.Since(start) > 300*time.Millisecond {
			t.Errorf("Serve returned %v after %v", err, time.Since(start))
		}
		if v := p.next().tool(t).view; v.Status != task.Running || v.TaskID != fakeID(1) {
			t.Errorf("the last word was %+v", v)
		}
		if f.called("Cancel " + string(fakeID(1))) {
			t.Error("the end of the server cancelled a task")
		}
	})
}

func TestEndOfInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := newPeer(t, f)
		p.tool(`1`, "execute_cc_task", `{"prompt":"x"}`)
		f.until(t, "the call waits", func() bool { return f.waiting == 1 })
		_, _ = io.WriteString(p.in, `{"jsonrpc":"2.0","id":2,"method":"ping"}`) // no newline
		start := time.Now()
		p.in.Close()
		if err := <-p.served; err != nil || time.Since(start) > 400*time.Millisecond {
			t.Errorf("Serve returned %v after %v", err, time.Since(start))
		}
		if m := p.next(); string(m.ID) != "2" {
			t.Errorf("the last line was lost: got %s", m.raw)
		}
		if v := p.next().tool(t).view; v.Status != task.Running {
			t.Errorf("the waiting call said %+v", v)
		}
		if f.called("Cancel " + string(fakeID(1))) {
			t.Error("the end of the input cancelled a task")
		}
	})
}

// An owner that must be started first takes its seconds, and the client reads still.
func TestEndOfInputWaitsForAColdOwner(t *testing.T) {
	for _, c := range []struct{ tool, args string }{
		{"start_cc_task_async", `{"prompt":"x"}`},
		{"execute_cc_task", `{"prompt":"x"}`},
		{"list_active_tasks", `{}`},
	} {
		t.Run(c.tool, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				p := servePeer(t, f, New(Config{Service: cold{f}, Defaults: defaults}))
				p.tool("1", c.tool, c.args)
				p.in.Close()
				if r := p.next().tool(t); r.IsError {
					t.Errorf("got %q", r.Content[0].Text)
				}
				if err := <-p.served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// cold is a Service whose owner starts with the first call that asks it.
type cold struct{ *fake }

func (c cold) start(ctx context.Context) error {
	pause(ctx, 8*time.Second)
	return ctx.Err()
}

func (c cold) Submit(ctx context.Context, s engine.Submission) (task.Task, error) {
	if err := c.start(ctx); err != nil {
		return task.Task{}, err
	}
	return c.fake.Submit(ctx, s)
}

func (c cold) List(ctx context.Context, q task.Filter) (task.Page, error) {
	if err := c.start(ctx); err != nil {
		return task.Page{}, err
	}
	return c.fake.List(ctx, q)
}

// A call that the end cuts off before the Service has answered is told so, and
// not that cctask has a fault.
func TestTheEndCutsOffACallWithoutAnAnswer(t *testing.T) {
	for _, c := range []struct{ tool, args string }{
		{"start_cc_task_async", `{"prompt":"x"}`},
		{"check_task_status", `{"task_id":"x"}`},
		{"list_active_tasks", `{}`},
		{"cleanup_task", `{"task_id":"x"}`},
	} {
		for name, end := range map[string]func(*peer){"input": func(p *peer) { p.in.Close() }, "context": func(p *peer) { p.cancel() }} {
			t.Run(c.tool+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := servePeer(t, nil, New(Config{Service: absent{}, Defaults: defaults}))
					p.tool("1", c.tool, c.args)
					time.Sleep(3 * longTurn) // until another goroutine reads
					synctest.Wait()
					start := time.Now()
					end(p)
					r := p.next().tool(t)
					if text := r.Content[0].Text; !r.IsError || !strings.HasPrefix(text, "closing: the server is leaving") || !strings.Contains(text, "Call again") {
						t.Errorf("got %q", text)
					}
					if took := time.Since(start); name == "context" && took > goodbyeTime || name == "input" && took != drainTime+coldTime {
						t.Errorf("the answer came after %v", took)
					}
				})
			})
		}
	}
}

// A key of the client's own may name the task of an earlier call, which a
// cancelled repetition must not stop.
func TestCancelledStartWithAKeyLeavesTheTask(t *testing.T) {
	for key, cancels := range map[string]bool{"": true, "mine": false} {
		f := newFake()
		p := newPeer(t, f)
		f.submitting, f.submit = make(chan struct{}), make(chan struct{})
		args := `{"prompt":"x"}`
		if key != "" {
			args = fmt.Sprintf(`{"prompt":"x","idempotency_key":%q}`, key)
		}
		p.tool(`"a"`, "start_cc_task_async", args)
		<-f.submitting
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}`)
		p.send(`{"jsonrpc":"2.0","id":"b","method":"ping"}`)
		p.next() // the cancel has been read
		close(f.submit)
		p.in.Close()
		<-p.served
		if got := f.called("Cancel " + string(fakeID(1))); got != cancels {
			t.Errorf("key %q: cancelled is %v", key, got)
		}
	}
}

func TestReadErrorIsReturned(t *testing.T) {
	inR, inW := io.Pipe()
	broken := errors.New("broken")
	inW.CloseWithError(broken)
	if err := New(Config{}).Serve(context.Background(), inR, io.Discard); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestAFaultInOneRequestIsAnswered(t *testing.T) {
	f := newFake()
	s := New(Config{Service: f, Defaults: defaults})
	s.calls["panics"] = func(context.Context, *request) (any, error) { panic("boom") }
	p := servePeer(t, f, s)
	p.tool("1", "panics", "{}")
	if m := p.next(); m.Error == nil || m.Error.Code != codeInternal || string(m.ID) != "1" {
		t.Errorf("got %s", m.raw)
	}
	p.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	if m := p.next(); string(m.ID) != "2" || m.Error != nil {
		t.Errorf("got %s", m.raw)
	}
}

func TestLineReader(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "EOF"},
		{"a\nb", "a|b|EOF"},
		{"a\n\nb\n", "a||b|EOF"},
		{"12345678\n", "12345678|EOF"},
		{"123456789\nx\n", "too long|x|EOF"},
		{"123456789", "too long|EOF"},
		{"  ", "EOF"},
	} {
		r := newLineReader(strings.NewReader(c.in), 8)
		var got []string
		for {
			line, err := r.next()
			var tooLong *longLine
			switch {
			case errors.As(err, &tooLong):
				got = append(got, "too long")
			case err != nil:
				got = append(got, err.Error())
			default:
				got = append(got, string(line))
			}
			if err != nil && tooLong == nil {
				break
			}
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%q was read as %s, want %s", c.in, s, c.want)
		}
	}
}

func TestPlainHTML(t *testing.T) {
	for _, s := range []string{`<a href="x">&amp;</a>`, `\u003c`, `\\u003c <`, `\`, "\u2028\b\x01<", ``} {
		data, err := encode(map[string]string{"s": s})
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]string
		if err := json.Unmarshal(data, &back); err != nil || back["s"] != s {
			t.Errorf("%q became %s", s, data)
		}
		if strings.ContainsAny(s, "<>&") && bytes.Contains(bytes.ReplaceAll(data, []byte(`\\`), nil), []byte(`\u003`)) {
			t.Errorf("%q is escaped in %s", s, data)
		}
	}
}

// BenchmarkStatus is a status call alone, and behind calls that wait.
func BenchmarkStatus(b *testing.B) {
	for _, n := range []int{1, 60, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := newFake()
			p := newPeer(b, f)
			for i := range n {
				p.tool(fmt.Sprint(i), "execute_cc_task", `{"prompt":"block"}`)
			}
			f.until(b, "all calls wait", func() bool { return f.waiting == n })
			for b.Loop() {
				p.tool(`"status"`, "check_task_status", fmt.Sprintf(`{"task_id":%q}`, fakeID(1)))
				p.next()
			}
		})
	}
}
