package engine_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
	"cctask/internal/testkit/farsite"
)

func (w *world) says(id task.ID, text string) {
	w.Helper()
	w.until("it says "+text, func() bool {
		t, err := w.Get(w.ctx, string(id))
		w.must(err)
		return strings.Contains(t.Message, text)
	})
}

func (w *world) runs(id task.ID) {
	w.Helper()
	w.until("running", func() bool { t, err := w.Get(w.ctx, string(id)); return err == nil && t.Status == task.Running })
}

// crowded is a host that is full until the test makes room.
var crowded = farsite.Config{Room: time.Hour}

// makeRoom lets starts begin over there until full is called.
func (w *world) makeRoom() (full func()) {
	w.Helper()
	end, err := w.far.MakeRoom()
	w.must(err)
	return func() { w.Helper(); w.must(end()) }
}

// A start that waits for room is no start that failed, whoever the owner is.
func TestPending(t *testing.T) {
	t.Parallel()
	w := newFarWorld(t, 1, crowded)
	id := w.submit("[[text answer]]")
	w.says(id, "waits for room: Resources")
	w.Close()
	w.open()
	w.says(id, "waits for room: Resources")
	w.makeRoom()
	got := w.end(id, task.Completed)
	if a := got.Attempts[0]; a.Site != "far" || a.Host != "far-host" || a.Job == "" || got.Message != "" || len(got.Attempts) != 1 {
		t.Errorf("message %q, attempts %+v", got.Message, got.Attempts)
	}
	w.starts(1)
}

// What waits for room is cancelled without a trace, by this owner and by the next.
func TestCancelOfAPending(t *testing.T) {
	t.Parallel()
	for _, next := range []bool{false, true} {
		w := newFarWorld(t, 2, crowded)
		id := w.submit("[[text never]]")
		w.says(id, "waits for room")
		if next {
			w.Close()
			w.open()
		}
		got, err := w.Cancel(w.ctx, string(id))
		if err != nil || got.Status != task.Cancelled || got.Reason != task.ReasonCancelled || got.Message != "cancelled before it started" || got.CostUncertain || !got.StartedAt.IsZero() {
			t.Errorf("%s, %s, %q, %v", got.Status, got.Reason, got.Message, err)
		}
		w.starts(0)
	}
}

// A start that fails over there is told as one here, though it was pending first.
func TestSpawnFailsWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	w := newFarWorld(t, 1, crowded)
	dir := filepath.Join(w.home, "work")
	w.must(os.Mkdir(dir, 0o700))
	got, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: dir, Claude: w.claude}, Prompt: "[[text x]]", Env: w.env()})
	w.must(err)
	w.says(got.ID, "waits for room")
	w.must(os.Remove(dir))
	w.makeRoom()
	if got = w.end(got.ID, task.Failed); got.Reason != task.ReasonSpawnFailed || !strings.Contains(got.Message, dir) {
		t.Errorf("%s: %s", got.Reason, got.Message)
	}
	w.starts(0)
}

// A claude that is replaced while its task waits for room is waited for, as here.
func TestClaudeIsReplacedWhileThereIsNoRoom(t *testing.T) {
	t.Parallel()
	w := newFarWorld(t, 1, crowded)
	id := w.submit("[[text x]]")
	w.says(id, "waits for room")
	self, err := os.Readlink(w.claude)
	w.must(err)
	w.must(os.Remove(w.claude))
	w.makeRoom()
	w.says(id, "waits for claude")
	w.must(os.Symlink(self, w.claude))
	w.end(id, task.Completed)
	w.starts(1)
}

// Looks that fail are no news: nothing is judged, and what is known is shown.
func TestLooksFail(t *testing.T) {
	t.Parallel()
	w := newFarWorld(t, 1, farsite.Config{})
	gate := fakeclaude.NewGate(t)
	id := w.submit("[[text first]]" + gate.Directive() + "[[text answer]]")
	open := w.reached(gate)
	w.runs(id)
	w.far.Blind(math.MaxInt)
	w.says(id, "where it runs does not answer")
	w.far.Blind(0)
	open()
	if got := w.end(id, task.Completed); got.Message != "" {
		t.Errorf("in the end it says %q", got.Message)
	}
}

