package storage_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/storagetest"
)

// A task whose JSON schema, name and labels look like the fields that filters
// look for in the raw record.
func misleading(i int, r *rand.Rand) task.Write {
	w := queued(i, fmt.Sprintf("Prompt %d of %s", i, strings.Repeat("Straße ", r.IntN(100))))
	s := &w.Task.Spec
	s.WorkingDir = []string{"/", "/a", "/a/b", "/ab", "/a/<c>"}[r.IntN(5)]
	s.Name = []string{"", "Build", "build/x", `"cost_usd":9,`, "other"}[r.IntN(5)]
	s.Labels = [][]string{nil, {"a"}, {"a", "b"}, {`"b"`}, {"ä<"}}[r.IntN(5)]
	if r.IntN(2) == 0 {
		s.JSONSchema = json.RawMessage(`{"cost_usd":7,"duration_ms":8,"started_at":"2001-01-01T00:00:00Z","labels":["a"],"working_dir":"/a"}`)
	}
	w.Task.CostUSD, w.Task.DurationMS = float64(r.IntN(4))/4, int64(r.IntN(4))*60_000
	return w
}

// Every filter in every order gives what a plain look at each task gives.
func TestFiltersAndOrders(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	db := storagetest.Open(t)
	const tasks = 60
	var made []task.Task
	for i := range tasks {
		w := misleading(i, r)
		if i > 0 && r.IntN(3) > 0 {
			parent := made[r.IntN(i)]
			w.Task.ParentID, w.Task.RootID, w.Task.Depth = parent.ID, parent.Root(), parent.Depth+1
		}
		made = append(made, *w.Task)
		apply(t, db, w)
		at := w.At.Add(time.Duration(r.IntN(100)) * time.Second)
		if r.IntN(4) > 0 {
			advance(t, db, w.Task.ID, at, task.Starting, task.Running)
			if r.IntN(3) > 0 {
				advance(t, db, w.Task.ID, at.Add(time.Duration(r.IntN(3))*time.Minute), []task.Status{task.Completed, task.Failed}[r.IntN(2)])
			}
		}
	}
	var all []task.Task
	for _, s := range pages(t, db, task.DumpQuery{}) {
		all = append(all, s.Task)
	}
	for range 500 {
		f := randomFilter(r)
		if r.IntN(3) == 0 {
			f.Below = made[r.IntN(10)].ID
		}
		var want, got []task.ID
		for _, x := range plainly(all, f) {
			want = append(want, x.ID)
		}
		// A dump selects the same, in its own order.
		dumped := pages(t, db, task.DumpQuery{Filter: f})
		if !slices.EqualFunc(slices.Sorted(slices.Values(want)), dumped, func(id task.ID, s task.Snapshot) bool { return s.Task.ID == id }) {
			t.Fatalf("%+v: dumped %d tasks, want %d", f, len(dumped), len(want))
		}
		for first := f; ; {
			page, err := db.List(t.Context(), first)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range page.Tasks {
				got = append(got, x.ID)
			}
			if first.Cursor = page.NextCursor; first.Cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("List(%+v) =\n%v, want\n%v", f, got, want)
		}
	}
}

func randomFilter(r *rand.Rand) task.Filter {
	f := task.Filter{Limit: 1 + r.IntN(70), Reverse: r.IntN(2) == 0, Now: t0.Add(time.Hour)}
	f.Sort = append(task.Sorts, "")[r.IntN(len(task.Sorts)+1)]
	for _, s := range task.Statuses {
		if r.IntN(3) == 0 {
			f.Statuses = append(f.Statuses, s)
		}
	}
	pick := func(to *string, values ...string) {
		if r.IntN(4) == 0 {
			*to = values[r.IntN(len(values))]
		}
	}
	pick(&f.WorkingDir, "/", "/a", "/a/", "/a/b", "/a/<c>")
	pick(&f.Name, "build", "BUILD*", "*", "[o]ther", "cost")
	pick(&f.Search, "prompt 1", "STRASSE", "straße straße")
	var label string
	if pick(&label, "a", "b", `"b"`, "ä<"); label != "" {
		f.Labels = append(f.Labels, label)
	}
	if r.IntN(4) == 0 {
		f.Since = t0.Add(time.Duration(r.IntN(40)) * time.Second)
	}
	if r.IntN(4) == 0 {
		f.Until = t0.Add(time.Duration(r.IntN(70)) * time.Second)
	}
	return f
}

