package storage_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/storage/storagetest"
)

func TestLifeOfATask(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	id := submit(t, db, 0)
	if env, err := db.Env(id); err != nil || !reflect.DeepEqual(env, []string{"A=1", "SECRET=s3cret"}) {
		t.Fatalf("Env = %q, %v", env, err)
	}
	if q, err := db.Queue(); err != nil || len(q) != 1 || q[0] != id {
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
	apply(t, db, engine.Write{Result: &engine.Blob{ID: id, Attempt: 1, Data: []byte(out)}})
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
