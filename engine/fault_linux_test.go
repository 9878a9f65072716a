package engine_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// A full disk at any step costs time, and nothing else.
func TestFullDiskAtEachStep(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		for name, fits := range map[string]func(task.Write) bool{
			"claim": becomes(task.Starting), "running": becomes(task.Running), "chunk": seals, "outcome": ends,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 1)
				w.store.set(func() { w.store.before = wrote(2, task.ErrNoSpace, fits) })
				id := w.submit("[[flood 600000]][[text answer]]")
				w.recovered(id, w.end(id, task.Completed), 1)
			})
		}
	})
}

// While nothing can be recorded, each task that has not ended says why it stands.
func TestFullDiskIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	gate := fakeclaude.NewGate(t)
	id := w.submit(gate.Directive() + "[[text answer]]")
	open := w.reached(gate)
	next := w.submit("[[text next]]")
	full := make(chan struct{})
	w.store.set(func() {
		w.store.before = func(task.Write) error {
			select {
			case <-full:
				return nil
			default:
			}
			// Of anything: what gets through would be news that there is space.
			return &task.Error{Code: task.CodeNoSpace, Message: "write tasks.db"}
		}
	})
	open()
	says := func(id task.ID) string {
		t, err := w.Get(w.ctx, string(id))
		w.must(err)
		return t.Message
	}
	const want = "the disk is full, so that nothing can be recorded until there is space: write tasks.db"
	w.until("the task tells of the disk", func() bool { return says(id) == want })
	if got := says(next); got != want {
		t.Errorf("the one that waits says %q", got)
	}
	w.until("what cannot be recorded is safe from a power loss", func() bool {
		rec, err := w.run(id).Record()
		return err == nil && rec.State == runner.StateEnded && rec.Boot == ""
	})
	close(full)
	if got := w.end(id, task.Completed); got.Message != "" {
		t.Errorf("in the end it says %q", got.Message)
	}
	w.end(next, task.Completed)
}

// What fills the disk may be the task itself: it can be cancelled all the same.
func TestCancelOnAFullDisk(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 1)
		gate := fakeclaude.NewGate(t)
		id := w.submit(gate.Directive())
		defer w.reached(gate)()
		w.store.set(func() {
			w.store.before = wrote(3, task.ErrNoSpace, func(w task.Write) bool { return w.Task != nil && w.Task.Status == task.Running })
		})
		got, err := w.Cancel(w.ctx, string(id))
		if err != nil || got.Status != task.Cancelled {
			t.Errorf("cancel: %s, %v", got.Status, err)
		}
	})
}

// The parent of all run directories comes back if somebody removed it.
func TestRunDirectoriesVanish(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 1)
		w.must(os.RemoveAll(w.root + "/run"))
		w.end(w.submit("[[text x]]"), task.Completed)
	})
}

// A launch that failed without descriptors cannot remove what it made.
func TestLeftoverOfAFailedLaunch(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 1)
		gate := fakeclaude.NewGate(t)
		w.submit(gate.Directive())
		open := w.reached(gate)
		id := w.submit("[[text x]]")
		w.must(os.Mkdir(w.runDir(id, "1"), 0o700))
		open()
		w.end(id, task.Completed)
	})
}

// The spool is gone from under a live task.
func TestRunDirectoryVanishes(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 1)
		gate := fakeclaude.NewGate(t)
		// Without a result: the owner may have the files open, and read on.
		id := w.submit(gate.Directive() + "[[text x]][[no-result]]")
		open := w.reached(gate)
		w.until("running", func() bool { t, err := w.Get(w.ctx, string(id)); return err == nil && t.Status == task.Running })
		w.must(os.RemoveAll(w.runDir(id, "1")))
		open()
		got := w.end(id, task.Interrupted)
		if !got.CostUncertain || got.FinishedAt.IsZero() {
			t.Errorf("cost uncertain: %v, finished %v", got.CostUncertain, got.FinishedAt)
		}
	})
}

