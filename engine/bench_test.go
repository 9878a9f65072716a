package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
	"cctask/internal/testkit/storagetest"
	"cctask/storage"
)

// BenchmarkQueue is what a front asks for while many tasks wait behind one that
// is on its way, and what an owner does with them when it starts.
func BenchmarkQueue(b *testing.B) {
	for _, n := range []int{20, 20_000, 100_000} {
		dir, claude := filepath.Join(b.TempDir(), "state"), fakeclaude.Binary(b)
		db, err := storage.Open(dir, storage.Options{})
		if err != nil {
			b.Fatal(err)
		}
		spec := task.Spec{WorkingDir: b.TempDir(), Claude: claude}
		storagetest.Fill(b, db, n, time.Now(), func(_ int, w *task.Write) { *w = waits(w.Task, spec) })
		hold := make(chan struct{})
		at := &site{Site: &runner.Local{Dir: dir}, start: func(context.Context, string, runner.Order) (runner.Sight, error) {
			<-hold
			return runner.Sight{}, runner.ErrNotStarted
		}}
		begin := time.Now()
		e, err := engine.New(engine.Config{Dir: dir, Jobs: 1, Log: zerolog.Nop()}, db, at)
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("%d queued: an owner starts in %v", n, time.Since(begin))
		b.Run(fmt.Sprint("page/", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := e.List(b.Context(), task.Filter{Limit: 100}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint("submit/", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := e.Submit(b.Context(), engine.Submission{Spec: spec, Prompt: "x"}); err != nil {
					b.Fatal(err)
				}
			}
		})
		close(hold)
		e.Close()
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	}
}

// waits makes a queued task of a filled one.
func waits(t *task.Task, spec task.Spec) task.Write {
	q := task.Task{ID: t.ID, Seq: t.Seq, Attempt: 1, CreatedAt: t.CreatedAt, Spec: spec, SessionID: t.SessionID, PromptBytes: 1, PromptHead: "x"}
	if err := q.Become(task.Queued, t.CreatedAt, ""); err != nil {
		panic(err)
	}
	return task.Write{
		At: t.CreatedAt, Task: &q, Prompt: &task.Blob{ID: t.ID, Attempt: 1, Data: []byte("x")}, Env: []string{},
		Attempts: []task.Attempt{{N: 1, Kind: task.First, SessionID: t.SessionID, PromptN: 1, Status: task.Queued, CreatedAt: t.CreatedAt}},
	}
}
