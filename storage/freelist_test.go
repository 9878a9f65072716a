package storage_test

import (
	"path/filepath"
	"testing"

	"cctask/engine/task"
	"cctask/storage"
)

// The free list is in the file after each commit, so that Open need not walk
// it, unless it is long: then Close writes it.
func TestFreeListIsWritten(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(dir, storage.FileName)
	reopen := func(want bool, when string) *storage.DB {
		t.Helper()
		if listed, err := storage.Listed(path); err != nil || listed != want {
			t.Errorf("%s: the free list is there: %v, %v, want %v", when, listed, err, want)
		}
		db, err := storage.Open(dir, storage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	close := func() {
		t.Helper()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	id := submit(t, db, 0)
	if listed, err := storage.Listed(path); err != nil || !listed {
		t.Errorf("after a commit: %v, %v", listed, err)
	}
	db.NoLists()
	apply(t, db, chunk(id, 1, task.Stdout, 0, "x"))
	if listed, err := storage.Listed(path); err != nil || listed {
		t.Errorf("after a commit with many free pages: %v, %v", listed, err)
	}
	close()
	db = reopen(true, "after Close")
	db.NoLists()
	submit(t, db, 1)
	// What a kill leaves is walked, and listed by the next commit.
	if err := db.Abandon(); err != nil {
		t.Fatal(err)
	}
	db = reopen(false, "after a kill")
	submit(t, db, 2)
	close()
	db = reopen(true, "after the next commit")
	if err := db.Check(); err != nil {
		t.Error(err)
	}
	close()
}