// plainly is what the filter means, without an index.
func plainly(all []task.Task, f task.Filter) (list []task.Task) {
	parents := map[task.ID]task.ID{}
	for _, x := range all {
		parents[x.ID] = x.ParentID
	}
	below := func(id task.ID) bool {
		for id = parents[id]; id != "" && id != f.Below; {
			id = parents[id]
		}
		return id != ""
	}
	for _, x := range all {
		name, dir := strings.ToLower(x.Spec.Name), strings.TrimSuffix(f.WorkingDir, "/")
		switch glob := strings.ReplaceAll(strings.ToLower(f.Name), "/", "-"); {
		case len(f.Statuses) > 0 && !slices.Contains(f.Statuses, x.Status),
			f.WorkingDir != "" && x.Spec.WorkingDir != dir && !strings.HasPrefix(x.Spec.WorkingDir, dir+"/"),
			len(f.Labels) > 0 && !slices.Contains(x.Spec.Labels, f.Labels[0]),
			!f.Since.IsZero() && x.CreatedAt.Before(f.Since), !f.Until.IsZero() && !x.CreatedAt.Before(f.Until),
			f.Name != "" && name == "", f.Below != "" && !below(x.ID),
			f.Search != "" && !strings.Contains(strings.ToLower(x.PromptHead), strings.ToLower(f.Search)):
			continue
		case strings.ContainsAny(glob, "*["):
			if ok, _ := path.Match(glob, strings.ReplaceAll(name, "/", "-")); !ok {
				continue
			}
		case !strings.Contains(name, glob):
			continue
		}
		list = append(list, x)
	}
	sign := map[bool]int{false: 1, true: -1}[f.Reverse]
	slices.SortFunc(list, func(a, b task.Task) int {
		av, an := plainKey(a, f)
		bv, bn := plainKey(b, f)
		if an != bn {
			return map[bool]int{true: 1, false: -1}[an]
		}
		return sign * cmp.Or(strings.Compare(av, bv), strings.Compare(string(b.ID), string(a.ID)))
	})
	return list
}

func plainKey(x task.Task, f task.Filter) (key string, none bool) {
	down := func(n int64) string { return fmt.Sprintf("%020d", int64(1e18)-n) }
	switch f.Sort {
	case task.ByEnded:
		return down(x.FinishedAt.Unix()), !x.Status.Ended()
	case task.ByDuration:
		d := x.Elapsed(f.Now)
		return down(d.Milliseconds()), d == 0 && x.Status != task.Running
	case task.ByCost:
		return down(int64(x.CostUSD * 100)), false
	case task.ByCreated, "":
	}
	return "", false
}

// A page that nobody waits for any more is given up, and one that begins where
// no task is any more is refused.
func TestListGivesUp(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	storagetest.Fill(t, db, 600, t0, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, f := range []task.Filter{{Search: "nowhere"}, {Labels: []string{"nobody"}}, {Sort: task.ByCost}} {
		if page, err := db.List(ctx, f); !errors.Is(err, context.Canceled) {
			t.Errorf("List(%+v) = %d tasks, %v", f, len(page.Tasks), err)
		}
	}
	for _, f := range []task.Filter{{Sort: "size"}, {Name: "[x"}, {Sort: task.ByCost, Cursor: string(idAt(9999))}} {
		if _, err := db.List(t.Context(), f); !errors.Is(err, task.ErrInvalid) || task.HintOf(err) == "" {
			t.Errorf("List(%+v): %v", f, err)
		}
	}
}

// A search looks into all of a prompt, and into those of later attempts.
func TestSearchLooksIntoWholePrompts(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	w := queued(1, strings.Repeat("x", 256<<10-3)+"Needle"+strings.Repeat("y", 1000))
	apply(t, db, w)
	for search, want := range map[string]int{"xneedley": 1, "needles": 0} {
		if page, err := db.List(t.Context(), task.Filter{Search: search}); err != nil || len(page.Tasks) != want {
			t.Errorf("%q: %d tasks, %v", search, len(page.Tasks), err)
		}
	}
}
