package engine_test

import (
	"os"
	"testing"
	"time"

	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// A claude that says nothing costs its owner nothing: what it prints, and its end, are told. Looks
// are rare from then on.
func TestGrowthIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.Close()
	w.site.looks = make(chan map[string]runner.Sight)
	w.open()
	gate := fakeclaude.NewGate(t)
	id := w.submit("[[text first]]" + gate.Directive() + "[[text second]]")
	open := w.reached(gate)
	for told := false; !told; {
		for _, s := range <-w.site.looks {
			told = s.Told
		}
	}
	began, looks := time.Now(), 0
	done := make(chan task.Task)
	go func() {
		open()
		done <- w.end(id, task.Completed)
	}()
	for {
		select {
		case <-w.site.looks:
			looks++
			continue
		case got := <-done:
			if p := got.Result; p == nil || *p != "second" {
				t.Errorf("the answer is %v", p)
			}
		}
		break
	}
	if most := 1 + int(time.Since(began)/(2*time.Second)); looks > most {
		t.Errorf("%d looks in %v", looks, time.Since(began))
	}
}

// Somebody removes the directory of a run of which only rare looks are made: it ends at once.
func TestRemovalIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.Close()
	w.site.looks = make(chan map[string]runner.Sight)
	w.open()
	gate := fakeclaude.NewGate(t)
	id := w.submit("[[text first]]" + gate.Directive())
	open := w.reached(gate)
	defer open()
	for told := false; !told; {
		for _, s := range <-w.site.looks {
			told = s.Told
		}
	}
	w.must(os.RemoveAll(w.runDir(id, "1")))
	w.end(id, task.Interrupted)
}
