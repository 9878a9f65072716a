package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
	"cctask/storage"
)

// store is the real one with faults: a hook that returns an error keeps the
// write from being made, or hides that it was.
type store struct {
	*storage.DB
	mu            sync.Mutex
	before, after func(w task.Write) error
	task          func(id task.ID) // after a record was read
	sealed        func(n int)
}

func (s *store) hooks() (before, after func(w task.Write) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.before, s.after
}

func (s *store) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *store) Apply(w task.Write) error {
	before, after := s.hooks()
	if before != nil {
		if err := before(w); err != nil {
			return err
		}
	}
	err := s.DB.Apply(w)
	if err == nil && after != nil {
		err = after(w)
	}
	return err
}

func (s *store) Task(id task.ID) (task.Task, error) {
	t, err := s.DB.Task(id)
	s.mu.Lock()
	hook := s.task
	s.mu.Unlock()
	if hook != nil {
		hook(id)
	}
	return t, err
}

func (s *store) Show(id task.ID, l task.Look) (task.Shown, error) {
	t, err := s.DB.Show(id, l)
	s.mu.Lock()
	hook := s.task
	s.mu.Unlock()
	if hook != nil {
		hook(id)
	}
	return t, err
}

func (s *store) Sealed(id task.ID, n int, st task.Stream) (int64, error) {
	s.mu.Lock()
	hook := s.sealed
	s.mu.Unlock()
	if hook != nil {
		hook(n)
	}
	return s.DB.Sealed(id, n, st)
}

// site is the real one with a fault at Start.
type site struct {
	engine.Site
	start func(ctx context.Context, name string, o runner.Order) (runner.Sight, error)
}

func (s *site) Start(ctx context.Context, name string, o runner.Order) (runner.Sight, error) {
	if s.start != nil {
		return s.start(ctx, name, o)
	}
	return s.Site.Start(ctx, name, o)
}

// hang bounds what takes long only if it hangs, however busy the machine is.
const hang = 5 * time.Minute

// world is a state directory with one owner after the other on it.
type world struct {
	*testing.T
	ctx               context.Context
	dir, home, claude string
	store             *store
	site              *site
	cfg               engine.Config
	lock              *os.File // of a run, held by the test
	*engine.Engine
}

func newWorld(t *testing.T, jobs int) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	w := &world{T: t, ctx: ctx, dir: t.TempDir(), home: t.TempDir(), claude: fakeclaude.Binary(t)}
	w.site = &site{Site: &runner.Local{Dir: w.dir}}
	w.must(os.Chmod(w.dir, 0o700))
	db, err := storage.Open(w.dir, storage.Options{})
	w.must(err)
	w.store = &store{DB: db}
	w.cfg = engine.Config{Dir: w.dir, Jobs: jobs, Grace: 200 * time.Millisecond, Log: zerolog.Nop()}
	w.open()
	t.Cleanup(func() {
		defer cancel()
		w.store.set(func() { w.store.before, w.store.after = nil, nil })
		if err := w.CancelAll(ctx); err != nil {
			t.Error(err)
		}
		w.Close()
		if left, _ := os.ReadDir(filepath.Join(w.dir, "run")); len(left) > 0 {
			t.Errorf("%d run directories are left, the first is %s", len(left), left[0].Name())
		}
		if err := db.Check(); err != nil {
			t.Error(err)
		}
		w.must(db.Close())
	})
	return w
}

func (w *world) open() {
	w.Helper()
	e, err := engine.New(w.cfg, w.store, w.site)
	w.must(err)
	w.Engine = e
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) env() []string {
	return []string{"HOME=" + w.home, fakeclaude.LogEnv + "=" + w.log()}
}

func (w *world) log() string { return filepath.Join(w.home, "log") }

func (w *world) submit(prompt string) task.ID {
	w.Helper()
	t, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: w.home, Claude: w.claude}, Prompt: prompt, Env: w.env()})
	w.must(err)
	return t.ID
}

func (w *world) end(id task.ID, want task.Status) task.Task {
	w.Helper()
	t, err := w.Wait(w.ctx, string(id), engine.UntilEnd)
	w.must(err)
	if t.Status != want {
		w.Errorf("task is %s, %q (%s); want %s", t.Status, t.Reason, t.Message, want)
	}
	return t
}

func (w *world) starts(want int) []fakeclaude.Entry {
	w.Helper()
	log, err := fakeclaude.ReadLog(w.log(), "start")
	w.must(err)
	if len(log) != want {
		w.Errorf("claude was started %d times, want %d", len(log), want)
	}
	return log
}

func (w *world) reached(g fakeclaude.Gate) (open func()) {
	w.Helper()
	open, err := g.Reached(w.ctx)
	w.must(err)
	return open
}

func (w *world) runDir(id task.ID, n string) string {
	return filepath.Join(w.dir, "run", string(id)+"."+n)
}

// run attaches to the run of a task's first attempt.
func (w *world) run(id task.ID) *runner.Run {
	w.Helper()
	r, err := runner.Open(w.runDir(id, "1"))
	w.must(err)
	return r
}

// until polls where nothing signals.
func (w *world) until(what string, ok func() bool) {
	w.Helper()
	for !ok() {
		select {
		case <-w.ctx.Done():
			w.Fatalf("%s: %v", what, w.ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// wrote makes a hook that fails the first n writes that fit.
func wrote(n int, err error, fits func(task.Write) bool) func(task.Write) error {
	var mu sync.Mutex
	return func(w task.Write) error {
		mu.Lock()
		defer mu.Unlock()
		if n == 0 || !fits(w) {
			return nil
		}
		n--
		return err
	}
}

func becomes(s task.Status) func(task.Write) bool {
	return func(w task.Write) bool { return w.Task != nil && w.Task.Status == s }
}

func seals(w task.Write) bool { return w.Task == nil && len(w.Chunks) > 0 }

func hasText(w *world, id task.ID, text string) {
	w.Helper()
	var all []byte
	for {
		out, err := w.Output(w.ctx, engine.OutputQuery{Ref: string(id), Stream: task.Stdout, Offset: int64(len(all))})
		w.must(err)
		all = append(all, out.Data...)
		if len(out.Data) == 0 || int64(len(all)) == out.Size {
			break
		}
	}
	if !strings.Contains(string(all), string(fakeclaude.Flood(floodSize))) || !strings.Contains(string(all), text) {
		w.Errorf("the output of %d bytes is not whole", len(all))
	}
}

const floodSize = 600_000
