package storage_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
	"cctask/internal/testkit/storagetest"
	"cctask/migrations"
	"cctask/storage"
)

var update = flag.Bool("update", false, "make the fixture of the newest schema if it is missing, and write the dumps anew")

func fixture(version uint32, ext string) string {
	return filepath.Join("..", "testdata", "db", fmt.Sprintf("v%d.%s", version, ext))
}

// Databases of every schema so far open, and hold what they held.
func TestOldDatabases(t *testing.T) {
	t.Parallel()
	if *update {
		if err := makeFixture(t); err != nil {
			t.Fatal(err)
		}
	}
	for v := uint32(1); v <= migrations.Latest(); v++ {
		dir := filepath.Join(t.TempDir(), "state")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path, key := filepath.Join(dir, storage.FileName), filepath.Join(dir, "env.key")
		if err := errors.Join(copyFile(fixture(v, "db"), path), copyFile(fixture(v, "key"), key)); err != nil {
			t.Fatal(err)
		}
		db := storagetest.OpenIn(t, dir)
		got := dumpOf(t, db)
		if *update {
			if err := os.WriteFile(fixture(v, "jsonl"), []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(fixture(v, "jsonl"))
		if err != nil || got != string(want) {
			t.Errorf("version %d: the dump differs, %v", v, err)
		}
		counts, err := db.Counts()
		counts[task.Skipped] = 0 // is younger than these files, and changes no other record
		if err != nil || len(counts) != len(task.Statuses) {
			t.Errorf("version %d: a task of each status is to be there: %v, %v", v, counts, err)
		}
		queue, err := db.Queue()
		if err != nil || len(queue) == 0 {
			t.Fatalf("version %d: queue %v, %v", v, queue, err)
		}
		if env, err := db.Env(queue[0].ID); err != nil || len(env) != 2 {
			t.Errorf("version %d: environment %q, %v", v, env, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if before, _ := os.ReadFile(fixture(v, "db")); v == migrations.Latest() && !bytes.Equal(before, after) {
			t.Errorf("version %d: opening wrote to the file, %v", v, err)
		}
	}
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// makeFixture writes a small database with a task of every status. One that
// stands is never changed: it is what a released program wrote.
func makeFixture(t *testing.T) error {
	if _, err := os.Stat(fixture(migrations.Latest(), "db")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Join(t.TempDir(), "made")
	db := storagetest.OpenIn(t, dir)
	r := rand.New(rand.NewPCG(11, 12))
	ways := map[task.Status][]task.Status{
		task.Queued: nil, task.Starting: {task.Starting}, task.Running: {task.Starting, task.Running}, task.Skipped: {task.Skipped},
	}
	for i, s := range task.Statuses {
		w := queued(i, "Write a haiku about "+string(s))
		w.Task.Spec.Name, w.Task.Spec.Labels = "the "+string(s)+" one", []string{"fixture", string(s)}
		w.Key, w.KeyHash = "key of "+string(s), "hash"
		if i > 0 {
			spec := &w.Task.Spec
			spec.Priority, spec.Group, spec.WorkdirMode = i, "docs", task.DirExclusive
			spec.After = []string{string(idAt(0)) + ":any"}
			w.Task.ParentID, w.Task.RootID, w.Task.Depth, w.Task.Account = idAt(0), idAt(0), 1, "~/.claude"
		} else {
			w.Task.Spec.Hold, w.Task.Spec.StartAt, w.Task.NotBefore = true, "2h", t0.Add(2*time.Hour)
		}
		apply(t, db, w)
		way, own := ways[s]
		if !own {
			way = ways[task.Running]
		}
		if len(way) > 0 {
			advance(t, db, w.Task.ID, t0.Add(time.Minute), way...)
		}
		if len(way) < 2 {
			continue
		}
		apply(t, db, chunk(w.Task.ID, 1, task.Stdout, 0, lines(5000)+noise(r, 300)))
		apply(t, db, chunk(w.Task.ID, 1, task.Stderr, 0, "warning\n"))
		if s.Ended() {
			apply(t, db, task.Write{
				Result:    &task.Blob{ID: w.Task.ID, Attempt: 1, Data: []byte("Blätter, 葉")},
				SessionID: w.Task.SessionID, SessionCost: 0.5,
			})
			advance(t, db, w.Task.ID, t0.Add(time.Hour), s)
		}
	}
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		return err
	}
	// Copied by bbolt, which leaves out the space that it took in advance.
	raw, err := bolt.Open(db.Path(), 0o600, &bolt.Options{ReadOnly: true, NoFreelistSync: true})
	if err != nil {
		return err
	}
	err = raw.View(func(tx *bolt.Tx) error { return tx.CopyFile(fixture(migrations.Latest(), "db"), 0o644) })
	return errors.Join(err, raw.Close(), copyFile(filepath.Join(dir, "env.key"), fixture(migrations.Latest(), "key")))
}
