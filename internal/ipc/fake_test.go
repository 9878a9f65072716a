package ipc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// fake is a Backend that keeps its tasks in a file which survives SIGKILL. Some
// prompts and refs make it misbehave.
type fake struct {
	engine.Hub
	dir string

	mu       sync.Mutex
	log      *os.File
	tasks    map[task.ID]task.Task
	keys     map[string]task.ID
	again    []engine.Again
	subs     []engine.Submission
	drained  bool
	version  uint64
	gone     atomic.Bool
	ended    []string
	gets     atomic.Int64
	getting  atomic.Int64
	mostGets atomic.Int64
	follows  atomic.Int64
	block    chan struct{} // what Output waits for, if set
	blocked  chan struct{} // closed by an Output that waits
}

var _ Backend = (*fake)(nil)

func newFake(dir string) (*fake, error) {
	f := &fake{dir: dir, tasks: map[task.ID]task.Task{}, keys: map[string]task.ID{}, version: uint64(time.Now().UnixMicro())}
	log, err := os.OpenFile(filepath.Join(dir, "fake.log"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	f.log = log
	for lines := bufio.NewScanner(log); lines.Scan(); {
		var r logged
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, err
		}
		f.apply(r)
	}
	return f, nil
}

type logged struct {
	Task task.Task
	Key  string
	Gone bool
}

func (f *fake) apply(r logged) {
	if r.Gone {
		delete(f.tasks, r.Task.ID)
		return
	}
	f.tasks[r.Task.ID] = r.Task
	if r.Key != "" {
		f.keys[r.Key] = r.Task.ID
	}
}

// record is called with mu held.
func (f *fake) record(r logged) {
	f.apply(r)
	b, _ := json.Marshal(r)
	if _, err := f.log.Write(append(b, '\n')); err != nil {
		panic(err)
	}
}

// first tells whether this is the first call for what in this directory, over
// all owners.
func (f *fake) first(what string) bool {
	h, err := os.OpenFile(filepath.Join(f.dir, what), os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_ = h.Close()
	}
	return err == nil
}

func die(sig syscall.Signal) {
	_ = syscall.Kill(os.Getpid(), sig)
	// The signal may take effect in another thread a moment later.
	select {}
}

func (f *fake) Submit(_ context.Context, s engine.Submission) (task.Task, error) {
	if s.Prompt == "die before" && f.first("before") {
		die(syscall.SIGKILL)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drained {
		return task.Task{}, closingError()
	}
	if id, ok := f.keys[s.Key]; ok {
		return f.tasks[id], nil
	}
	f.subs = append(f.subs, s)
	t := task.Task{ID: task.NewID(time.Now()), Spec: s.Spec, Status: task.Running, PromptHead: s.Prompt, Attempt: 1}
	f.record(logged{Task: t, Key: s.Key})
	if s.Prompt == "die after" && f.first("after") {
		die(syscall.SIGKILL)
	}
	return t, nil
}

func (f *fake) SubmitAll(ctx context.Context, b engine.Batch) (out []task.Task, err error) {
	for i, s := range b.Tasks {
		if b.Key != "" {
			s.Key = fmt.Sprintf("%s/%d", b.Key, i)
		}
		t, err := f.Submit(ctx, s)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func (f *fake) Get(_ context.Context, ref string) (task.Task, error) {
	f.gets.Add(1)
	n := f.getting.Add(1)
	defer f.getting.Add(-1)
	for most := f.mostGets.Load(); n > most && !f.mostGets.CompareAndSwap(most, n); most = f.mostGets.Load() {
	}
	switch {
	case ref == "panic":
		panic("as asked")
	case ref == "hang" && f.first("hang"):
		die(syscall.SIGSTOP)
	case strings.HasPrefix(ref, "error "):
		return task.Task{}, fmt.Errorf("get it: %w", &task.Error{Code: task.Code(ref[6:]), Message: "no", Hint: "Do <this> & that…"})
	case ref == "plain error":
		return task.Task{}, errors.New("bad disk")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, t := range f.tasks {
		if string(id) == ref || t.Spec.Name != "" && t.Spec.Name == ref {
			t.Version = f.version
			return t, nil
		}
	}
	return task.Task{}, &task.Error{Code: task.CodeNotFound, Message: "no task " + ref, Hint: "`cctask list --all` shows what there is."}
}

func (f *fake) Show(ctx context.Context, l task.Look) (s task.Shown, err error) {
	t, err := f.Get(ctx, l.Ref)
	if err == nil {
		err = s.Set(t)
	}
	return s, err
}

func (f *fake) List(_ context.Context, q task.Filter) (task.Page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := task.Page{NextCursor: q.Cursor + q.Name}
	for _, t := range f.tasks {
		p.Tasks = append(p.Tasks, t)
	}
	return p, nil
}

func (f *fake) Wait(context.Context, engine.WaitQuery) ([]task.Task, error) {
	return nil, errors.New("a client waits by events")
}

func (f *fake) Output(ctx context.Context, q engine.OutputQuery) (task.Output, error) {
	if f.block != nil {
		close(f.blocked)
		select {
		case <-f.block:
		case <-ctx.Done():
			return task.Output{}, fmt.Errorf("read the stream: %w", ctx.Err())
		}
	}
	data := []byte("\x00\xff\xfe<&>\n" + q.Ref)
	return task.Output{Stream: q.Stream, Offset: q.Offset, Data: data, Size: 1 << 40, Done: true}, nil
}

// end moves a task and tells of it.
func (f *fake) end(id task.ID, to task.Status) task.Task {
	f.mu.Lock()
	t := f.tasks[id]
	t.Status = to
	f.version++
	f.record(logged{Task: t})
	v := f.version
	f.mu.Unlock()
	f.Publish(engine.Event{ID: id, Version: v, Ended: true})
	return t
}

// progress is a change that is no end.
func (f *fake) progress(id task.ID) {
	f.mu.Lock()
	f.version++
	v := f.version
	f.mu.Unlock()
	f.Publish(engine.Event{ID: id, Version: v})
}

func (f *fake) Cancel(_ context.Context, ref string) (task.Task, error) {
	return f.end(task.ID(ref), task.Cancelled), nil
}

func (f *fake) Resume(_ context.Context, a engine.Again) (task.Task, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again = append(f.again, a)
	return f.tasks[task.ID(a.Ref)], nil
}

func (f *fake) Retry(ctx context.Context, a engine.Again) (task.Task, error) { return f.Resume(ctx, a) }

func (f *fake) Edit(ctx context.Context, e engine.Edit) (task.Task, error) { return f.Get(ctx, e.Ref) }

func (f *fake) Groups(context.Context, *task.GroupChange) ([]task.Group, error) { return nil, nil }

func (f *fake) Gates(context.Context, string) ([]task.Gate, error) { return nil, nil }

func (f *fake) Budgets(context.Context) ([]task.Budget, error) { return nil, nil }

func (f *fake) Remove(ctx context.Context, ref string, force bool) error {
	t, err := f.Get(ctx, ref)
	if err != nil {
		return err
	}
	if !force {
		return &task.Error{Code: task.CodeConflict, Message: "live", Hint: "Force it."}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.record(logged{Task: t, Gone: true})
	if t.PromptHead == "die at removal" {
		die(syscall.SIGKILL)
	}
	return nil
}

func (f *fake) Watch(s engine.Scope) engine.Watch {
	f.follows.Add(1)
	return f.Subscribe(s)
}

// Stats counts no task as live, so that idle exits come soon, unless asked to.
func (f *fake) Policy() (task.Policy, error) { return task.Policy{MaxBudgetUSD: 7}, nil }

func (f *fake) Stats() engine.Stats {
	b, _ := os.ReadFile(filepath.Join(f.dir, "live"))
	return engine.Stats{Live: len(b)}
}

func (f *fake) Lost() error {
	if f.gone.Load() {
		return &task.Error{Code: task.CodeClosing, Message: "the database was removed or replaced"}
	}
	return nil
}

func (f *fake) Drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drained = true
}

func (f *fake) CancelAll(ctx context.Context) error {
	p, _ := f.List(ctx, task.Filter{})
	for _, t := range p.Tasks {
		f.end(t.ID, task.Cancelled)
	}
	return nil
}

func (f *fake) Inside(context.Context, task.Within) task.ID { return "" }

func (f *fake) Lent(context.Context, task.Within, []string) error { return nil }

func (f *fake) MayChange() error { return nil }

func (f *fake) Page(q task.DumpQuery) (task.DumpPage, error) {
	s := task.Snapshot{Task: task.Task{ID: q.IDs[0]}, Small: []task.Blob{{Data: []byte("\xff\x00")}}}
	return task.DumpPage{Tasks: []task.Snapshot{s}, After: q.After}, nil
}

func (f *fake) Stream(id task.ID, n int, s task.Stream, offset int64, limit int) ([]byte, error) {
	if id == "gone" {
		return nil, &task.Error{Code: task.CodeNotFound}
	}
	return fmt.Appendf(nil, "%s %d %s %d %d", id, n, s, offset, limit), nil
}

// Ended with "finish ID" completes a task.
func (f *fake) Ended(run string) {
	if id, ok := strings.CutPrefix(run, "finish "); ok {
		f.end(task.ID(id), task.Completed)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, run)
}

// daemonConfig is fake.json: how the re-executed test binary behaves as a daemon.
type daemonConfig struct {
	Version string
	IdleMS  int
	Hold    string // a FIFO that is read to its end before the daemon serves
	Fail    string // an error code that keeps it from serving
	Kills   int    // so many daemons are killed before they serve; -1: all
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "daemon" {
		os.Exit(daemonMain())
	}
	if len(os.Args) > 1 && os.Args[1] == "front" {
		os.Exit(frontMain(os.Args[2]))
	}
	os.Exit(m.Run())
}

func daemonMain() int {
	// Where a test wants to know, each process on the way to an owner says that it
	// was there; and a chain of them that start each other ends.
	stages := filepath.Join(strings.TrimPrefix(os.Args[2], "--dir="), "stages")
	if were, err := os.ReadFile(stages); err == nil {
		if err := appendLine(stages, os.Args[len(os.Args)-2]); err != nil || bytes.Count(were, []byte("\n")) > 20 {
			return 1
		}
	}
	if leave, err := Detach(); leave || err != nil {
		return 0
	}
	if err := runDaemon(); err != nil {
		Ready(err)
		fmt.Fprintln(os.Stderr, "daemon:", err)
		return 1
	}
	return 0
}

func runDaemon() error {
	dir := strings.TrimPrefix(os.Args[2], "--dir=")
	var cfg daemonConfig
	b, err := os.ReadFile(filepath.Join(dir, "fake.json"))
	if err == nil {
		err = json.Unmarshal(b, &cfg)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var s Settings
	if _, err := fmt.Sscanf(os.Args[3], "--jobs=%d", &s.Jobs); err != nil {
		return err
	}
	o, err := Acquire(context.Background(), dir, Lock{Version: cfg.Version, Settings: s, DB: filepath.Join(dir, "fake.log")})
	if err != nil {
		return err
	}
	defer func() { _ = o.Release() }()
	o.Log = func(line string) { fmt.Fprintln(os.Stderr, line) }
	if cfg.IdleMS > 0 {
		o.Idle = time.Duration(cfg.IdleMS) * time.Millisecond
	}
	switch {
	case cfg.Hold != "":
		if _, err := os.ReadFile(cfg.Hold); err != nil {
			return err
		}
	case cfg.Kills != 0 && kills(dir) != cfg.Kills:
		if err := appendLine(filepath.Join(dir, "kills"), "killed"); err != nil {
			return err
		}
		die(syscall.SIGKILL)
	case cfg.Fail != "":
		return &task.Error{Code: task.Code(cfg.Fail), Message: "asked to fail", Hint: "Do not ask."}
	}
	f, err := newFake(dir)
	if err != nil {
		return err
	}
	if err := appendLine(filepath.Join(dir, "owners"), fmt.Sprint(os.Getpid())); err != nil {
		return err
	}
	return o.Serve(context.Background(), f)
}

// kills counts the daemons that were killed while they started.
func kills(dir string) int {
	b, _ := os.ReadFile(filepath.Join(dir, "kills"))
	return bytes.Count(b, []byte("\n"))
}

func appendLine(path, line string) error {
	h, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = h.WriteString(line + "\n")
	return errors.Join(err, h.Close())
}

// frontMain is a process that asks once: it prints the owner and its task.
func frontMain(dir string) int {
	c := New(Config{Dir: dir, AutoStart: true})
	defer c.Close()
	t, err := c.Submit(context.Background(), submission("front"))
	if err == nil {
		t, err = c.Get(context.Background(), string(t.ID))
	}
	h, herr := c.Hello(context.Background())
	if err := errors.Join(err, herr); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(h.PID, t.ID)
	return 0
}

func submission(prompt string) engine.Submission {
	return engine.Submission{Spec: task.Spec{WorkingDir: "/", Claude: "/bin/claude"}, Prompt: prompt}
}
