package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

var errDead = errors.New("this owner is dead")

// death kills an owner as far as a process can do it to itself: from one step
// on nothing that it does is written any more.
type death struct {
	dead atomic.Bool
	died chan struct{}
}

func (d *death) strike() error {
	if !d.dead.Swap(true) {
		close(d.died)
	}
	return errDead
}

// at lets the owner die before or after the write that fits.
func (d *death) at(s *store, fits func(task.Write) bool, after bool) {
	s.before = func(w task.Write) error {
		if d.dead.Load() || !after && fits(w) {
			return d.strike()
		}
		return nil
	}
	s.after = func(w task.Write) error {
		if after && fits(w) {
			return d.strike()
		}
		return nil
	}
}

type deathCase struct {
	name  string
	fits  func(task.Write) bool
	after bool
	start bool // dies with the run directory made and no runner in it
	// between has the directory of the attempt while there is no owner.
	between func(w *world, id task.ID)
	opened  func(w *world, id task.ID) // after the next owner has recovered
	want    task.Status
	reason  task.FailureReason
	gated   bool // claude lives on over the death
	starts  int
}

func ends(w task.Write) bool { return w.Task != nil && w.Task.Status.Ended() }

func cancels(w task.Write) bool { return w.Task != nil && w.Task.CancelRequested }

func killRunner(w *world, id task.ID) {
	r := w.run(id)
	w.until("the runner has named itself", func() bool { rec, err := r.Record(); return err == nil && rec.ClaudePID != 0 })
	rec, err := r.Record()
	w.must(err)
	w.must(syscall.Kill(rec.RunnerPID, syscall.SIGKILL))
	w.must(r.Wait(w.ctx))
}

var deaths = []deathCase{
	{name: "before the claim", fits: becomes(task.Starting), want: task.Completed, starts: 1},
	{name: "after the claim", fits: becomes(task.Starting), after: true, want: task.Completed, starts: 1},
	{name: "with a run directory", fits: becomes(task.Running), start: true, want: task.Completed, starts: 1},
	{
		name: "with a run directory whose lock a dying fork still has", fits: becomes(task.Running), start: true, want: task.Completed, starts: 1,
		between: func(w *world, id task.ID) { w.lock = w.takeLock(id) },
		opened:  func(w *world, _ task.ID) { w.must(w.lock.Close()) },
	},
	{name: "launched", fits: becomes(task.Running), want: task.Completed, gated: true, starts: 1},
	{name: "launched, and ended", fits: becomes(task.Running), want: task.Completed, starts: 1, between: func(w *world, id task.ID) {
		w.must(w.run(id).Wait(w.ctx))
	}},
	{name: "launched, and the runner killed", fits: becomes(task.Running), want: task.Interrupted, gated: true, starts: 1, between: killRunner},
	{name: "launched, and the status record cannot be read", fits: becomes(task.Running), want: task.Interrupted, reason: task.ReasonInterrupted, gated: true, starts: 1, between: func(w *world, id task.ID) {
		killRunner(w, id)
		w.must(os.Remove(filepath.Join(w.runDir(id, "1"), "status")))
		w.must(os.Mkdir(filepath.Join(w.runDir(id, "1"), "status"), 0o700))
	}},
	{name: "running", fits: becomes(task.Running), after: true, want: task.Completed, gated: true, starts: 1},
	{name: "running, and the runner killed", fits: becomes(task.Running), after: true, want: task.Interrupted, gated: true, starts: 1, between: killRunner},
	{name: "running, and the run directory removed", fits: becomes(task.Running), after: true, want: task.Interrupted, gated: true, starts: 1, between: func(w *world, id task.ID) {
		w.must(os.RemoveAll(w.runDir(id, "1")))
	}},
	{name: "running, cancel requested", fits: cancels, after: true, want: task.Cancelled, reason: task.ReasonCancelled, gated: true, starts: 1},
	{name: "before a chunk", fits: seals, want: task.Completed, starts: 1},
	{name: "after a chunk", fits: seals, after: true, want: task.Completed, starts: 1},
	{name: "before the outcome", fits: ends, want: task.Completed, starts: 1},
	{name: "after the outcome", fits: ends, after: true, want: task.Completed, starts: 1},
	{name: "half-way through the removal", fits: ends, after: true, want: task.Completed, starts: 1, between: func(w *world, id task.ID) {
		w.must(os.Remove(filepath.Join(w.runDir(id, "1"), "status")))
		w.must(os.Remove(filepath.Join(w.runDir(id, "1"), "stdout")))
	}},
}

// prepare makes a run in which no runner is.
func (w *world) prepare(name string, o runner.Order) error {
	l := &runner.Launcher{}
	if err := os.MkdirAll(filepath.Join(w.root, "run"), 0o700); err != nil {
		return err
	}
	r, err := l.Prepare(filepath.Join(w.root, "run", name), o.Launch, o.Prompt)
	if err == nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, _ = l.Start(ctx, r, o.Env) // lets go of the lock, as a death does
	}
	return err
}

