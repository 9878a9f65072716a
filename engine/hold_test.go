package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
	"cctask/internal/testkit/storagetest"
	"cctask/storage"
)

// wrap puts a script in the place of claude, and gives an environment that
// finds its interpreter.
func (w *world) wrap(firstLine string) (bin string, env []string) {
	w.Helper()
	bin = w.TempDir()
	w.must(os.Symlink("/bin/sh", filepath.Join(bin, "shell")))
	real := w.claude
	w.claude = filepath.Join(bin, "claude")
	text := strings.ReplaceAll(firstLine, "BIN", bin) + "\nexec " + real + ` "$@"` + "\n"
	w.must(os.WriteFile(w.claude, []byte(text), 0o755))
	return bin, append(w.env(), "PATH="+bin)
}

func (w *world) move(file string) (back func()) {
	w.Helper()
	w.must(os.Rename(file, file+".old"))
	return func() { w.must(os.Rename(file+".old", file)) }
}

// An update takes claude away for a moment: what waits goes on waiting, says for
// what, and runs once it is back, each task once and in its turn.
func TestQueueHoldsWhileClaudeIsAway(t *testing.T) {
	t.Parallel()
	const byPath, byEnv = "#!BIN/shell", "#!/usr/bin/env shell"
	for name, tt := range map[string]struct {
		firstLine string
		away      func(w *world, bin string) (back func())
		says      string
	}{
		"moved": {byPath, func(w *world, _ string) func() { return w.move(w.claude) }, "claude: no such file or directory"},
		"not executable": {byPath, func(w *world, _ string) func() {
			w.must(os.Chmod(w.claude, 0o644))
			return func() { w.must(os.Chmod(w.claude, 0o755)) }
		}, "is not an executable file"},
		"written anew": {byPath, func(w *world, _ string) func() {
			text, err := os.ReadFile(w.claude)
			w.must(err)
			w.must(os.Truncate(w.claude, 0))
			return func() { w.must(os.WriteFile(w.claude, text, 0o755)) }
		}, "is empty"},
		"interpreter moved": {byPath, func(w *world, bin string) func() { return w.move(bin + "/shell") }, "claude needs "},
		"on PATH":           {byEnv, func(w *world, bin string) func() { return w.move(bin + "/shell") }, "needs shell, which is nowhere on PATH"},
		"with an option":    {"#!/usr/bin/env -S shell -e", func(w *world, bin string) func() { return w.move(bin + "/shell") }, "needs shell, which"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			bin, env := w.wrap(tt.firstLine)
			submit := func(prompt string) task.ID {
				t.Helper()
				got, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: w.home, Claude: w.claude}, Prompt: prompt, Env: env})
				w.must(err)
				return got.ID
			}
			gate := fakeclaude.NewGate(t)
			first := submit(gate.Directive())
			open := w.reached(gate)
			var queued []task.ID
			for range 4 {
				queued = append(queued, submit("[[text x]]"))
			}
			back := tt.away(w, bin)
			open()
			w.end(first, task.Completed)
			w.until("all say for what they wait", func() bool {
				return !slices.ContainsFunc(queued, func(id task.ID) bool {
					got, err := w.Get(w.ctx, string(id))
					w.must(err)
					return got.Status != task.Queued || !strings.Contains(got.Message, "waits for claude: ") || !strings.Contains(got.Message, tt.says)
				})
			})
			back()
			var last time.Time
			for _, id := range queued {
				got := w.end(id, task.Completed)
				// Without starts that were none.
				if got.Message != "" || len(got.History) != 4 || got.StartedAt.Before(last) {
					t.Errorf("%q, started %v, history %+v", got.Message, got.StartedAt, got.History)
				}
				last = got.StartedAt
			}
			w.starts(5)
		})
	}
}

// Only the system can tell that a file is being written.
func TestClaudeIsBusy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	var mu sync.Mutex
	tries := map[string]int{}
	w.site.start = func(ctx context.Context, name string, o runner.Order) (runner.Sight, error) {
		mu.Lock()
		tries[name]++
		busy := len(tries) < 3 && tries[name] < 2
		mu.Unlock()
		if busy {
			return runner.Sight{}, &runner.SpawnError{Op: "exec", Path: w.claude, Err: "text file busy"}
		}
		return w.site.Site.Start(ctx, name, o)
	}
	ids := []task.ID{w.submit("[[text a]]"), w.submit("[[text b]]"), w.submit("[[text c]]")}
	for i, id := range ids {
		got := w.end(id, task.Completed)
		if said := strings.Contains(got.History[2].Reason, "waits for claude: exec "+w.claude+": text file busy"); said != (i < 2) {
			t.Errorf("task %d: history %+v", i, got.History)
		}
	}
	w.starts(3)
}

// Another claude is not held up.
func TestOneClaudeIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	gate := fakeclaude.NewGate(t)
	w.submit(gate.Directive())
	open := w.reached(gate)
	here := w.claude
	w.wrap("#!BIN/shell")
	held := w.submit("[[text x]]")
	back := w.move(w.claude)
	open()
	w.until("it waits", func() bool {
		got, err := w.Get(w.ctx, string(held))
		return err == nil && strings.HasPrefix(got.Message, "waits for claude")
	})
	w.claude = here
	w.end(w.submit("[[text y]]"), task.Completed)
	// For the moment of a look it is not in the queue.
	w.until("it is the first in the queue", func() bool {
		got, err := w.Get(w.ctx, string(held))
		return err == nil && got.Status == task.Queued && got.QueuePosition == 1
	})
	// Nor is a cancel.
	if got, err := w.Cancel(w.ctx, string(held)); err != nil || got.Status != task.Cancelled {
		t.Errorf("%s, %v", got.Status, err)
	}
	back()
}

// A claude that does not come back fails one task after the other, each after it
// has waited for two minutes at the head. The tasks are an earlier owner's.
func TestClaudeStaysAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	spec := task.Spec{WorkingDir: t.TempDir(), Claude: filepath.Join(dir, "claude")}
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ids := storagetest.Fill(t, db, 5, time.Now(), func(_ int, w *task.Write) { *w = waits(w.Task, spec) })
	if _, err := db.Prompt(ids[0], 1); err != nil { // what it starts is not the bubble's
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		db, err := storage.Open(dir, storage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		e, err := engine.New(engine.Config{Dir: dir, Jobs: 3, Log: zerolog.Nop(), Retry: noRetries}, db, &runner.Local{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		show := func(id task.ID) task.Task {
			t.Helper()
			got, err := e.Get(t.Context(), string(id))
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		for i, id := range ids {
			for show(id).Status == task.Queued {
				for place, id := range ids[i:] {
					got := show(id)
					if time.Since(begin) > 0 && (got.QueuePosition != place+1 || got.Message != "waits for claude: "+spec.Claude+": no such file or directory") {
						t.Fatalf("%s at %d, %q; want %d", got.Status, got.QueuePosition, got.Message, place+1)
					}
				}
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
			got := show(id)
			if got.Status != task.Failed || got.Reason != task.ReasonSpawnFailed || !strings.Contains(got.Message, "no such file or directory") {
				t.Errorf("task %d: %s, %s, %q", i, got.Status, got.Reason, got.Message)
			}
			if took := got.FinishedAt.Sub(begin); took < 2*time.Minute || took > 2*time.Minute+15*time.Second {
				t.Errorf("task %d failed after %v at the head", i, took)
			}
			begin = got.FinishedAt
		}
		e.Close()
		if err := db.Check(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}
