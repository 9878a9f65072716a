package storagetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/storage"
)

// Fill records n tasks, a second apart and the last one at now, from many
// callers so that commits are large. All have ended, so that an owner has nothing
// to start; change, if there is one, makes the i-th what a test wants.
func Fill(t testing.TB, db *storage.DB, n int, now time.Time, change func(i int, w *task.Write)) []task.ID {
	t.Helper()
	ids := make([]task.ID, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, 4096) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				w := life(i, now.Add(time.Duration(i+1-n)*time.Second))
				if change != nil {
					change(i, &w)
				}
				ids[i] = w.Task.ID
				if err := db.Apply(w); err != nil {
					t.Errorf("record task %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return ids
}

// life is the write of a whole life.
func life(i int, at time.Time) task.Write {
	prompt := fmt.Sprintf("Look into module %d of the project, run its tests, mend what fails and say in a few words what was wrong.", i)
	code := 0
	t := task.Task{
		ID: task.NewID(at), Seq: uint64(i + 1), Attempt: 1, CreatedAt: at,
		PromptBytes: len(prompt), PromptHead: task.Head(prompt),
		Spec: task.Spec{
			WorkingDir: fmt.Sprintf("/home/person/project/%d", i%50), Claude: "/usr/local/bin/claude",
			Name: fmt.Sprintf("module %d", i), Labels: []string{"nightly", fmt.Sprintf("part-%d", i%10)},
		},
		ExitCode: &code, CostUSD: float64(i%997) / 1000, NumTurns: 1 + i%30, DurationMS: int64(i%7919) * 1000,
	}
	t.SessionID = t.ID.UUID()
	end := task.Completed
	if i%20 == 7 {
		end, t.Reason = task.Failed, task.ReasonProcessFailed
	}
	for n, s := range []task.Status{task.Queued, task.Starting, task.Running, end} {
		if err := t.Become(s, at.Add(time.Duration(n)*time.Second), ""); err != nil {
			panic(err)
		}
	}
	return task.Write{
		At: at, Task: &t, Prompt: &task.Blob{ID: t.ID, Attempt: 1, Data: []byte(prompt)},
		Attempts: []task.Attempt{{
			N: 1, Kind: task.First, SessionID: t.SessionID, PromptN: 1, Status: end,
			CreatedAt: at, StartedAt: t.StartedAt, FinishedAt: t.FinishedAt, ExitCode: &code, CostUSD: t.CostUSD,
		}},
	}
}
