package storage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/storagetest"
)

// withID submits a task of a chosen id and name.
func withID(t *testing.T, s interface{ Apply(...task.Write) error }, i int, id, name string) task.ID {
	t.Helper()
	w := queued(i, "x")
	w.Task.ID, w.Prompt.ID, w.Task.Spec.Name = task.ID(id), task.ID(id), name
	if err := s.Apply(w); err != nil {
		t.Fatal(err)
	}
	return w.Task.ID
}

func TestResolve(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	a := withID(t, db, 0, "01AAAA0000000000000000KEEP", "nightly")
	b := withID(t, db, 1, "01AAAB0000000000000000KEEP", "nightly")
	c := withID(t, db, 2, "01CCCC0000000000000000EAST", "01AAAA")
	d := withID(t, db, 3, "01DDDD00000000000000001AAA", "lone/name ü")
	for ref, want := range map[string]task.ID{
		string(a):                    a,
		strings.ToLower(string(b)):   b,
		"nightly":                    b, // the newest
		"lone/name ü":                d,
		"01AAAA":                     c, // a name goes before a prefix
		"01aaab":                     b,
		"01AAAA0":                    a,
		"last":                       d,
		"east":                       c,
		"0EAST":                      c,
		"01AAA":                      "", // two
		"keep":                       "", // two
		"01AAAC":                     "-",
		"EAS":                        "-", // too short
		"":                           "-",
		"Nightly":                    "-", // names are exact
		"night":                      "-",
		"\x00":                       "-",
		string(a) + "0":              "-",
		"01AAAA0000000000000000XXXX": "-",
	} {
		m, err := db.Resolve(ref)
		var got task.ID
		if err == nil {
			got, _, err = m.Choose(task.ToRead, time.Now())
		}
		switch want {
		case "":
			if !errors.Is(err, task.ErrAmbiguous) || !strings.Contains(err.Error(), string(a)+" (nightly, queued, ") || task.HintOf(err) == "" {
				t.Errorf("Resolve(%q) = %q, %v, want several", ref, got, err)
			}
		case "-":
			if !errors.Is(err, task.ErrNotFound) || task.HintOf(err) != "List the tasks with `cctask list --all`." {
				t.Errorf("Resolve(%q) = %q, %v, want none", ref, got, err)
			}
		default:
			if got != want || err != nil {
				t.Errorf("Resolve(%q) = %q, %v, want %q", ref, got, err, want)
			}
		}
	}
}

// What a reference fits is counted, so that nothing is changed by a name that
// others bear, or that is a part of another's id.
func TestResolveSeveral(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	a := withID(t, db, 0, "01AAAA0000000000000000KEEP", "nightly")
	b := withID(t, db, 1, "01AAAB0000000000000000KEEP", "nightly")
	c := withID(t, db, 2, "01CCCC0000000000000000EAST", "01AAAA")
	withID(t, db, 3, "01DDDD00000000000000001AAA", string(a)) // of an older version
	e := withID(t, db, 4, "0EASTE00000000000000003EEE", "")
	advance(t, db, b, t0.Add(time.Hour), task.Starting, task.Running, task.Completed)
	for ref, want := range map[string]task.Match{
		"nightly": {ID: b, Count: 2, Live: 1, Tasks: []task.Candidate{{ID: a, Name: "nightly", Status: task.Queued}, {ID: b, Name: "nightly", Status: task.Completed}}},
		"01AAAA":  {ID: c, Count: 2, Tasks: []task.Candidate{{ID: c, Name: "01AAAA", Status: task.Queued}, {ID: a, Name: "nightly", Status: task.Queued}}},
		"0EAST":   {ID: e, Count: 2, Tasks: []task.Candidate{{ID: e, Status: task.Queued}, {ID: c, Name: "01AAAA", Status: task.Queued}}},
		"last":    {ID: e, Count: 1},
		string(a): {ID: a, Count: 1},
	} {
		got, err := db.Resolve(ref)
		for i := range got.Tasks {
			got.Tasks[i].CreatedAt = time.Time{}
		}
		if want.Ref = ref; ref == "last" {
			want.Ref = string(e)
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Resolve(%q): %v\n got %+v\nwant %+v", ref, err, got, want)
		}
	}
	if err := db.Remove(a, task.ByRequest, time.Now()); err != nil {
		t.Fatal(err)
	}
	if m, err := db.Resolve(string(a)); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("the id of a removed task is another one's name: %+v, %v", m, err)
	}
}

