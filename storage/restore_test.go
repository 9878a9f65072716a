package storage_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/dump"
	"cctask/internal/testkit/storagetest"
	"cctask/storage"
)

// restoreTo makes a database of a dump.
func restoreTo(path, text string, partial bool) (got dump.Restored, err error) {
	err = storage.Restore(path, storage.Options{}, func(f *storage.Filler) (int64, error) {
		got, err = dump.Restore(strings.NewReader(text), f, storage.Schema(), partial)
		return got.Redacted, err
	})
	return got, err
}

// dumpFile dumps a file and checks it.
func dumpFile(t *testing.T, path string) string {
	t.Helper()
	if err := storage.CheckFile(path); err != nil {
		t.Error(err)
	}
	src, err := storage.OpenOffline(path)
	if err != nil {
		t.Fatal(err)
	}
	return dumpOf(t, src)
}

// everyStatus is a database with a task of each status, several attempts, text,
// binary output over several pieces, and costs of sessions.
func everyStatus(t *testing.T) *storage.DB {
	t.Helper()
	db := storagetest.Open(t)
	r := rand.New(rand.NewPCG(5, 6))
	ways := map[task.Status][]task.Status{
		task.Queued: nil, task.Starting: {task.Starting}, task.Running: {task.Starting, task.Running},
	}
	for i, s := range task.Statuses {
		w := queued(i, strings.Repeat("Grüße an "+string(s)+" ", 9000*(i%2)+1))
		id := w.Task.ID
		w.Task.Spec.Name, w.Task.Spec.JSONSchema = "the "+string(s), []byte(`{"a":"<&>"}`)
		apply(t, db, w)
		if s == task.Skipped { // it never had a stream
			advance(t, db, id, t0.Add(time.Hour), s)
			continue
		}
		way, live := ways[s]
		if !live {
			way = ways[task.Running]
		}
		if len(way) > 0 {
			advance(t, db, id, t0.Add(time.Minute), way...)
		}
		apply(t, db, chunk(id, 1, task.Stdout, 0, lines(300<<10)+noise(r, 500<<10)))
		apply(t, db, chunk(id, 1, task.Stderr, 0, "\x00\xff"))
		if live {
			continue
		}
		apply(t, db, task.Write{Result: &task.Blob{ID: id, Attempt: 1, Data: []byte("Blätter, 葉")}, SessionID: w.Task.SessionID, SessionCost: 0.1 + float64(i)})
		advance(t, db, id, t0.Add(time.Hour), s)
	}
	return db
}

