package mcp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// fake is a Service in memory. Tasks run until a test ends them.
type fake struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced with each change
	tasks   map[task.ID]*task.Task
	order   []task.ID
	keys    map[string]task.ID
	output  map[task.Stream][]byte
	waiting int
	calls   []string
	subs    []engine.Submission
	fault   error // what every call answers, if set
}

func newFake() *fake {
	return &fake{
		changed: make(chan struct{}), tasks: map[task.ID]*task.Task{}, keys: map[string]task.ID{},
		output: map[task.Stream][]byte{task.Stdout: []byte("out\n"), task.Stderr: []byte("err\n")},
	}
}

func fakeID(n int) task.ID { return task.ID(fmt.Sprintf("01JD%022d", n)) }

// call notes a call and returns the fault that is set. Callers hold no lock.
func (f *fake) call(name, ref string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, strings.TrimSpace(name+" "+ref))
	return f.fault
}

func (f *fake) called(call string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.calls, call)
}

// change alters a task and wakes the waiting.
func (f *fake) change(id task.ID, do func(*task.Task)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do(f.tasks[id])
	f.tasks[id].Version++
	f.wake()
}

func (f *fake) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) end(id task.ID, s task.Status, result string) {
	f.change(id, func(t *task.Task) {
		code := 0
		if s != task.Completed {
			code, t.Reason, t.Message = 1, task.ReasonProcessFailed, "claude ended with exit code 1"
		}
		t.ExitCode, t.CostUSD, t.NumTurns, t.DurationMS = &code, 0.12, 4, 92_000
		t.Status, t.FinishedAt = s, time.Now()
		t.Result, t.ResultBytes = &result, int64(len(result))
	})
}

