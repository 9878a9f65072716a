package engine_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// noise does not get smaller by packing.
var noise = func() string {
	b := make([]byte, 200_000)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}()

// ended makes tasks of which one was interrupted.
func (w *world) ended() (ids []task.ID) {
	w.Helper()
	for _, prompt := range []string{"[[text a]]", "[[kill 9]]", "[[print " + noise + "]]", "[[error error_max_turns]]"} {
		id := w.submit(prompt)
		ids = append(ids, id)
		t, err := engine.WaitFor(w.ctx, w, string(id), ^uint64(0))
		w.must(err)
		if !t.Status.Ended() {
			w.Errorf("%s is %s", id, t.Status)
		}
	}
	return ids
}

func (w *world) kept(ids []task.ID) (kept []task.ID) {
	for _, id := range ids {
		_, err := w.Get(w.ctx, string(id))
		switch {
		case err == nil:
			kept = append(kept, id)
		case !errors.Is(err, task.ErrNotFound):
			w.Error(err)
		}
	}
	return kept
}

// The oldest go first, and an interrupted task is an ended one.
func TestRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ids := w.ended()
	for _, c := range []struct {
		keep task.KeepPolicy
		want int // how many of the four stay
	}{
		{task.KeepPolicy{}, 4},
		{task.KeepPolicy{Age: time.Hour, Count: 10, Size: 1 << 30}, 4},
		{task.KeepPolicy{Count: 3}, 3},
		{task.KeepPolicy{Size: 100_000}, 1},
		{task.KeepPolicy{Age: time.Nanosecond}, 0},
	} {
		w.Close()
		w.cfg.Keep = c.keep
		w.dayPassed()
		w.open()
		w.until("as many are left as are kept", func() bool { return len(w.kept(ids)) == c.want })
		for i, id := range w.kept(ids) {
			if want := ids[len(ids)-c.want+i]; id != want {
				t.Errorf("%+v: %s is kept, want %s", c.keep, id, want)
			}
		}
	}
}

// A task stays as long as another one works, or waits to work, in its session.
func TestRetentionSparesSessionsInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ids := w.ended()
	gate := fakeclaude.NewGate(t)
	running := w.submit(gate.Directive())
	open := w.reached(gate)
	defer open()
	queued := w.submit("[[text later]]")
	w.until("running", func() bool { t, err := w.Get(w.ctx, string(running)); return err == nil && t.Status == task.Running })
	w.Close()
	for user, of := range map[task.ID]task.ID{running: ids[1], queued: ids[2]} {
		u, err := w.store.DB.Task(user)
		w.must(err)
		u.SessionID = of.UUID()
		w.must(w.store.DB.Apply(task.Write{At: time.Now(), Task: &u}))
	}
	w.cfg.Keep = task.KeepPolicy{Age: time.Nanosecond}
	w.dayPassed()
	w.open()
	w.until("the others are gone", func() bool { return len(w.kept(ids)) <= 2 })
	if kept := w.kept(ids); len(kept) != 2 || kept[0] != ids[1] || kept[1] != ids[2] {
		t.Errorf("kept %v of %v", kept, ids)
	}
}

// A pass that would delete more than half waits a day, over all owners, and says
// so; then it goes, and each deletion is logged with its rule.
func TestSuspiciousRetentionWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ids := w.ended()
	w.Close()
	var log logLines
	w.cfg.Keep, w.cfg.Log = task.KeepPolicy{Count: 1}, zerolog.New(&log)
	for range 2 {
		w.open() // looks before it answers
		page, err := w.List(w.ctx, task.Filter{})
		w.must(err)
		if len(w.kept(ids)) != 4 || !strings.Contains(page.Note, "3 of 4 ended tasks (3 under keep-count=1): more than half at once") {
			t.Errorf("%d tasks are left, the list says %q", len(w.kept(ids)), page.Note)
		}
		w.Close()
	}
	if !log.has(`"level":"warn"`, "3 of 4 ended tasks") {
		t.Error("nothing about it in the log")
	}
	h, err := w.store.Hold()
	w.must(err)
	h.Since = h.Since.Add(-task.HoldTime)
	w.must(w.store.SetHold(h))
	w.open()
	w.until("one is left", func() bool { return len(w.kept(ids)) == 1 })
	w.until("the hold has ended", func() bool { h, err := w.store.Hold(); return err == nil && h.Since.IsZero() })
	for _, id := range ids[:3] {
		if !log.has(string(id), `"rule":"keep-count=1"`) {
			t.Errorf("the log does not say why %s was deleted", id)
		}
	}
}

// A day that has passed under one setting counts for no other, and where nothing
// is deleted any more no hold is left to count later.
func TestHoldIsOfItsRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ids := w.ended()
	w.Close()
	w.cfg.Keep = task.KeepPolicy{Count: 3}
	w.dayPassed()
	w.cfg.Keep = task.KeepPolicy{Age: time.Nanosecond}
	w.open()
	page, err := w.List(w.ctx, task.Filter{})
	w.must(err)
	if len(w.kept(ids)) != 4 || !strings.Contains(page.Note, "4 of 4 ended tasks (4 under keep-age=1ns)") {
		t.Errorf("%d tasks are left, the list says %q", len(w.kept(ids)), page.Note)
	}
	w.Close()
	w.cfg.Keep = task.KeepPolicy{}
	w.open()
	w.until("the hold has ended", func() bool { h, err := w.store.Hold(); return err == nil && h.Since.IsZero() })
}

// dayPassed records that what the policy would delete has waited for a day.
func (w *world) dayPassed() {
	w.Helper()
	d, err := w.store.Doom(w.cfg.Keep, time.Now())
	w.must(err)
	w.must(w.store.SetHold(task.Hold{Since: time.Now().Add(-task.HoldTime), Doom: d}))
}

// logLines is a log that is written and read at once.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

// has tells whether a line has all the words.
func (l *logLines) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.lines, func(line string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) })
	})
}