func TestRestoredDumpIsIdentical(t *testing.T) {
	t.Parallel()
	want := dumpOf(t, everyStatus(t))
	path := filepath.Join(t.TempDir(), "new", "any name.db")
	got, err := restoreTo(path, want, false)
	if err != nil || got.Tasks != len(task.Statuses) || got.Cut {
		t.Fatalf("%+v, %v", got, err)
	}
	if dumpFile(t, path) != want {
		t.Error("the restored database's dump differs")
	}
	if _, err := restoreTo(path, want, false); !errors.Is(err, task.ErrConflict) {
		t.Errorf("over a file: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// A dump that ends anywhere is refused, or gives the whole tasks before its end.
func TestRestoreOfACutDump(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	ids := []task.ID{submit(t, db, 0), submit(t, db, 1), submit(t, db, 2)}
	apply(t, db, chunk(ids[1], 1, task.Stdout, 0, "some"))
	text := dumpOf(t, db)
	starts := func(s string) int { return strings.Count(s, `{"type":"task"`) }
	dir := t.TempDir()
	for n := 0; n < len(text)-1; n += 53 {
		path := filepath.Join(dir, "new.db")
		if _, err := restoreTo(path, text[:n], false); !errors.Is(err, task.ErrInvalid) || task.HintOf(err) == "" {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Fatalf("cut at %d: a file is left", n)
		}
		got, err := restoreTo(path, text[:n], true)
		if n < strings.Index(text, "\n") {
			if err == nil {
				t.Fatalf("cut at %d in the header: %+v", n, got)
			}
			continue
		}
		if err != nil || !got.Cut {
			t.Fatalf("cut at %d: %+v, %v", n, got, err)
		}
		whole := max(0, starts(text[:strings.LastIndex(text[:n], "\n")+1])-1)
		if have := starts(dumpFile(t, path)); have != whole || got.Tasks != whole {
			t.Fatalf("cut at %d: %d tasks, says %d, want %d", n, have, got.Tasks, whole)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// A task that was removed while it was dumped is not restored.
func TestRestoreLeavesOutTheRemoved(t *testing.T) {
	t.Parallel()
	db, _ := dumpable(t)
	page, err := db.Page(task.DumpQuery{})
	if err != nil {
		t.Fatal(err)
	}
	victim := page.Tasks[1].Task.ID
	n := 0
	text := dumpOf(t, watched{db, func(id task.ID) {
		if id == victim {
			if n++; n == 3 {
				if err := db.Remove(victim, task.ByRequest, time.Now()); err != nil {
					t.Error(err)
				}
			}
		}
	}})
	if !strings.Contains(text, `"removed":true`) {
		t.Fatal("nothing was removed")
	}
	path := filepath.Join(t.TempDir(), "new.db")
	if got, err := restoreTo(path, text, false); err != nil || got.Tasks != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, want := dumpFile(t, path), dumpOf(t, db); got != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

// What does not hold together is refused and leaves nothing.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	text := dumpOf(t, everyStatus(t))
	edit := func(old, with string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("the dump has no %s", old)
		}
		return strings.Replace(text, old, with, 1)
	}
	last := strings.LastIndex(text, `"stdout_bytes":`) + len(`"stdout_bytes":`)
	path := filepath.Join(t.TempDir(), "new.db")
	for name, bad := range map[string]struct {
		text string
		want error
	}{
		"newer format":     {edit(`"version":1`, `"version":2`), task.ErrVersion},
		"newer schema":     {edit(`"schema":2`, `"schema":3`), task.ErrVersion},
		"cut outputs":      {edit(`"schema":2`, `"schema":2,"output":"tail"`), task.ErrInvalid},
		"an unknown field": {edit(`"prompt_bytes":`, `"prompt_size":1,"prompt_bytes":`), task.ErrInvalid},
		"another length":   {text[:last] + "1" + text[last:], task.ErrInvalid},
		"another history":  {edit(`"to":"starting"`, `"to":"running"`), task.ErrInvalid},
		"no task":          {text[:strings.Index(text, "\n")+1] + text[strings.Index(text, `{"type":"prompt"`):], task.ErrInvalid},
		"more at the end":  {text + "\n", task.ErrInvalid},
		"another count":    {edit(`"end","tasks":9`, `"end","tasks":7`), task.ErrInvalid},
		"twice":            {strings.TrimSuffix(text, "\n") + text, task.ErrInvalid},
		"no header":        {text[strings.Index(text, "\n")+1:], task.ErrInvalid},
		"not JSON":         {"hello\n" + text, task.ErrInvalid},
	} {
		if _, err := restoreTo(path, bad.text, true); !errors.Is(err, bad.want) || task.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

// A restored database is marked, until it is activated: then what waits has an
// environment.
func agreed(*storage.DB) error { return nil }

func TestActivate(t *testing.T) {
	t.Parallel()
	text := dumpOf(t, everyStatus(t))
	dir := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(dir, storage.FileName)
	if _, err := restoreTo(path, text, false); err != nil {
		t.Fatal(err)
	}
	db := storagetest.OpenIn(t, dir)
	if is, err := db.Restored(); err != nil || !is {
		t.Errorf("Restored: %v, %v", is, err)
	}
	live, err := db.Live()
	if err != nil || len(live) != 2 || live[0].Status != task.Starting {
		t.Fatalf("%v, %v", live, err)
	}
	if _, _, err := storage.Activate(path, storage.Options{}, nil, agreed); !errors.Is(err, task.ErrLocked) {
		t.Errorf("under an owner: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := storage.Activate(path, storage.Options{}, []string{"A=2"}, agreed); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	if _, _, err := storage.Activate(path, storage.Options{}, nil, agreed); !errors.Is(err, task.ErrConflict) {
		t.Errorf("twice: %v", err)
	}
	db = storagetest.OpenIn(t, dir)
	queue, err := db.Queue()
	if err != nil || len(queue) != 1 {
		t.Fatalf("%v, %v", queue, err)
	}
	if env, err := db.Env(queue[0].ID); err != nil || len(env) != 1 || env[0] != "A=2" {
		t.Errorf("environment %q, %v", env, err)
	}
	// Claude may have run since, so that nothing starts it again.
	for _, l := range live {
		if got, err := db.Task(l.ID); err != nil || got.Status != task.Interrupted || got.Reason != task.ReasonInterrupted {
			t.Errorf("the %s task is %s, %v", l.Status, got.Status, err)
		}
	}
}

// A masked dump is restorable: lengths stay, and the copy knows what it is.
func TestRedactedDumpIsRestorable(t *testing.T) {
	t.Parallel()
	db := everyStatus(t)
	id := submit(t, db, 100)
	apply(t, db, chunk(id, 1, task.Stdout, 0, strings.Repeat("x", 64<<10-1)+"ü ghp_"+strings.Repeat("a1", 20)+" end"))
	var b bytes.Buffer
	o := dump.Options{Schema: storage.Schema(), Redact: true}
	end, err := dump.Run(t.Context(), db, o, dump.Writer(&b, "jsonl"))
	if err != nil || end.Redacted != 1 || strings.Contains(b.String(), "a1a1a1") {
		t.Fatalf("%+v, %v", end, err)
	}
	path := filepath.Join(t.TempDir(), "new.db")
	if _, err := restoreTo(path, b.String(), false); err != nil {
		t.Fatal(err)
	}
	if dumpFile(t, path) != b.String() {
		t.Error("the restored database's dump differs")
	}
}

func FuzzRestore(f *testing.F) {
	text, err := os.ReadFile(fixture(1, "jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(string(text[:3000]))
	f.Add(`{"type":"header","format":"cctask-dump","version":1,"schema":1}` + "\n" + `{"type":"end","tasks":0,"bytes":0}` + "\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, "new.db")
		defer os.Remove(path)
		if _, err := restoreTo(path, text, true); err != nil {
			if task.HintOf(err) == "" {
				t.Errorf("no next step: %v", err)
			}
			if _, err := os.Lstat(path); err == nil {
				t.Error("a refused dump left a file")
			}
			return
		}
		// What was taken is a whole database that can be dumped and restored.
		again := dumpFile(t, path)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := restoreTo(path, again, false); err != nil || dumpFile(t, path) != again {
			t.Errorf("restored twice: %v", err)
		}
	})
}
