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
	"cctask/internal/testkit/farsite"
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
	looks         chan []task.Notice // what the engine saw in the outbox; nil: nobody asks
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

func (s *store) Apply(ws ...task.Write) error {
	before, after := s.hooks()
	for _, w := range ws {
		if before != nil {
			if err := before(w); err != nil {
				return err
			}
		}
	}
	err := s.DB.Apply(ws...)
	for _, w := range ws {
		if err == nil && after != nil {
			err = after(w)
		}
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
	looks chan map[string]runner.Sight // each look's answer, if somebody takes it
}

func (s *site) Look(ctx context.Context, names ...string) (map[string]runner.Sight, error) {
	seen, err := s.Site.Look(ctx, names...)
	select {
	case s.looks <- seen:
	default:
	}
	return seen, err
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
	root              string          // what the runs stand in; dir on this machine
	farConfig         *farsite.Config // nil on this machine
	far               *farsite.Site   // of this owner
	store             *store
	site              *site
	cfg               engine.Config
	lock              *os.File // of a run, held by the test
	*engine.Engine
}

type worlds func(t *testing.T, jobs int) *world

// onEachSite runs a test with worlds whose runs are on this machine, and with ones
// whose runs are on a far site.
func onEachSite(t *testing.T, test func(t *testing.T, newWorld worlds)) {
	t.Parallel()
	t.Run("local", func(t *testing.T) { test(t, newWorld) })
	t.Run("far", func(t *testing.T) {
		test(t, func(t *testing.T, jobs int) *world { return newFarWorld(t, jobs, farConfig) })
	})
}

// farConfig is a host that lets its starts wait, and does not always answer.
var farConfig = farsite.Config{Room: time.Second, Blind: 7}

func newWorld(t *testing.T, jobs int) *world {
	t.Helper()
	dir := t.TempDir()
	return build(t, &world{dir: dir, root: dir, site: &site{Site: &runner.Local{Dir: dir}}}, jobs, nil)
}

func newFarWorld(t *testing.T, jobs int, c farsite.Config) *world {
	t.Helper()
	c.Root = t.TempDir()
	return build(t, &world{dir: t.TempDir(), root: c.Root, site: &site{}}, jobs, &c)
}

func build(t *testing.T, w *world, jobs int, far *farsite.Config) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	w.T, w.ctx, w.home, w.claude, w.farConfig = t, ctx, t.TempDir(), fakeclaude.Binary(t), far
	w.must(os.Chmod(w.dir, 0o700))
	db, err := storage.Open(w.dir, storage.Options{})
	w.must(err)
	w.store = &store{DB: db}
	w.cfg = engine.Config{Dir: w.dir, Jobs: jobs, Grace: 200 * time.Millisecond, Startup: hang, Answered: hang, Log: zerolog.Nop(), Retry: noRetries}
	w.open()
	t.Cleanup(func() {
		defer cancel()
		w.store.set(func() { w.store.before, w.store.after = nil, nil })
		if err := w.CancelAll(ctx); err != nil {
			t.Error(err)
		}
		w.Close()
		if w.far != nil {
			w.far.Close()
		}
		if left, _ := os.ReadDir(filepath.Join(w.root, "run")); len(left) > 0 {
			t.Errorf("%d run directories are left, the first is %s", len(left), left[0].Name())
		}
		if err := db.Check(); err != nil {
			t.Error(err)
		}
		w.must(db.Close())
	})
	return w
}

// noRetries lets every end stand: most tests are about one.
func noRetries() task.RetryPolicy { return task.RetryPolicy{"": {Attempts: new(int)}} }

// open is the next owner. With an owner goes its pipe to a far site.
func (w *world) open() {
	w.Helper()
	if w.farConfig != nil {
		if w.far != nil {
			w.far.Close()
		}
		far, err := farsite.Open(*w.farConfig)
		w.must(err)
		w.far, w.site.Site = far, far
	}
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
	t, err := engine.WaitFor(w.ctx, w, string(id), engine.UntilEnd)
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
	return filepath.Join(w.root, "run", string(id)+"."+n)
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

// becomes tells of the commit that records a status; of running that may be the one of
// the end.
func becomes(s task.Status) func(task.Write) bool {
	return func(w task.Write) bool {
		if w.Task == nil || w.Task.Status == s {
			return w.Task != nil
		}
		h := w.Task.History
		return s == task.Running && w.Task.Status.Ended() && len(h) > 1 && h[len(h)-2].To == s
	}
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
