package servicetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"cctask/engine"
	"cctask/engine/task"
)

// batch are tasks by name, prompt and what each waits for.
func (s *suite) batch(key string, rows ...[3]string) engine.Batch {
	b := engine.Batch{Key: key}
	for _, r := range rows {
		one := s.submission(r[1])
		one.Spec.Name = r[0]
		if r[2] != "" {
			one.Spec.After = strings.Fields(r[2])
		}
		b.Tasks = append(b.Tasks, one)
	}
	return b
}

func (s *suite) count() int {
	s.Helper()
	page, err := s.List(s.ctx, task.Filter{Limit: 1000})
	s.must(err)
	return len(page.Tasks)
}

// Tasks that are submitted together find each other by name and position, also one that
// stands further down, and before a task of the same name that was there.
func (s *suite) batchNamesItsOwn() {
	old := s.submission("[[fail]]")
	old.Spec.Name = "build"
	_, err := s.Submit(s.ctx, old)
	s.must(err)
	tasks, err := s.SubmitAll(s.ctx, s.batch("", [3]string{"ship", "[[text shipped]]", "build 3:any"}, [3]string{"build", "[[text built]]", ""}, [3]string{"", "[[text third]]", "build"}))
	s.must(err)
	if want := []string{string(tasks[1].ID), string(tasks[2].ID) + ":any"}; !slices.Equal(tasks[0].Spec.After, want) {
		s.Errorf("the first one waits for %v, want %v", tasks[0].Spec.After, want)
	}
	for _, t := range tasks {
		s.wants(s.end(t.ID), task.Completed, "")
	}
	if !slices.IsSortedFunc(tasks, func(a, b task.Task) int { return strings.Compare(string(a.ID), string(b.ID)) }) {
		s.Errorf("not in their order: %v %v %v", tasks[0].ID, tasks[1].ID, tasks[2].ID)
	}
}

// One bad task, and none is recorded.
func (s *suite) batchAllOrNone() {
	good := [3]string{"good", "[[text x]]", ""}
	held := s.batch("k", good)
	_, err := s.SubmitAll(s.ctx, held)
	s.must(err)
	before := s.count()
	nowhere := s.batch("", good, good)
	nowhere.Tasks[1].Spec.WorkingDir = "/nowhere"
	twice := s.batch("", good, good)
	twice.Tasks[0].Key, twice.Tasks[1].Key = "same", "same"
	for what, b := range map[string]engine.Batch{
		"nothing":                         {},
		"task 2: after: no task":          s.batch("", good, [3]string{"b", "x", "nobody"}),
		"task 2: after: a task cannot":    s.batch("", good, [3]string{"b", "x", "b"}),
		"task 3: after: a task cannot":    s.batch("", good, good, [3]string{"", "x", "3"}),
		"would wait for each other":       s.batch("", [3]string{"a", "x", "c"}, [3]string{"b", "x", "1"}, [3]string{"c", "x", "b"}),
		"several tasks of this call":      s.batch("", good, good, [3]string{"b", "x", "good"}),
		"task 2: working_dir":             nowhere,
		"task 2: prompt":                  s.batch("", good, [3]string{"b", "", ""}),
		`task 2: the idempotency_key "sa`: twice,
	} {
		if _, err := s.SubmitAll(s.ctx, b); !errors.Is(err, task.ErrInvalid) && !errors.Is(err, task.ErrNotFound) && !errors.Is(err, task.ErrAmbiguous) || !strings.Contains(err.Error(), what) && len(b.Tasks) > 0 {
			s.Errorf("want %s: %v", what, err)
		}
	}
	if n := s.count(); n != before {
		s.Errorf("%d tasks, there were %d", n, before)
	}
}

// A key stands for the whole batch: the same again gives the same tasks, also at once,
// and anything else under it is refused.
func (s *suite) batchHasOneKey() {
	rows := [][3]string{{"a", "[[text a]]", ""}, {"b", "[[text b]]", "a"}, {"c", "[[text c]]", "2"}}
	all := make([][]task.Task, 8)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			var err error
			if all[i], err = s.SubmitAll(s.ctx, s.batch("night", rows...)); err != nil {
				s.Error(err)
			}
		})
	}
	wg.Wait()
	for _, tasks := range all {
		for i, t := range tasks {
			if t.ID != all[0][i].ID {
				s.Errorf("one key, tasks %v and %v", t.ID, all[0][i].ID)
			}
		}
	}
	if n := s.count(); n != 3 {
		s.Fatalf("%d tasks, want 3", n)
	}
	more := append(slices.Clone(rows), [3]string{"d", "[[text d]]", ""})
	other := slices.Clone(rows)
	other[2][1] = "something else"
	for i, rows := range [][][3]string{more, rows[:2], other} {
		if _, err := s.SubmitAll(s.ctx, s.batch("night", rows...)); !errors.Is(err, task.ErrIdempotencyConflict) {
			s.Errorf("other tasks, case %d: %v", i, err)
		}
	}
	one := s.submission("[[text a]]")
	one.Key, one.Spec.Name = "night", "a"
	if _, err := s.Submit(s.ctx, one); !errors.Is(err, task.ErrIdempotencyConflict) {
		s.Errorf("a single task under the key: %v", err)
	}
	s.end(all[0][2].ID)
	s.must(s.Remove(s.ctx, string(all[0][0].ID), false))
	again, err := s.SubmitAll(s.ctx, s.batch("night", rows...))
	s.must(err)
	if t := again[0]; t.ID != all[0][0].ID || t.Status != "" || !strings.Contains(t.Message, "was removed") {
		s.Errorf("a removed one is %+v", t)
	}
	if t := again[1]; t.ID != all[0][1].ID || t.Status != task.Completed {
		s.Errorf("one that is there is %+v", t)
	}
}

// Where each task has its own key, those that are recorded already are given, and the
// others are recorded beside them.
func (s *suite) batchGoesOn() {
	rows := [][3]string{{"a", "[[text a]]", ""}, {"b", "[[text b]]", "a"}}
	keyed := func(rows ...[3]string) engine.Batch {
		b := s.batch("", rows...)
		for i := range b.Tasks {
			b.Tasks[i].Key = fmt.Sprintf("file/%d", i+1)
		}
		return b
	}
	first, err := s.SubmitAll(s.ctx, keyed(rows...))
	s.must(err)
	more, err := s.SubmitAll(s.ctx, keyed(append(rows, [3]string{"c", "[[text c]]", "a b"})...))
	s.must(err)
	if more[0].ID != first[0].ID || more[1].ID != first[1].ID || !slices.Equal(more[2].Spec.After, []string{string(first[0].ID), string(first[1].ID)}) {
		s.Errorf("first %v %v, then %v %v, after %v", first[0].ID, first[1].ID, more[0].ID, more[1].ID, more[2].Spec.After)
	}
	last := s.batch("", [3]string{"d", "[[text d]]", "c 1"})
	for _, t := range more {
		last.Before = append(last.Before, engine.Named{ID: t.ID, Name: t.Spec.Name})
	}
	end, err := s.SubmitAll(s.ctx, last)
	s.must(err)
	if !slices.Equal(end[0].Spec.After, []string{string(more[2].ID), string(first[0].ID)}) {
		s.Errorf("after %v", end[0].Spec.After)
	}
	s.wants(s.end(end[0].ID), task.Completed, "")
}