// last is the newest task, until a task has that name.
func TestResolveLast(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	if m, err := db.Resolve("last"); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("without tasks: %q, %v", m.ID, err)
	}
	// The clock was set back after the first: it has the higher id.
	high := withID(t, db, 1, "01CCCC0000000000000000KEEP", "")
	later := withID(t, db, 0, "01BBBB0000000000000000KEEP", "")
	if m, err := db.Resolve("last"); m.ID != later || err != nil {
		t.Errorf("after the clock was set back: %q, %v", m.ID, err)
	}
	advance(t, db, later, t0, task.Cancelled)
	if err := db.Remove(later, task.ByRequest, t0); err != nil {
		t.Fatal(err)
	}
	if m, err := db.Resolve("last"); m.ID != high || err != nil {
		t.Errorf("after the removal of the last one: %q, %v", m.ID, err)
	}
	named := withID(t, db, 2, "01AAAA0000000000000000KEEP", "last")
	submit(t, db, 3)
	if m, err := db.Resolve("last"); m.ID != named || err != nil {
		t.Errorf("with a name: %q, %v", m.ID, err)
	}
}

// A name is one however it is composed, also that of a record from before all
// were kept composed.
func TestResolveComposed(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	old := withID(t, db, 0, "01AAAA0000000000000000KEEP", "cafe\u0301")
	for _, ref := range []string{"cafe\u0301", "caf\u00e9"} {
		if m, err := db.Resolve(ref); m.ID != old || err != nil {
			t.Errorf("%q: %q, %v", ref, m.ID, err)
		}
	}
	newer := withID(t, db, 1, "01CCCC0000000000000000KEEP", "caf\u00e9")
	for _, ref := range []string{"cafe\u0301", "caf\u00e9"} {
		if m, err := db.Resolve(ref); m.ID != newer || m.Count != 2 || err != nil {
			t.Errorf("%q: %+v, %v", ref, m, err)
		}
		if p, err := db.List(t.Context(), task.Filter{Name: ref}); len(p.Tasks) != 2 || err != nil {
			t.Errorf("--name %q: %d tasks, %v", ref, len(p.Tasks), err)
		}
	}
}

