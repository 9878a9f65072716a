package storage_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/storagetest"
	"cctask/storage"
)

func TestLifeOfATask(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	id := submit(t, db, 0)
	if env, err := db.Env(id); err != nil || !reflect.DeepEqual(env, []string{"A=1", "SECRET=s3cret"}) {
		t.Fatalf("Env = %q, %v", env, err)
	}
	if q, err := db.Queue(); err != nil || len(q) != 1 || q[0].ID != id {
		t.Fatalf("Queue = %v, %v", q, err)
	}
	advance(t, db, id, t0, task.Starting, task.Running)
	if _, err := db.Env(id); !errors.Is(err, task.ErrNotFound) {
		t.Fatalf("Env of a running task: %v", err)
	}
	live, err := db.Live()
	if err != nil || len(live) != 1 || live[0].ID != id || live[0].Status != task.Running {
		t.Fatalf("Live = %v, %v", live, err)
	}
	out := lines(600 << 10)
	apply(t, db, chunk(id, 1, task.Stdout, 0, out[:256<<10]))
	apply(t, db, chunk(id, 1, task.Stdout, 256<<10, out[256<<10:]))
	apply(t, db, chunk(id, 1, task.Stderr, 0, "oops"))
	apply(t, db, task.Write{Result: &task.Blob{ID: id, Attempt: 1, Data: []byte(out)}})
	for _, s := range []task.Stream{task.Stdout, task.Result} {
		data, err := db.Stream(id, 1, s, 0, len(out)+10)
		if err != nil || string(data) != out {
			t.Fatalf("Stream(%s): %d bytes, %v", s, len(data), err)
		}
	}
	data, err := db.Stream(id, 1, task.Stdout, 256<<10-3, 10)
	if err != nil || string(data) != out[256<<10-3:256<<10+7] {
		t.Fatalf("Stream over a boundary = %q, %v", data, err)
	}
	if data, err := db.Stream(id, 1, task.Stdout, int64(len(out)), 10); err != nil || len(data) != 0 {
		t.Fatalf("Stream at the end = %q, %v", data, err)
	}
	advance(t, db, id, t0.Add(time.Minute), task.Completed)
	counts, err := db.Counts()
	if err != nil || !reflect.DeepEqual(counts, map[task.Status]int{task.Completed: 1}) {
		t.Fatalf("Counts = %v, %v", counts, err)
	}
	if p, err := db.Prompt(id, 1); err != nil || string(p) != "do 0" {
		t.Fatalf("Prompt = %q, %v", p, err)
	}
}

