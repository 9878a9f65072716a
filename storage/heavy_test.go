package storage_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/storagetest"
	"cctask/storage"
)

// TestHeavyMillion logs what an owner does at its start and what people ask,
// on a million tasks and some gigabytes of output.
func TestHeavyMillion(t *testing.T) {
	if os.Getenv("CCTASK_HEAVY") == "" {
		t.Skip("set CCTASK_HEAVY=1")
	}
	const tasks, chunks = 1_000_000, 8 << 10
	dir := filepath.Join(t.TempDir(), "state")
	var db *storage.DB
	open := func() (err error) {
		db, err = storage.Open(dir, storage.Options{})
		return err
	}
	timed(t, "first Open", open)
	var ids []task.ID
	timed(t, "build", func() error {
		ids = storagetest.Fill(t, db, tasks, t0, nil)
		return nil
	})
	timed(t, "output", func() error { return printMuch(db, ids[:chunks/64]) })
	timed(t, "Close", func() error { return db.Close() })
	if info, err := os.Stat(filepath.Join(dir, storage.FileName)); err == nil {
		t.Logf("%d MiB", info.Size()>>20)
	}
	timed(t, "Open", open)
	asked(t, db, ids)
	timed(t, "Remove half of the output", func() error {
		for _, id := range ids[:chunks/128] {
			if err := db.Remove(id, task.ByRequest, time.Now()); err != nil {
				return err
			}
		}
		return nil
	})
	timed(t, "Close with many free pages", func() error { return db.Close() })
	timed(t, "Open with many free pages", open)
	timed(t, "Close", func() error { return db.Close() })
}

// asked logs the first of each question.
func asked(t *testing.T, db *storage.DB, ids []task.ID) {
	t.Helper()
	now := t0.Add(time.Hour)
	timed(t, "first Get", func() error { _, err := db.Task(ids[len(ids)/2]); return err })
	timed(t, "List, first page", func() error { _, err := db.List(t.Context(), task.Filter{}); return err })
	timed(t, "List of running, none", func() error {
		_, err := db.List(t.Context(), task.Filter{Statuses: []task.Status{task.Running}})
		return err
	})
	timed(t, "Resolve by suffix", func() error { _, err := db.Resolve(string(ids[len(ids)/2][14:])); return err })
	timed(t, "Resolve of none", func() error {
		if _, err := db.Resolve(string(ids[len(ids)/2][:20]) + "ZZZZZZ"); !errors.Is(err, task.ErrNotFound) {
			return fmt.Errorf("it was found: %w", err)
		}
		return nil
	})
	timed(t, "Expired", func() error { _, err := db.Expired(task.KeepPolicy{Age: time.Hour}, now, 10); return err })
	timed(t, "Counts", func() error { _, err := db.Counts(); return err })
	timed(t, "Live", func() error { _, err := db.Live(); return err })
	timed(t, "Apply, the first", func() error { return db.Apply(queued(len(ids)+1, "x")) })
	timed(t, "Apply, the next", func() error { return db.Apply(queued(len(ids)+2, "x")) })
}

func timed(t *testing.T, what string, f func() error) {
	t.Helper()
	begin := time.Now()
	if err := f(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	t.Logf("%-28s %v", what, time.Since(begin))
}

// printMuch seals 64 chunks of text that does not compress for each task.
func printMuch(db *storage.DB, ids []task.ID) error {
	data := noise(rand.New(rand.NewPCG(1, 1)), 256<<10)
	for _, id := range ids {
		for i := range 64 {
			if err := db.Apply(chunk(id, 1, task.Stdout, i*len(data), data)); err != nil {
				return err
			}
		}
	}
	return nil
}