// A mistyped reference gets what is nearest to it.
func TestNearest(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	const first, second = "01AAAA0000000000000000KEEP", "01CCCC0000000000000000EAST"
	withID(t, db, 0, first, "nightly")
	withID(t, db, 1, second, "nightly")
	withID(t, db, 2, "01DDDD00000000000000001AAA", "Größe 7")
	withID(t, db, 3, "01EEEE00000000000000002BBB", "survey of the sources")
	withID(t, db, 4, "01FFFF00000000000000003CCC", "survey")
	for ref, want := range map[string]string{
		"nigthly":                    "nightly", // once, though two have it
		"Nightly":                    "nightly",
		"grösse 7":                   "Größe 7",
		"surveys":                    "survey",
		"surve":                      "survey, survey of the sources",
		"01AAAA00000000000000OOKEEP": first,
		"01cccd":                     second,
		"FAST":                       second,
		"nothing like it":            "",
		"01A":                        "",
		"\xff":                       "",
		"":                           "",
	} {
		_, err := db.Resolve(ref)
		text := fmt.Sprintf("no task %q", ref)
		if len(ref) < 4 {
			text += "; a part of an id has at least 4 characters"
		}
		if want != "" {
			text += "; nearest: " + want
		}
		if !errors.Is(err, task.ErrNotFound) || err.Error() != text {
			t.Errorf("Resolve(%q): %v, want %s", ref, err, text)
		}
	}
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	var labelled []task.ID
	for i := range 25 {
		w := queued(i, "x")
		if i%4 == 0 {
			w.Task.Spec.Labels = []string{"other", "<nächtlich>"}
			labelled = append(labelled, w.Task.ID)
		} else {
			w.Task.Spec.WorkingDir = "/<nächtlich>"
		}
		apply(t, db, w)
	}
	slices.Reverse(labelled)
	var got []task.ID
	f := task.Filter{Labels: []string{"<nächtlich>"}, Statuses: []task.Status{task.Queued, task.Running}, Limit: 3}
	for pages := 1; ; pages++ {
		page, err := db.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Tasks {
			got = append(got, v.ID)
		}
		if f.Cursor = page.NextCursor; f.Cursor == "" {
			if pages != 3 {
				t.Errorf("%d pages for %d tasks", pages, len(got))
			}
			break
		}
	}
	if !slices.Equal(got, labelled) {
		t.Errorf("List = %v, want %v", got, labelled)
	}
	for _, bad := range []task.Filter{{Limit: -1}, {Limit: 1001}, {Cursor: "x"}, {Statuses: []task.Status{"done"}}} {
		if _, err := db.List(t.Context(), bad); !errors.Is(err, task.ErrInvalid) || task.HintOf(err) == "" {
			t.Errorf("List(%+v): %v", bad, err)
		}
	}
	if page, err := db.List(t.Context(), task.Filter{Labels: []string{"nobody"}}); err != nil || page.Tasks == nil || len(page.Tasks) > 0 {
		t.Errorf("an empty list is %v, %v", page, err)
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	id, none := submit(t, db, 0), idAt(1)
	_, e1 := db.Task(none)
	_, e2 := db.Attempt(id, 2)
	_, e3 := db.Attempt(none, 1)
	_, e4 := db.Attempts(none)
	_, e5 := db.Prompt(id, 2)
	_, e6 := db.Env(none)
	_, e7 := db.Stream(none, 1, task.Stdout, 0, 1)
	_, e8 := db.Sealed(none, 1, task.Stdout)
	for i, err := range []error{e1, e2, e3, e4, e5, e6, e7, e8} {
		if !errors.Is(err, task.ErrNotFound) || task.HintOf(err) == "" {
			t.Errorf("%d: %v", i+1, err)
		}
	}
	if err := db.Remove(none, task.ByRequest, time.Now()); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if n, err := db.Sealed(id, 7, task.Stdout); err != nil || n != 0 {
		t.Errorf("Sealed of an attempt to come = %d, %v", n, err)
	}
}

// An environment is kept to the byte, also where it is no text.
func TestEnvironmentToTheByte(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	for i, env := range [][]string{{}, {"A=caf\xe9", "B=text"}, {"\xff=\xfe"}, {"C=\"b\u2028"}} {
		w := queued(i, "x")
		w.Env = env
		if err := db.Apply(w); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Env(w.Task.ID); err != nil || got == nil || !slices.Equal(got, env) {
			t.Errorf("%q became %q, %v", env, got, err)
		}
	}
}

// Without its key an environment is an error with a way out, never garbage;
// and its plaintext is nowhere in the state directory.
func TestEnvKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	db := storagetest.OpenIn(t, dir)
	id := submit(t, db, 0)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if b, err := os.ReadFile(filepath.Join(dir, e.Name())); err != nil || strings.Contains(string(b), "s3cret") {
			t.Errorf("%s holds the environment in the clear, %v", e.Name(), err)
		}
	}
	key := filepath.Join(dir, "env.key")
	good, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"lost":  func() error { return os.Remove(key) },
		"short": func() error { return os.WriteFile(key, good[:31], 0o600) },
		"other": func() error { return os.WriteFile(key, make([]byte, 32), 0o600) },
	} {
		if err := errors.Join(db.Close(), spoil()); err != nil {
			t.Fatal(err)
		}
		db = storagetest.OpenIn(t, dir)
		if env, err := db.Env(id); !errors.Is(err, task.ErrCorrupt) || task.HintOf(err) == "" || env != nil {
			t.Errorf("%s: Env = %q, %v", name, env, err)
		}
	}
	if err := errors.Join(db.Close(), os.WriteFile(key, good, 0o600)); err != nil {
		t.Fatal(err)
	}
	db = storagetest.OpenIn(t, dir)
	if env, err := db.Env(id); err != nil || len(env) != 2 {
		t.Errorf("with its key again: %q, %v", env, err)
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	var ids []task.ID
	for i := range 6 {
		ids = append(ids, submit(t, db, i))
	}
	// The last two stay queued; the others end in the order 3, 1, 0, 2.
	order := []task.ID{ids[3], ids[1], ids[0], ids[2]}
	ends := []task.Status{task.Failed, task.Interrupted, task.Cancelled, task.Completed}
	for i, id := range order {
		advance(t, db, id, t0, task.Starting, task.Running)
		apply(t, db, chunk(id, 1, task.Stdout, 0, lines(1<<10)))
		advance(t, db, id, t0.Add(time.Duration(i)*time.Hour), ends[i])
	}
	now := t0.Add(10 * time.Hour)
	for name, c := range map[string]struct {
		p    task.KeepPolicy
		max  int
		want int
	}{
		"for ever":      {task.KeepPolicy{}, 9, 0},
		"by age":        {task.KeepPolicy{Age: 9 * time.Hour}, 9, 2},
		"by count":      {task.KeepPolicy{Count: 1}, 9, 3},
		"by size":       {task.KeepPolicy{Size: 1}, 9, 4},
		"size is ample": {task.KeepPolicy{Size: 1 << 20}, 9, 0},
		"the strictest": {task.KeepPolicy{Age: 9 * time.Hour, Count: 1, Size: 1 << 20}, 9, 3},
		"limited":       {task.KeepPolicy{Age: 1}, 2, 2},
	} {
		list, err := db.Expired(c.p, now, c.max)
		got := idsOf(list)
		if err != nil || !slices.Equal(got, order[:c.want]) {
			t.Errorf("%s: Expired = %v, %v, want %v", name, got, err, order[:c.want])
		}
	}
	// Resumed, it is no longer ended.
	advance(t, db, order[1], now, task.Queued)
	if got, err := db.Expired(task.KeepPolicy{Age: 1}, now, 9); err != nil || slices.Contains(idsOf(got), order[1]) || len(got) != 3 {
		t.Errorf("after a resume: %v, %v", got, err)
	}
	// Each is told with its rule.
	d, err := db.Doom(task.KeepPolicy{Age: 9 * time.Hour, Count: 1}, now)
	want := task.Doom{Expired: 2, Ended: 3, Rules: map[string]int{"keep-age=9h": 1, "keep-count=1": 1}, Newest: t0.Add(3 * time.Hour)}
	if d.Newest = d.Newest.UTC(); err != nil || !reflect.DeepEqual(d, want) {
		t.Errorf("Doom = %+v, %v, want %+v", d, err, want)
	}
}

