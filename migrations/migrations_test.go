package migrations

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// tests has one entry for each step: what its database must look like.
var tests = map[uint32]func(*bolt.Tx) error{
	1: func(tx *bolt.Tx) error {
		for _, name := range []string{"meta", "tasks", "output", "removing"} {
			if tx.Bucket([]byte(name)) == nil {
				return fmt.Errorf("no bucket %s", name)
			}
		}
		return nil
	},
	2: func(tx *bolt.Tx) error {
		for _, name := range []string{"roots", "limits", "outbox"} {
			if tx.Bucket([]byte(name)) == nil {
				return fmt.Errorf("no bucket %s", name)
			}
		}
		return nil
	},
}

func TestEveryStepHasATestAndAFixture(t *testing.T) {
	t.Parallel()
	for i, s := range steps {
		if s.Version != uint32(i+1) {
			t.Errorf("step %d makes version %d", i, s.Version)
		}
		fixture := fmt.Sprintf("../testdata/db/v%d.db", s.Version)
		if _, err := os.Stat(fixture); err != nil {
			t.Errorf("version %d has no fixture: %v", s.Version, err)
		}
	}
	if len(tests) != len(steps) {
		t.Errorf("%d steps have %d tests", len(steps), len(tests))
	}
}

func open(t *testing.T, path string) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestStepsInOrder(t *testing.T) {
	t.Parallel()
	for n := 1; n <= len(steps); n++ {
		db := open(t, filepath.Join(t.TempDir(), "db"))
		if err := run(db, steps[:n]); err != nil {
			t.Fatal(err)
		}
		if err := db.View(tests[uint32(n)]); err != nil {
			t.Errorf("version %d: %v", n, err)
		}
	}
}

// more is a schema with one step after the newest.
func more(f func(*bolt.Tx) error) []Step {
	return append(append([]Step(nil), steps...), Step{Version: Latest() + 1, Migrate: f})
}

func TestPendingStepsRunOnceAfterABackup(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path)
	if err := Run(db); err != nil {
		t.Fatal(err)
	}
	runs := 0
	next := more(func(tx *bolt.Tx) error {
		runs++
		return tx.Bucket([]byte("tasks")).Put([]byte("k"), []byte("new"))
	})
	for range 2 {
		if err := run(db, next); err != nil {
			t.Fatal(err)
		}
	}
	if runs != 1 {
		t.Errorf("the step ran %d times", runs)
	}
	old := open(t, fmt.Sprintf("%s.v%d.bak", path, Latest()))
	err := old.View(func(tx *bolt.Tx) error {
		if v, err := Version(tx); err != nil || v != Latest() || tx.Bucket([]byte("tasks")).Get([]byte("k")) != nil {
			return fmt.Errorf("the backup has version %d, %w", v, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := Run(db); !errors.Is(err, ErrNewer) {
		t.Errorf("an older program: %v", err)
	}
}

func TestNothingPendingWritesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path)
	if err := Run(db); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(db); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was written to, %v", err)
	}
	if list, _ := filepath.Glob(path + ".*"); len(list) > 0 {
		t.Errorf("made %v", list)
	}
}

func TestAFailedStepChangesNothing(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "db"))
	if err := Run(db); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	err := run(db, more(func(tx *bolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte("tasks")), boom)
	}))
	if !errors.Is(err, boom) {
		t.Errorf("run: %v", err)
	}
	if err := errors.Join(db.View(tests[Latest()]), Run(db)); err != nil {
		t.Error(err)
	}
}

func TestForeignFile(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*bolt.Tx) error{
		"another program's": func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket([]byte("theirs"))
			return err
		},
		"a meta of theirs": func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("meta"))
			if err != nil {
				return err
			}
			return b.Put([]byte("schema"), binary.BigEndian.AppendUint64(nil, 1))
		},
	} {
		db := open(t, filepath.Join(t.TempDir(), "db"))
		if err := db.Update(f); err != nil {
			t.Fatal(err)
		}
		if err := Run(db); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
