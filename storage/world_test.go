package storage_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/storage"
)

// t0 is the moment at which the tests' tasks begin.
var t0 = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// idAt makes the id of the i-th task of a test; ids ascend with i.
func idAt(i int) task.ID { return task.NewID(t0.Add(time.Duration(i) * time.Second)) }

// queued is the write that submits a task.
func queued(i int, prompt string) task.Write {
	at := t0.Add(time.Duration(i) * time.Second)
	t := task.Task{
		ID: idAt(i), Seq: uint64(i + 1), Attempt: 1, CreatedAt: at,
		PromptBytes: len(prompt), PromptHead: task.Head(prompt),
		Spec: task.Spec{WorkingDir: "/project/" + fmt.Sprint(i%3), Claude: "/bin/claude"},
	}
	t.SessionID = t.ID.UUID()
	if err := t.Become(task.Queued, at, ""); err != nil {
		panic(err)
	}
	return task.Write{
		At: at, Task: &t, Env: []string{"A=1", "SECRET=s3cret"},
		Prompt: &task.Blob{ID: t.ID, Attempt: 1, Data: []byte(prompt)},
		Attempts: []task.Attempt{{
			N: 1, Kind: task.First, SessionID: t.SessionID, PromptN: 1, Status: task.Queued, CreatedAt: at,
		}},
	}
}

// step is the write that takes a task to its next statuses, its last attempt
// with it. The sizes are those of the attempt's streams.
func step(old task.Task, last task.Attempt, at time.Time, to ...task.Status) task.Write {
	t := old
	t.History = append([]task.Change(nil), old.History...)
	w := task.Write{At: at, Task: &t}
	for _, s := range to {
		if err := t.Become(s, at, ""); err != nil {
			panic(err)
		}
		w.DropEnv = w.DropEnv || s == task.Running || s.Ended()
	}
	last.Status = t.Status
	w.Attempts = []task.Attempt{last}
	return w
}

func apply(t testing.TB, db *storage.DB, w task.Write) {
	t.Helper()
	if err := db.Apply(w); err != nil {
		t.Fatalf("apply: %v", err)
	}
}

// submit applies the i-th task and returns its id.
func submit(t testing.TB, db *storage.DB, i int) task.ID {
	t.Helper()
	w := queued(i, fmt.Sprintf("do %d", i))
	apply(t, db, w)
	return w.Task.ID
}

// advance takes a stored task to its next statuses.
func advance(t testing.TB, db *storage.DB, id task.ID, at time.Time, to ...task.Status) {
	t.Helper()
	old, err := db.Task(id)
	if err != nil {
		t.Fatal(err)
	}
	list, err := db.Attempts(id)
	if err != nil {
		t.Fatal(err)
	}
	last := list[len(list)-1]
	for st, n := range map[task.Stream]*int64{
		task.Stdout: &last.StdoutBytes, task.Stderr: &last.StderrBytes, task.Result: &last.ResultBytes,
	} {
		if *n, err = db.Sealed(id, last.N, st); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, db, step(old, last, at, to...))
}

func chunk(id task.ID, n int, s task.Stream, offset int, data string) task.Write {
	return task.Write{At: t0, Chunks: []task.Blob{{ID: id, Attempt: n, Stream: s, Offset: int64(offset), Data: []byte(data)}}}
}

// noise is text that compresses badly.
func noise(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// lines is text that compresses well.
func lines(n int) string {
	return strings.Repeat(`{"type":"assistant","text":"Grüße, 世界"}`+"\n", n/40+1)[:n]
}
