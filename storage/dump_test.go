package storage_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
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

// dumpable makes a database with text and binary output in it.
func dumpable(t *testing.T) (*storage.DB, map[string]string) {
	t.Helper()
	db := storagetest.Open(t)
	r := rand.New(rand.NewPCG(3, 4))
	want := map[string]string{}
	for i := range 3 {
		id := submit(t, db, i)
		out, bad := lines(200<<10+i), noise(r, 70<<10)
		apply(t, db, chunk(id, 1, task.Stdout, 0, out))
		apply(t, db, chunk(id, 1, task.Stderr, 0, bad))
		apply(t, db, task.Write{Result: &task.Blob{ID: id, Attempt: 1, Data: []byte("<answer> & \u2028")}})
		want[string(id)+" stdout"], want[string(id)+" stderr"] = out, bad
		want[string(id)+" result"] = "<answer> & \u2028"
		want[string(id)+" prompt"] = "do " + string(rune('0'+i))
	}
	return db, want
}

func dumpOf(t *testing.T, src task.Source) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := dump.Run(t.Context(), src, dump.Options{Schema: storage.Schema()}, dump.Writer(&b, "jsonl")); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pages collects what a dump would read.
func pages(t *testing.T, db *storage.DB, q task.DumpQuery) (list []task.Snapshot) {
	t.Helper()
	for {
		p, err := db.Page(q)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p.Tasks...)
		if q.After = p.After; !p.More {
			return list
		}
	}
}

type dumpLine struct {
	Type, Stream, Format string
	ID                   task.ID
	Offset               int
	Text, Base64         *string
	Task                 task.Task
	Tasks                *int
	Removed              bool
}

func parse(t *testing.T, text string) (list []dumpLine) {
	t.Helper()
	for l := range strings.Lines(text) {
		var d dumpLine
		if err := json.Unmarshal([]byte(l), &d); err != nil {
			t.Fatalf("%v in %.200q", err, l)
		}
		list = append(list, d)
	}
	return list
}

func TestDumpHoldsEverythingButTheEnvironment(t *testing.T) {
	t.Parallel()
	db, want := dumpable(t)
	all := dumpOf(t, db)
	if strings.Contains(all, "s3cret") {
		t.Error("the dump holds an environment")
	}
	got := map[string]string{}
	list := parse(t, all)
	for _, d := range list[1 : len(list)-1] {
		if d.Type == "task" {
			continue
		}
		name := d.Stream
		if name == "" {
			name = d.Type
		}
		key := string(d.ID) + " " + name
		if d.Offset != len(got[key]) {
			t.Errorf("%s: a piece at %d follows %d bytes", key, d.Offset, len(got[key]))
		}
		if d.Text == nil {
			if name != "stderr" {
				t.Errorf("%s at %d is text, and came as base64", key, d.Offset)
			}
			b, err := base64.StdEncoding.DecodeString(*d.Base64)
			if err != nil {
				t.Fatal(err)
			}
			got[key] += string(b)
			continue
		}
		got[key] += *d.Text
	}
	for key, w := range want {
		if got[key] != w {
			t.Errorf("%s: %d bytes, want %d", key, len(got[key]), len(w))
		}
	}
	first, last := list[0], list[len(list)-1]
	if first.Type != "header" || first.Format != "cctask-dump" || last.Type != "end" || *last.Tasks != 3 {
		t.Errorf("begins with %+v, ends with %+v", first, last)
	}
}

// The same content makes the same bytes: from an open database, from its file,
// and from a copy of the file taken while it was locked.
func TestDumpIsTheSameFromEverySource(t *testing.T) {
	t.Parallel()
	db, _ := dumpable(t)
	live := dumpOf(t, db)
	if dumpOf(t, db) != live {
		t.Error("a second dump differs")
	}
	if _, err := storage.OpenOffline(db.Path()); !errors.Is(err, task.ErrLocked) {
		t.Errorf("OpenOffline of a held file: %v", err)
	}
	dst := filepath.Join(t.TempDir(), "copy.db")
	if err := storage.CopyLive(db.Path(), dst); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{db.Path(), dst} {
		src, err := storage.OpenOffline(path)
		if err != nil {
			t.Fatal(err)
		}
		if dumpOf(t, src) != live {
			t.Errorf("the dump of %s differs", path)
		}
	}
	if err := storage.CopyLive(db.Path(), dst); !errors.Is(err, os.ErrExist) {
		t.Errorf("CopyLive over a file: %v", err)
	}
}

// watched calls a hook before each read of a stream.
type watched struct {
	task.Source
	before func(task.ID)
}

func (w watched) Stream(id task.ID, n int, s task.Stream, offset int64, limit int) ([]byte, error) {
	w.before(id)
	return w.Source.Stream(id, n, s, offset, limit)
}

// While a dump runs, the database can be written and tasks may go.
func TestDumpOfATaskThatIsRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	db, _ := dumpable(t)
	page, err := db.List(t.Context(), task.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	victim, late := page.Tasks[1].ID, page.Tasks[0].ID
	done := false
	list := parse(t, dumpOf(t, watched{db, func(id task.ID) {
		if id == victim && !done {
			done = true
			apply(t, db, chunk(late, 1, task.Stderr, 70<<10, "more"))
			if err := db.Remove(victim, task.ByRequest, time.Now()); err != nil {
				t.Error(err)
			}
		}
	}}))
	last := ""
	for _, d := range list {
		if d.ID == victim {
			last = d.Type
			if d.Removed != (d.Type == "removed") {
				t.Errorf("line %+v", d)
			}
		}
	}
	if last != "removed" || *list[len(list)-1].Tasks != 2 {
		t.Errorf("the removed task ends with %q, the dump with %+v", last, list[len(list)-1])
	}
}

// A copy that is made under a busy writer is whole, or is refused.
func TestCopyLiveUnderAWriter(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	id := submit(t, db, 0)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := db.Apply(chunk(id, 1, task.Stdout, 4*i, "some")); err != nil {
				stopped <- err
				return
			}
		}
	}()
	dir := t.TempDir()
	whole := 0
	for i := range 30 {
		dst := filepath.Join(dir, string(rune('A'+i)))
		err := storage.CopyLive(db.Path(), dst)
		if errors.Is(err, task.ErrLocked) {
			if _, err := os.Stat(dst); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a refused copy was left: %v", err)
			}
			continue
		}
		if err == nil {
			err = storage.CheckFile(dst)
		}
		if err != nil {
			t.Errorf("copy %d: %v", i, err)
		}
		whole++
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	t.Logf("%d of 30 copies were made", whole)
}

// circular names its tasks over and over, as a damaged tree may.
type circular struct{ task.Source }

func (c circular) Page(q task.DumpQuery) (task.DumpPage, error) {
	q.After = ""
	p, err := c.Source.Page(q)
	p.More = true
	return p, err
}

func TestDumpOfADamagedTreeEnds(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	submit(t, db, 0)
	if _, err := dump.Run(t.Context(), circular{db}, dump.Options{}, dump.Writer(io.Discard, "jsonl")); !errors.Is(err, task.ErrCorrupt) {
		t.Errorf("Dump: %v", err)
	}
}