// Without a connection a task can be looked at, new ones are taken and wait, and
// what runs goes on: all of its output is there in the end.
func TestConnectionBreaks(t *testing.T) {
	t.Parallel()
	w := newFarWorld(t, 2, farsite.Config{})
	gate := fakeclaude.NewGate(t)
	id := w.submit("[[flood 600000]]" + gate.Directive() + "[[text answer]]")
	open := w.reached(gate)
	w.until("a chunk is sealed", func() bool { n, err := w.store.DB.Sealed(id, 1, task.Stdout); return err == nil && n > 0 })
	w.runs(id)
	w.far.Drop(time.Hour)
	w.says(id, "where it runs does not answer")
	s, err := w.Show(w.ctx, task.Look{Ref: string(id), Stdout: 1000})
	if err != nil || s.Stdout == nil || len(s.Stdout.Data) == 0 {
		t.Errorf("shown without a connection: %+v, %v", s.Stdout, err)
	}
	out, err := w.Output(w.ctx, engine.OutputQuery{Ref: string(id), Stream: task.Stdout, Offset: 590_000})
	if err != nil || out.Offset != 590_000 || out.Done {
		t.Errorf("output without a connection: %d bytes at %d, done %v, %v", len(out.Data), out.Offset, out.Done, err)
	}
	second := w.submit("[[flood 600000]][[text answer]]")
	open()
	w.far.Drop(0) // whoever asks from now on is answered
	for _, id := range []task.ID{id, second} {
		w.end(id, task.Completed)
		hasText(w, id, "answer")
	}
	w.starts(2)
}

// A start whose answer is lost is looked for by its name; claude runs once.
func TestStartWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for name, far := range map[string]farsite.Config{"begun": {}, "pending": {Room: time.Second}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFarWorld(t, 1, far)
			w.site.start = func(ctx context.Context, name string, o runner.Order) (runner.Sight, error) {
				w.site.start = nil
				_, _ = w.far.Start(ctx, name, o)
				w.far.Drop(time.Second)
				return w.far.Start(ctx, name, o)
			}
			w.end(w.submit("[[text x]]"), task.Completed)
			w.starts(1)
		})
	}
	// It never came there.
	w := newFarWorld(t, 1, farsite.Config{})
	w.site.start = func(ctx context.Context, name string, o runner.Order) (runner.Sight, error) {
		w.site.start = nil
		w.far.Drop(time.Second)
		return w.far.Start(ctx, name, o)
	}
	w.end(w.submit("[[text x]]"), task.Completed)
	w.starts(1)
}

// The host starts anew: what ran there is interrupted, and not started again; what
// waited for room still does. It makes no difference who the owner is then.
func TestHostStartsAnew(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]bool{"same owner": false, "next owner": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFarWorld(t, 2, crowded)
			full := w.makeRoom()
			gate := fakeclaude.NewGate(t)
			id := w.submit("[[flood 600000]][[text begun]]" + gate.Directive())
			defer w.reached(gate)()
			w.runs(id)
			full()
			waits := w.submit("[[text later]]")
			w.says(waits, "waits for room")
			if next {
				w.Close()
				w.far.Reboot(0)
				w.open()
			} else {
				w.far.Reboot(time.Second)
			}
			if got := w.end(id, task.Interrupted); got.Reason != task.ReasonInterrupted {
				t.Errorf("%s: %s", got.Reason, got.Message)
			}
			hasText(w, id, "begun")
			w.makeRoom()
			w.end(waits, task.Completed)
			w.starts(2)
			_, err := w.Resume(w.ctx, engine.Again{Ref: string(id), Prompt: "[[text went on]]", Env: w.env()})
			w.must(err)
			w.end(id, task.Completed)
		})
	}
}

// A host that starts anew between claim and start: what became of the start is not
// known, so claude is not started a second time.
func TestHostStartsAnewAtAStart(t *testing.T) {
	t.Parallel()
	w := newFarWorld(t, 1, farsite.Config{})
	w.site.start = func(context.Context, string, runner.Order) (runner.Sight, error) {
		w.site.start = nil
		w.far.Reboot(0)
		return runner.Sight{}, runner.ErrSilent
	}
	got := w.end(w.submit("[[text x]]"), task.Interrupted)
	if got.Reason != task.ReasonInterrupted {
		t.Errorf("%s: %s", got.Reason, got.Message)
	}
	w.starts(0)
}

// A dump has what a live attempt has printed, wherever that is.
func TestDumpOfWhatIsNotSealed(t *testing.T) {
	onEachSite(t, func(t *testing.T, newWorld worlds) {
		t.Parallel()
		w := newWorld(t, 1)
		gate := fakeclaude.NewGate(t)
		id := w.submit("[[flood 600000]][[text last words]]" + gate.Directive())
		open := w.reached(gate)
		w.runs(id)
		w.until("what is full is sealed", func() bool {
			n, err := w.store.DB.Sealed(id, 1, task.Stdout)
			return err == nil && n == 2*engine.ChunkSize
		})
		src := engine.Unsealed{Source: w.store.DB, At: w.site}
		p, err := src.Page(task.DumpQuery{})
		w.must(err)
		size := p.Tasks[0].Sizes[0].Stdout
		var all []byte
		for int64(len(all)) < size {
			piece, err := src.Stream(id, 1, task.Stdout, int64(len(all)), 100_000)
			w.must(err)
			all = append(all, piece...)
		}
		if !strings.Contains(string(all), string(fakeclaude.Flood(floodSize))) || !strings.Contains(string(all), "last words") {
			t.Errorf("the dump has %d bytes", len(all))
		}
		open()
		w.end(id, task.Completed)
	})
}
