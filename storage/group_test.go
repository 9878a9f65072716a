package storage_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
	"cctask/internal/testkit/storagetest"
	"cctask/storage"
)

// Writes that wait together share commits, and a bad one among them fails
// alone.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	const callers, each = 32, 20
	before, err := db.Commits()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				w := queued(c*each+i, "x")
				if c == 0 {
					w.Task.Seq = 0 // refused at once
				} else if c == 1 {
					w.Chunks = chunk(w.Task.ID, 1, task.Stdout, 5, "x").Chunks // refused by the writer
				}
				if err := db.Apply(w); (err != nil) != (c < 2) {
					t.Errorf("caller %d: %v", c, err)
				}
			}
		})
	}
	wg.Wait()
	after, err := db.Commits()
	if err != nil {
		t.Fatal(err)
	}
	counts, err := db.Counts()
	if err != nil || counts[task.Queued] != (callers-2)*each {
		t.Errorf("Counts = %v, %v", counts, err)
	}
	if n := after - before; n > (callers-2)*each/2 {
		t.Errorf("%d writes took %d commits", (callers-2)*each, n)
	}
}

// A write that fails half-way leaves no trace, and the others stand.
func TestAWriteThatFailsHalfWay(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	boom := errors.New("boom")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if i%10 == 0 {
				err := db.Tamper(func(tx *bolt.Tx) error {
					return errors.Join(tx.Bucket([]byte("tasks")).Put([]byte("junk"), nil), boom)
				})
				if !errors.Is(err, boom) {
					t.Errorf("the bad write: %v", err)
				}
				return
			}
			if err := db.Apply(queued(i, "x")); err != nil {
				t.Errorf("a good write: %v", err)
			}
		})
	}
	wg.Wait()
	if counts, err := db.Counts(); err != nil || counts[task.Queued] != 45 {
		t.Errorf("Counts = %v, %v", counts, err)
	}
}

// Each kind of inconsistency is found. Without this test Check could pass
// everything.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := queued(0, "prompt")
	w.Task.Spec.Name = "name"
	apply(t, db, w)
	q, run := w.Task.ID, submit(t, db, 1)
	apply(t, db, chunk(run, 1, task.Stdout, 0, "12345"))
	apply(t, db, chunk(run, 1, task.Stdout, 5, "678"))
	advance(t, db, run, t0, task.Starting, task.Running)
	advance(t, db, run, t0, task.Completed)
	if err := db.Check(); err != nil {
		t.Fatal(err)
	}
	for i, c := range wrongs(q, run) {
		var old []byte
		set := func(v string) error {
			return db.Tamper(func(tx *bolt.Tx) error {
				b := tx.Bucket([]byte(c.bucket))
				old = append([]byte(nil), b.Get([]byte(c.key))...)
				if v == "-" {
					return b.Delete([]byte(c.key))
				}
				return b.Put([]byte(c.key), []byte(v))
			})
		}
		if err := set(c.value); err != nil {
			t.Fatal(err)
		}
		if err := db.Check(); !errors.Is(err, task.ErrCorrupt) {
			t.Errorf("%d: %s %q = %q was not found: %v", i, c.bucket, c.key, c.value, err)
		}
		back := string(old)
		if c.value != "-" && len(old) == 0 {
			back = "-"
		}
		if err := set(back); err != nil {
			t.Fatal(err)
		}
		if err := db.Check(); err != nil {
			t.Fatalf("%d: after it was mended: %v", i, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// wrong is a value that must not stand; "-" is a key that must not be missing.
type wrong struct{ bucket, key, value string }

// wrongs spoil a database in which q is queued and run is completed.
func wrongs(q, run task.ID) []wrong {
	k := func(s ...string) string { return strings.Join(s, "") }
	n1 := "\x00\x00\x00\x01"
	at0, at5 := "\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x05"
	return []wrong{
		{"tasks", k(string(q)), "-"},
		{"tasks", k(string(q)), "{}"},
		{"tasks", k(string(q)), "junk"},
		{"attempts", k(string(q), n1), "-"},
		{"attempts", k(string(idAt(5)), n1), "{}"},
		{"by_status", k("queued/", string(q)), "-"},
		{"by_status", k("failed/", string(q)), at0},
		{"by_status", k("completed/", string(run)), at5},
		{"queue", k("\x00\x00\x00\x00\x00\x00\x00\x01"), "-"},
		{"queue", k("\x00\x00\x00\x00\x00\x00\x00\x01"), string(run)},
		{"names", k("name\x00", string(q)), "-"},
		{"names", k("other\x00", string(q)), ""},
		{"ended", k(at0, string(run)), at0},
		{"env", string(run), "secret"},
		{"sessions", k(q.UUID(), "\x00", string(q)), "-"},
		{"sessions", "nobody", at0},
		{"output", k(string(run), n1, "o", at0), "-"},
		{"output", k(string(run), n1, "o", at5), "-"},
		{"output", k(string(run), n1, "o", at5), "\x00\x00\x00\x00\x09678"},
		{"output", k(string(run), n1, "x", at0), "\x00\x00\x00\x00\x01x"},
		{"output", k(string(idAt(5)), n1, "o", at0), "\x00\x00\x00\x00\x01x"},
		{"prompts", k(string(q), n1, at0), "\x00\x00\x00\x00\x01x"},
		{"meta", "count/queued", at0},
		{"meta", "seq", at0},
		{"meta", "ended_bytes", at0},
		{"keys", "k", "short"},
	}
}