// takeLock takes the lock of a run as a process does that is about to execute.
func (w *world) takeLock(id task.ID) *os.File {
	f, err := os.OpenFile(filepath.Join(w.runDir(id, "1"), "lock"), os.O_RDWR, 0)
	w.must(err)
	w.must(syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	return f
}

// An owner dies at each of the eight steps. The next one brings the task to
// its end; claude never runs twice, and all of its output is there.
func TestDeathAtEachStep(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		for _, c := range deaths {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 1)
				gate := fakeclaude.NewGate(t)
				d := &death{died: make(chan struct{})}
				w.store.set(func() { d.at(w.store, c.fits, c.after) })
				if c.start {
					w.site.start = func(ctx context.Context, name string, o runner.Order) (runner.Sight, error) {
						w.must(w.prepare(name, o))
						err := d.strike()
						<-ctx.Done() // the dead do not clear up
						return runner.Sight{}, err
					}
				}
				prompt := "[[flood 600000]]"
				if c.gated {
					prompt += gate.Directive()
				}
				id := w.submit(prompt + "[[text answer]]")
				open := func() {}
				if c.gated {
					open = w.reached(gate)
				}
				if strings.Contains(c.name, "cancel") {
					w.until("running", func() bool { t, err := w.Get(w.ctx, string(id)); return err == nil && t.Status == task.Running })
					ctx, cancel := context.WithCancel(w.ctx)
					cancel()
					_, _ = w.Cancel(ctx, string(id))
				}
				<-d.died
				w.Close()
				if c.between != nil {
					c.between(w, id)
				}
				w.store.set(func() { w.store.before, w.store.after = nil, nil })
				w.site.start = nil
				w.open()
				if c.opened != nil {
					c.opened(w, id)
				}
				if c.want == task.Completed {
					open()
				}
				defer open() // what is not completed must be dead without it
				got := w.end(id, c.want)
				if c.reason != "" && got.Reason != c.reason {
					t.Errorf("reason %q, want %q", got.Reason, c.reason)
				}
				w.recovered(id, got, c.starts)
			})
		}
	})
}

func (w *world) recovered(id task.ID, got task.Task, starts int) {
	w.Helper()
	for _, e := range w.starts(starts) {
		w.until("claude is dead", func() bool { return syscall.Kill(e.PID, 0) != nil || zombie(e.PID) })
	}
	if got.Status == task.Completed {
		hasText(w, id, "answer")
		if got.Result == nil || *got.Result != "answer" || len(got.Attempts) != 1 || got.CostUSD != fakeclaude.DefaultCost {
			w.Errorf("answer %v, %d attempts, cost %v", got.Result, len(got.Attempts), got.CostUSD)
		}
	}
	w.until("the run directory is gone", func() bool {
		left, err := os.ReadDir(filepath.Join(w.root, "run"))
		return err == nil && len(left) == 0
	})
}

func zombie(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err != nil || strings.HasPrefix(rest, "Z")
}

// A directory that no record knows is stopped and kept for a person.
func TestUnknownRunIsSetAside(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 1)
		gate := fakeclaude.NewGate(t)
		id := w.submit(gate.Directive())
		open := w.reached(gate)
		defer open()
		w.until("running", func() bool { t, err := w.Get(w.ctx, string(id)); return err == nil && t.Status == task.Running })
		w.Close()
		w.must(w.store.Remove(id, task.ByRequest, time.Now()))
		w.open()
		w.until("it is set aside", func() bool { l, err := os.ReadDir(filepath.Join(w.root, "lost")); return err == nil && len(l) == 1 })
		for _, e := range w.starts(1) {
			w.until("claude is dead", func() bool { return zombie(e.PID) })
		}
	})
}

// An owner must come up on a full disk: only it can make room.
func TestRecoveryOnAFullDisk(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 1)
		d := &death{died: make(chan struct{})}
		w.store.set(func() { d.at(w.store, becomes(task.Starting), true) })
		id := w.submit("[[text answer]]")
		<-d.died
		w.Close()
		w.store.set(func() {
			w.store.after, w.store.before = nil, wrote(3, task.ErrNoSpace, func(task.Write) bool { return true })
		})
		w.open()
		w.end(id, task.Completed)
		w.starts(1)
	})
}

// A task that ended while there was no owner ended then, and not when the next
// owner came.
func TestEndedWhileNobodyLooked(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 1)
		d := &death{died: make(chan struct{})}
		w.store.set(func() { d.at(w.store, becomes(task.Running), true) })
		gate := fakeclaude.NewGate(t)
		id := w.submit(gate.Directive() + "[[text answer]]")
		open := w.reached(gate)
		<-d.died
		w.Close()
		open()
		w.must(w.run(id).Wait(w.ctx))
		restarted := time.Now()
		w.store.set(func() { w.store.before, w.store.after = nil, nil })
		w.open()
		if got := w.end(id, task.Completed); !got.FinishedAt.Before(restarted) || got.FinishedAt.Before(got.StartedAt) {
			t.Errorf("started %v, finished %v; the owner came back at %v", got.StartedAt, got.FinishedAt, restarted)
		}
	})
}

// An owner that starts does not read what waits: of 100,000 that took seconds.
func TestTheQueueIsNotReadToLoadIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	gate := fakeclaude.NewGate(t)
	w.submit(gate.Directive())
	open := w.reached(gate)
	var queued []task.ID
	for range 3 {
		queued = append(queued, w.submit("[[text x]]"))
	}
	w.Close()
	var mu sync.Mutex
	reads := map[task.ID]int{}
	w.store.set(func() { w.store.task = func(id task.ID) { mu.Lock(); reads[id]++; mu.Unlock() } })
	w.open()
	mu.Lock()
	for _, id := range queued {
		if reads[id] > 0 {
			t.Errorf("the record of a queued task was read %d times", reads[id])
		}
	}
	mu.Unlock()
	w.store.set(func() { w.store.task = nil })
	for i, id := range queued {
		got, err := w.Get(w.ctx, string(id))
		if err != nil || got.QueuePosition != i+1 {
			t.Errorf("position %d, %v, want %d", got.QueuePosition, err, i+1)
		}
	}
	open()
	for _, id := range queued {
		w.end(id, task.Completed)
	}
}