func idsOf(list []task.Expiry) (ids []task.ID) {
	for _, x := range list {
		ids = append(ids, x.ID)
	}
	return ids
}

// What the retention waits for outlives its owner, and every list tells it.
func TestHold(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	db := storagetest.OpenIn(t, dir)
	h := task.Hold{Since: t0, Doom: task.Doom{Expired: 1, Ended: 1, Rules: map[string]int{"keep-age=1h": 1}, Newest: t0}, Why: "why"}
	if err := db.SetHold(h); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = storagetest.OpenIn(t, dir)
	page, err := db.List(t.Context(), task.Filter{})
	if got, holdErr := db.Hold(); holdErr != nil || err != nil || !reflect.DeepEqual(got, h) || page.Note != h.String() || !strings.Contains(page.Note, "1 of 1 ended tasks (1 under keep-age=1h): why") {
		t.Errorf("Hold = %+v, %v; the list says %q, %v", got, holdErr, page.Note, err)
	}
	if err := db.SetHold(task.Hold{}); err != nil {
		t.Fatal(err)
	}
	if page, err := db.List(t.Context(), task.Filter{}); err != nil || page.Note != "" {
		t.Errorf("after it: %q, %v", page.Note, err)
	}
}

// A removal of a large output takes several commits; the task is gone with the
// first, and a crash after it is mended by the next Open.
func TestRemoveLargeOutput(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	db := storagetest.OpenIn(t, dir)
	id, other := submit(t, db, 0), submit(t, db, 1)
	for _, v := range []task.ID{id, other} {
		w := task.Write{}
		for i := range 600 {
			w.Chunks = append(w.Chunks, task.Blob{ID: v, Attempt: 1, Stream: task.Stdout, Offset: int64(i), Data: []byte{byte(i)}})
		}
		apply(t, db, w)
	}
	if err := db.RemoveFirst(id); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Task(id); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("after the first commit: %v", err)
	}
	if err := db.Apply(chunk(id, 1, task.Stdout, 600, "x")); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("a chunk for a task being removed: %v", err)
	}
	again := queued(0, "x")
	again.Task.ID, again.Prompt.ID = id, id
	if err := db.Apply(again); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("the task again, amid its removal: %v", err)
	}
	if n, err := db.Pieces(id); err != nil || n == 0 || n >= 600 {
		t.Errorf("%d pieces are left after the first commit, %v", n, err)
	}
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		t.Fatal(err)
	}
	db = storagetest.OpenIn(t, dir)
	if n, err := db.Pieces(id); err != nil || n != 0 {
		t.Errorf("%d pieces are left after Open, %v", n, err)
	}
	if n, err := db.Sealed(other, 1, task.Stdout); err != nil || n != 600 {
		t.Errorf("the other task has %d bytes, %v", n, err)
	}
}