func TestApplyRefusesABadWriteAlone(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	id := submit(t, db, 0)
	now, err := db.Task(id)
	if err != nil {
		t.Fatal(err)
	}
	backwards, jump, noSeq, taken := now, now, queued(1, "x"), queued(2, "x")
	backwards.Status = task.Running
	jump.History = append([]task.Change{}, now.History[0], task.Change{From: task.Queued, To: task.Completed})
	jump.Status = task.Completed
	noSeq.Task.Seq = 0
	taken.Task.Seq = now.Seq
	for name, c := range map[string]struct {
		w    task.Write
		want error
	}{
		"status without history":   {task.Write{Task: &backwards}, task.ErrInternal},
		"a step that is not legal": {task.Write{Task: &jump}, task.ErrInternal},
		"queued without sequence":  {noSeq, task.ErrInternal},
		"sequence taken":           {taken, task.ErrInternal},
		"attempt 2 of 1":           {task.Write{Task: &now, Attempts: []task.Attempt{{N: 2}}}, task.ErrInternal},
		"gap":                      {chunk(id, 1, task.Stdout, 1, "x"), task.ErrInternal},
		"chunk of no task":         {chunk(idAt(9), 1, task.Stdout, 0, "x"), task.ErrNotFound},
		"chunk of a prompt":        {chunk(id, 1, task.Prompt, 0, "x"), task.ErrInternal},
		"attempts of nobody":       {task.Write{Attempts: []task.Attempt{{N: 1}}}, task.ErrInternal},
		"a long key":               {task.Write{Task: &now, Key: string(make([]byte, 2000))}, task.ErrInvalid},
	} {
		if err := db.Apply(c.w); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	got, err := db.Task(id)
	if err != nil || !reflect.DeepEqual(got, now) {
		t.Errorf("the task has changed: %+v, %v", got, err)
	}
}

func TestChunksAreIdempotent(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	id := submit(t, db, 0)
	apply(t, db, chunk(id, 1, task.Stdout, 0, "hello "))
	apply(t, db, chunk(id, 1, task.Stdout, 0, "hello "))      // again
	apply(t, db, chunk(id, 1, task.Stdout, 3, "lo "))         // inside
	apply(t, db, chunk(id, 1, task.Stdout, 4, "o world"))     // over the end
	apply(t, db, chunk(id, 1, task.Stdout, 0, "hello world")) // all of it
	w := task.Write{Chunks: []task.Blob{                      // one after the other in one write
		{ID: id, Attempt: 1, Stream: task.Stdout, Offset: 11, Data: []byte(", and")},
		{ID: id, Attempt: 1, Stream: task.Stdout, Offset: 16, Data: []byte(" more")},
	}}
	apply(t, db, w)
	want := "hello world, and more"
	for from := range len(want) + 1 {
		for limit := range len(want) + 2 {
			got, err := db.Stream(id, 1, task.Stdout, int64(from), limit)
			if err != nil || string(got) != want[from:min(len(want), from+limit)] {
				t.Fatalf("Stream(%d, %d) = %q, %v", from, limit, got, err)
			}
		}
	}
	if n, err := db.Sealed(id, 1, task.Stdout); err != nil || n != int64(len(want)) {
		t.Fatalf("Sealed = %d, %v", n, err)
	}
}

func TestIdempotencyKeyStandsForADay(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	first := queued(0, "x")
	first.Key, first.KeyHash = "k", "hash"
	apply(t, db, first)
	again := queued(1, "x")
	again.Key, again.At = "k", t0.Add(24*time.Hour-time.Second)
	var taken *task.KeyTaken
	if err := db.Apply(again); !errors.As(err, &taken) || taken.ID != first.Task.ID || taken.Hash != "hash" {
		t.Fatalf("the same key: %v", err)
	}
	if _, err := db.Task(again.Task.ID); !errors.Is(err, task.ErrNotFound) {
		t.Fatalf("something was written: %v", err)
	}
	// It outlives its task: a repeated submission starts nothing.
	if err := db.Remove(first.Task.ID, task.ByRequest, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := db.Forget(again.At); err != nil {
		t.Fatal(err)
	}
	if err := db.Apply(again); !errors.As(err, &taken) {
		t.Fatalf("the key of a removed task: %v", err)
	}
	if err := db.Forget(t0.Add(24 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	apply(t, db, again)
	again.Task.ID, again.At = idAt(3), again.At.Add(24*time.Hour)
	again.Task.Seq, again.Prompt.ID = 9, again.Task.ID
	apply(t, db, again) // a day later, without Forget
}

func TestSessionCostLivesAsLongAsATaskNamesIt(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	a, b, fork := queued(0, "a"), queued(1, "b"), queued(2, "c")
	b.Task.SessionID = a.Task.SessionID // resumes it
	fork.Attempts[0].ForkOf = a.Task.SessionID
	apply(t, db, a)
	apply(t, db, b)
	apply(t, db, fork)
	s := a.Task.SessionID
	if _, known, err := db.SessionCost(s); err != nil || known {
		t.Fatalf("known before the first cost: %v", err)
	}
	apply(t, db, task.Write{SessionID: s, SessionCost: 1.25})
	apply(t, db, task.Write{SessionID: "nobody", SessionCost: 9})
	for i, id := range []task.ID{a.Task.ID, b.Task.ID, fork.Task.ID} {
		if total, known, err := db.SessionCost(s); err != nil || !known || total != 1.25 {
			t.Fatalf("SessionCost = %v, %v, %v after %d removals", total, known, err, i)
		}
		if err := db.Remove(id, task.ByRequest, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if _, known, err := db.SessionCost(s); err != nil || known {
		t.Fatalf("the session outlived its tasks: %v", err)
	}
}

// A session is held by the task that waits or works in it now, and by no other
// that names it.
func TestHolder(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	a, fork := queued(0, "a"), queued(1, "b")
	s := a.Task.SessionID
	fork.Attempts[0].ForkOf = s
	apply(t, db, a)
	apply(t, db, fork)
	holds := func(want task.ID) {
		t.Helper()
		if got, err := db.Holder(s); got != want || err != nil {
			t.Errorf("Holder = %q, %v, want %q", got, err, want)
		}
	}
	holds(a.Task.ID)
	advance(t, db, a.Task.ID, t0, task.Starting, task.Running)
	holds(a.Task.ID)
	advance(t, db, a.Task.ID, t0, task.Failed)
	holds("")
	b := queued(2, "c")
	b.Task.SessionID = s
	apply(t, db, b)
	holds(b.Task.ID)
}

// The environment of a task that may go on by itself is kept while it runs, and
// of no other.
func TestEnvironmentOfARunningTask(t *testing.T) {
	t.Parallel()
	for _, on := range []string{"", task.OnInterruptResume} {
		dir := t.TempDir()
		db, err := storage.Open(filepath.Join(dir, "state"), storage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		w := queued(0, "a")
		w.Task.Spec.OnInterrupt, w.Task.Spec.Retries = on, new(int)
		apply(t, db, w)
		next := step(*w.Task, w.Attempts[0], t0, task.Starting, task.Running)
		next.DropEnv = false
		apply(t, db, next)
		if err := db.Check(); (err == nil) != (on != "") {
			t.Errorf("on_interrupt %q: %v", on, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestClosedDatabaseSaysSo(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	id := submit(t, db, 0)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Task(id); !errors.Is(err, task.ErrClosing) {
		t.Errorf("Task: %v", err)
	}
	if err := db.Remove(id, task.ByRequest, time.Now()); !errors.Is(err, task.ErrClosing) {
		t.Errorf("Remove: %v", err)
	}
}

// Who removed a task is known as long as its key can be asked for, and no longer.
func TestRemoved(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	id, gone := submit(t, db, 0), t0.Add(time.Hour)
	if err := db.Remove(id, task.ByRetention, gone); err != nil {
		t.Fatal(err)
	}
	if err := db.Remove(id, task.ByRequest, gone.Add(time.Hour)); err != nil { // a repeat
		t.Fatal(err)
	}
	for after, want := range []task.Remover{task.ByRetention, ""} {
		if err := db.Forget(gone.Add(time.Duration(after) * 24 * time.Hour)); err != nil {
			t.Fatal(err)
		}
		at, by, err := db.Removed(id)
		if err != nil || by != want || at.Equal(gone) != (want != "") {
			t.Errorf("after %d days: %v, %q, %v; want %q", after, at, by, err, want)
		}
	}
	w := queued(1, "x")
	w.Key, w.KeyHash = "\x00"+string(id), "h"
	if err := db.Apply(w); !errors.Is(err, task.ErrInvalid) {
		t.Errorf("a key that could stand for a removal: %v", err)
	}
}
