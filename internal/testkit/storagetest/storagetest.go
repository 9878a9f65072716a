// Package storagetest opens databases for tests. It may import storage,
// engine/task and testing; only tests import it.
package storagetest

import (
	"errors"
	"path/filepath"
	"testing"

	"cctask/engine/task"
	"cctask/storage"
)

// Open makes a database in a directory of its own. At the end of the test it
// is checked as a whole and closed.
func Open(t testing.TB) *storage.DB {
	t.Helper()
	return OpenIn(t, filepath.Join(t.TempDir(), "state"))
}

// OpenIn opens the database in dir as Open does. A test that closes it early
// has its file checked instead, unless another process holds it by then.
func OpenIn(t testing.TB, dir string) *storage.DB {
	t.Helper()
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatalf("open a database: %v", err)
	}
	path := db.Path()
	t.Cleanup(func() {
		err := db.Check()
		if errors.Is(err, task.ErrClosing) {
			err = storage.CheckFile(path)
		}
		if err != nil && !errors.Is(err, task.ErrLocked) {
			t.Errorf("check the database: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return db
}