// `echo x > /dev/stderr` in a child of claude's cuts the file.
func TestSpoolIsCut(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 1)
		gate := fakeclaude.NewGate(t)
		id := w.submit("[[flood-stderr 600000]]" + gate.Directive() + "[[text x]]")
		open := w.reached(gate)
		w.until("two chunks are sealed", func() bool {
			n, err := w.store.DB.Sealed(id, 1, task.Stderr)
			return err == nil && n == 2*engine.ChunkSize
		})
		w.must(os.Truncate(w.run(id).Stderr(), 0))
		open()
		if got := w.end(id, task.Completed); got.StderrBytes != 2*engine.ChunkSize {
			t.Errorf("stderr has %d bytes", got.StderrBytes)
		}
	})
}

// signalLog tells when a line with a text is logged.
type signalLog struct {
	text string
	once sync.Once
	seen chan struct{}
}

func (l *signalLog) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(l.text)) {
		l.once.Do(func() { close(l.seen) })
	}
	return len(b), nil
}

// Not parallel: it takes all descriptors of this process.
func TestOutOfDescriptorsAtTheEnd(t *testing.T) {
	w := newWorld(t, 1)
	w.Close()
	log := &signalLog{text: "trying again", seen: make(chan struct{})}
	w.cfg.Log = zerolog.New(log)
	w.open()
	gate := fakeclaude.NewGate(t)
	id := w.submit("[[text answer]]" + gate.Directive())
	open := w.reached(gate)
	w.until("its output is followed", func() bool {
		t, err := w.Get(w.ctx, string(id))
		return err == nil && t.Progress != nil && t.Progress.Events > 0
	})
	ended := w.Watch(engine.Scope{IDs: []task.ID{id}, Ends: true})
	defer ended.Close()
	var was syscall.Rlimit
	w.must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	w.must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: was.Max}))
	open()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			evs, err := ended.Next(w.ctx)
			if err != nil || len(evs) > 0 {
				return
			}
		}
	}()
	select {
	case <-log.seen:
	case <-done:
	}
	w.must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was))
	w.end(id, task.Completed)
}

// A launch that fails for want of processes is made again, in its turn, with
// its environment.
func TestLaunchThatTheMachineRefuses(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{
		"no runner": runner.ErrNotStarted,
		"no claude": &runner.SpawnError{Op: "fork", Path: "claude", Err: "resource temporarily unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			var once sync.Once
			refused := make(chan struct{})
			w.site.start = func(ctx context.Context, name string, o runner.Order) (runner.Sight, error) {
				err := error(nil)
				once.Do(func() { err = refusal; close(refused) })
				if err != nil {
					return runner.Sight{}, err
				}
				return w.site.Site.Start(ctx, name, o)
			}
			first := w.submit("[[text a]]")
			<-refused
			w.until("it waits", func() bool {
				t, err := w.Get(w.ctx, string(first))
				return err == nil && t.Status == task.Queued && t.QueuePosition == 1
			})
			second := w.submit("[[text b]]")
			a, b := w.end(first, task.Completed), w.end(second, task.Completed)
			if b.StartedAt.Before(a.StartedAt) {
				t.Errorf("the second started at %v, the first at %v", b.StartedAt, a.StartedAt)
			}
			if !strings.Contains(a.History[2].Reason, "waits for the machine") {
				t.Errorf("history %+v", a.History)
			}
		})
	}
}

// An owner that leaves while the pool rests does not wait for it.
func TestCloseWhileThePoolRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // to wait would let the bubble's time go on
		w := newWorld(t, 1)
		w.site.start = func(context.Context, string, runner.Order) (runner.Sight, error) {
			return runner.Sight{}, runner.ErrNotStarted
		}
		id := w.submit("[[text a]]")
		w.until("it was refused", func() bool {
			t, err := w.Get(w.ctx, string(id))
			return err == nil && t.Status == task.Queued && len(t.History) > 1
		})
		w.Drain()
		begin := time.Now()
		w.Close()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Close took %v", took)
		}
		w.open()
	})
}