// until waits for a condition on the fake that its changes signal.
func (f *fake) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		f.mu.Lock()
		done, changed := ok(), f.changed
		f.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func (f *fake) Submit(_ context.Context, s engine.Submission) (task.Task, error) {
	if err := f.call("Submit", ""); err != nil {
		return task.Task{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs = append(f.subs, s)
	if id, ok := f.keys[s.Key]; ok {
		return *f.tasks[id], nil
	}
	id, now := fakeID(len(f.order)+1), time.Now()
	t := &task.Task{
		ID: id, Spec: s.Spec, PromptBytes: len(s.Prompt), PromptHead: task.Head(s.Prompt), Status: task.Running, Attempt: 1, Version: 1,
		CreatedAt: now, QueuedAt: now, StartedAt: now, SessionID: id.UUID(),
	}
	f.tasks[id], f.keys[s.Key] = t, id
	f.order = append(f.order, id)
	f.wake()
	return *t, nil
}

func (f *fake) find(ref string) (*task.Task, error) {
	for id, t := range f.tasks {
		if string(id) == ref || t.Spec.Name == ref {
			return t, nil
		}
	}
	return nil, &task.Error{Code: task.CodeNotFound, Message: fmt.Sprintf("no task %q", ref)}
}

func (f *fake) Get(_ context.Context, ref string) (task.Task, error) {
	if err := f.call("Get", ref); err != nil {
		return task.Task{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(ref)
	if err != nil {
		return task.Task{}, err
	}
	return *t, nil
}

func (f *fake) List(_ context.Context, q task.Filter) (task.Page, error) {
	if err := f.call("List", fmt.Sprint(q.Limit)); err != nil {
		return task.Page{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var p task.Page
	for _, id := range slices.Backward(f.order) {
		t := *f.tasks[id]
		t.Result = nil
		switch {
		case q.Cursor != "" && string(id) >= q.Cursor, len(q.Statuses) > 0 && !slices.Contains(q.Statuses, t.Status),
			q.Label != "" && !slices.Contains(t.Spec.Labels, q.Label), q.WorkingDir != "" && q.WorkingDir != t.Spec.WorkingDir:
		case len(p.Tasks) == q.Limit:
			p.NextCursor = string(p.Tasks[q.Limit-1].ID)
			return p, nil
		default:
			p.Tasks = append(p.Tasks, t)
		}
	}
	return p, nil
}

func (f *fake) Wait(ctx context.Context, ref string, seen uint64) (task.Task, error) {
	if err := f.call("Wait", ref); err != nil {
		return task.Task{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting++
	f.wake()
	defer func() { f.waiting--; f.wake() }()
	for {
		t, err := f.find(ref)
		if err != nil {
			return task.Task{}, err
		}
		if t.Status.Ended() || t.Version > seen {
			return *t, nil
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
			f.mu.Lock()
		case <-ctx.Done():
			f.mu.Lock()
			return task.Task{}, ctx.Err()
		}
	}
}

func (f *fake) Output(_ context.Context, q engine.OutputQuery) (task.Output, error) {
	if err := f.call("Output", q.Ref); err != nil {
		return task.Output{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(q.Ref)
	if err != nil {
		return task.Output{}, err
	}
	data := f.output[q.Stream]
	if q.Stream == task.Result && t.Result != nil {
		data = []byte(*t.Result)
	}
	n := int64(len(data))
	from := min(q.Offset, n)
	if q.Tail > 0 {
		from = max(0, n-q.Tail)
	}
	to := n
	if q.Limit > 0 {
		to = min(n, from+int64(q.Limit))
	}
	return task.Output{ID: t.ID, Stream: q.Stream, Offset: from, Data: data[from:to], Size: n, Done: t.Status.Ended()}, nil
}

func (f *fake) Cancel(_ context.Context, ref string) (task.Task, error) {
	if err := f.call("Cancel", ref); err != nil {
		return task.Task{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(ref)
	if err != nil {
		return task.Task{}, err
	}
	if !t.Status.Ended() {
		t.Status, t.Reason, t.Message, t.FinishedAt = task.Cancelled, task.ReasonCancelled, "cancelled", time.Now()
		t.Version++
		f.wake()
	}
	return *t, nil
}

func (f *fake) Resume(context.Context, engine.Again) (task.Task, error) { panic("not used") }
func (f *fake) Retry(context.Context, engine.Again) (task.Task, error)  { panic("not used") }

func (f *fake) Remove(_ context.Context, ref string, force bool) error {
	if err := f.call("Remove", ref); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(ref)
	if err != nil {
		return err
	}
	if !force && !t.Status.Ended() {
		return &task.Error{Code: task.CodeConflict, Message: "the task is live"}
	}
	delete(f.tasks, t.ID)
	f.order = slices.DeleteFunc(f.order, func(id task.ID) bool { return id == t.ID })
	f.wake()
	return nil
}

func defaults() (Client, error) {
	return Client{WorkingDir: "/work/dir", Env: []string{"HOME=/home/u"}, Claude: "/usr/bin/claude"}, nil
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

// peer is a client of a Server over pipes.
type peer struct {
	t      testing.TB
	svc    *fake
	in     *io.PipeWriter
	msgs   chan message
	served chan error
	cancel context.CancelFunc
}

func newPeer(t testing.TB, svc *fake) *peer {
	t.Helper()
	return servePeer(t, svc, New(Config{Service: svc, Version: "1.2.3", Defaults: defaults}))
}

func servePeer(t testing.TB, svc *fake, s *Server) *peer {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	p := &peer{t: t, svc: svc, in: inW, msgs: make(chan message, 20_000), served: make(chan error, 1), cancel: cancel}
	go func() {
		p.served <- s.Serve(ctx, inR, outW)
		_ = outW.Close()
	}()
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
		return m
	case <-time.After(20 * time.Second):
		p.t.Fatal("no message")
	}
	return message{}
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
		if string(r.Data) != r.Content[0].Text {
			t.Errorf("structured content and text differ: %s", m.raw)
		}
		if err := json.Unmarshal(r.Data, &r.view); err != nil {
			t.Fatal(err)
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

// seed records a task without going through the server.
func (f *fake) seed(t testing.TB) task.ID {
	t.Helper()
	done, err := f.Submit(context.Background(), engine.Submission{Prompt: "seed", Spec: task.Spec{WorkingDir: "/work/dir", Claude: "/usr/bin/claude"}, Key: fmt.Sprint("seed", len(f.order))})
	if err != nil {
		t.Fatal(err)
	}
	return done.ID
}

func TestMain(m *testing.M) {
	if os.Getenv("CCTASK_MCP_TEST") == "serve" {
		s := New(Config{Service: newFake(), Defaults: defaults})
		if err := s.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			os.Exit(3)
		}
		os.Exit(0)
	}
	// Before any synctest bubble: the signal package keeps a goroutine.
	catchSIGPIPE()
	os.Exit(m.Run())
}
