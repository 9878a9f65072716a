package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// chaos is a world with the fake claude, whose log tells how often each task
// was started.
func newChaos(t *testing.T, extra ...string) *world {
	t.Helper()
	return newWorldWith(t, nil, fakeclaude.Binary(t), extra...)
}

func (w *world) fakeLog() string { return filepath.Join(w.Home, "fake.log") }

// starts counts the starts of each session in the fake's log.
func (w *world) starts() map[string]int {
	w.T.Helper()
	entries, err := fakeclaude.ReadLog(w.fakeLog(), "start")
	must(w.T, err)
	n := map[string]int{}
	for _, e := range entries {
		for _, arg := range e.Args {
			if id, ok := strings.CutPrefix(arg, "--session-id="); ok {
				n[id]++
			}
		}
	}
	return n
}

// killOwners kills the owner at random moments until stopped, and tells how often.
func (w *world) killOwners(stop <-chan struct{}) int {
	kills := 0
	for {
		select {
		case <-stop:
			return kills
		case <-time.After(time.Duration(rand.IntN(250)) * time.Millisecond):
		}
		for _, pid := range w.Matching("cctask daemon") {
			if p, err := os.FindProcess(pid); err == nil && p.Kill() == nil {
				kills++
			}
		}
	}
}

// killAnything kills a process of the world, whichever, until stopped.
func (w *world) killAnything(stop <-chan struct{}) int {
	kills := 0
	for {
		select {
		case <-stop:
			return kills
		case <-time.After(time.Duration(rand.IntN(100)) * time.Millisecond):
		}
		all := w.Processes()
		if len(all) == 0 {
			continue
		}
		if p, err := os.FindProcess(all[rand.IntN(len(all))].PID); err == nil && p.Kill() == nil {
			kills++
		}
	}
}

// startAll starts tasks from four fronts at once and returns the acknowledged
// ids. A front that is killed, or whose owners are, has acknowledged nothing and
// is run again.
func (w *world) startAll(tasks int, prompt func(i int) string) []string {
	w.T.Helper()
	ids := make([]string, tasks)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(tasks); i = next.Add(1) - 1 {
				for try := 0; ids[i] == ""; try++ {
					r := w.CCTask("start", "--", prompt(int(i)))
					ids[i] = strings.TrimSpace(r.Stdout)
					if try == 20 {
						w.T.Error(r)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	return ids
}

// Owners die at random moments, in starts, launches, ends and commits alike.
// No acknowledged task may be lost, run twice, or end otherwise than it did.
func chaosOfOwners(t *testing.T, tasks int) {
	w := newChaos(t, "CCTASK_JOBS=8")
	w.Env = append(w.Env, fakeclaude.LogEnv+"="+w.fakeLog())
	stop, killed := make(chan struct{}), make(chan int)
	go func() { killed <- w.killOwners(stop) }()
	ids := w.startAll(tasks, func(i int) string {
		return fmt.Sprintf("[[text begin %d]][[flood %d]][[delay %dms]][[text answer %d]]", i, rand.IntN(600_000), rand.IntN(100), i)
	})
	close(stop)
	kills := <-killed
	if t.Failed() {
		return
	}
	starts := w.starts()
	w.waitAll()
	for i, id := range ids {
		v := w.View(id)
		if v.Status != task.Completed || v.Result == nil || *v.Result != fmt.Sprintf("answer %d", i) {
			t.Errorf("task %d %s: %s %v: %s", i, ids[i], v.Status, deref(v.Result), v.StatusMessage)
		}
		if v.Stdout != nil {
			if raw := w.CCTask("logs", ids[i], "--raw").Stdout; int64(len(raw)) != v.Stdout.Bytes || !strings.Contains(raw, fmt.Sprintf("begin %d", i)) {
				t.Errorf("task %d: %d bytes of %d", i, len(raw), v.Stdout.Bytes)
			}
		}
	}
	for id, n := range w.starts() {
		if n != 1 {
			t.Errorf("session %s was started %d times", id, n)
		}
	}
	t.Logf("%d tasks came through %d SIGKILLs of owners (%d had started when the killing ended)", tasks, kills, len(starts))
}

func TestChaosOfOwners(t *testing.T) { t.Parallel(); chaosOfOwners(t, 40) }

func TestHeavyChaosOfOwners(t *testing.T) {
	if os.Getenv("CCTASK_HEAVY") == "" {
		t.Skip("make test-heavy runs this")
	}
	chaosOfOwners(t, 1500)
}

// waitAll waits until nothing is queued or running, however long that takes.
func (w *world) waitAll() {
	w.T.Helper()
	for r := w.CCTask("wait", "--timeout", "60"); r.Code != 0 && r.Code != 3; r = w.CCTask("wait", "--timeout", "60") {
		if r.Code != 4 {
			w.T.Fatal(r)
		}
	}
}

// Everything dies at random, runners and claudes too. A task may be interrupted
// then, but never lost, never run twice, and nothing may be left of it.
func chaosOfAll(t *testing.T, tasks int) {
	w := newChaos(t, "CCTASK_JOBS=8")
	w.Env = append(w.Env, fakeclaude.LogEnv+"="+w.fakeLog())
	stop, killed := make(chan struct{}), make(chan int)
	go func() { killed <- w.killAnything(stop) }()
	ids := w.startAll(tasks, func(i int) string {
		return fmt.Sprintf("[[text begin]][[orphan plain]][[orphan setsid]][[flood %d]][[delay %dms]][[text answer %d]]", rand.IntN(300_000), rand.IntN(200), i)
	})
	close(stop)
	kills := <-killed
	ends := map[task.Status]int{}
	w.waitAll()
	for i, id := range ids {
		v := w.View(id)
		ends[v.Status]++
		switch v.Status {
		case task.Completed:
			if v.Result == nil || *v.Result != fmt.Sprintf("answer %d", i) {
				t.Errorf("task %d: %v", i, deref(v.Result))
			}
		case task.Interrupted:
		case task.Queued, task.Starting, task.Running, task.Failed, task.Timeout, task.Cancelled, task.Skipped:
			t.Errorf("task %d: %s %s: %s", i, v.Status, v.FailureReason, v.StatusMessage)
		}
	}
	for id, n := range w.starts() {
		if n != 1 {
			t.Errorf("session %s was started %d times", id, n)
		}
	}
	t.Logf("%d tasks, %d SIGKILLs of anything: %v", tasks, kills, ends)
	w.Eventually(func() bool { return len(w.Matching("claude")) == 0 }, "left: %v", w.Matching("claude"))
}

func TestChaosOfAll(t *testing.T) { t.Parallel(); chaosOfAll(t, 60) }

func TestHeavyChaosOfAll(t *testing.T) {
	if os.Getenv("CCTASK_HEAVY") == "" {
		t.Skip("make test-heavy runs this")
	}
	chaosOfAll(t, 1000)
}
