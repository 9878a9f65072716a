package engine_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// draft gives options by their names.
func draft(t *testing.T, options string) (d task.Draft) {
	t.Helper()
	if err := json.Unmarshal([]byte(options), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// A pause, a bound, a hold and a start time are what the next owner finds: each
// answer follows its commit.
func TestWhatIsSetOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	yes, one := true, 1
	for _, c := range []task.GroupChange{{Name: "docs", Paused: &yes}, {Name: "tests", Jobs: &one}, {Paused: &yes}} {
		_, err := w.Groups(w.ctx, &c)
		w.must(err)
	}
	ids := map[task.ID]task.WaitingFor{}
	submit := func(s task.Spec, want task.WaitingFor) task.ID {
		s.WorkingDir, s.Claude = w.home, w.claude
		got, err := w.Submit(w.ctx, engine.Submission{Spec: s, Prompt: "before", Env: w.env()})
		w.must(err)
		ids[got.ID] = want
		return got.ID
	}
	docs := submit(task.Spec{Group: "docs"}, task.WaitGroupPaused)
	held := submit(task.Spec{Group: "other"}, task.WaitHeld)
	_, err := w.Edit(w.ctx, engine.Edit{Ref: string(held), Options: draft(t, `{"hold":true,"priority":5}`), Prompt: "after"})
	w.must(err)
	late := submit(task.Spec{StartAt: "2h"}, task.WaitStartAt)
	check := func(when string) {
		t.Helper()
		for id, want := range ids {
			got, err := w.Get(w.ctx, string(id))
			w.must(err)
			if got.Waiting.For != want {
				t.Errorf("%s: %+v waits for %+v, want %s", when, got.Spec, got.Waiting, want)
			}
		}
	}
	check("at first")
	w.Close()
	w.open()
	check("under the next owner")
	no := false
	groups, err := w.Groups(w.ctx, &task.GroupChange{Paused: &no})
	w.must(err)
	if got := fmt.Sprint(groups); got != "[{ 0 false 0 3} {default 0 false 0 1} {docs 0 true 0 1} {other 0 false 0 1} {tests 1 false 0 0}]" {
		t.Errorf("the groups are %s", got)
	}
	check("without the pause of all")
	_, err = w.Groups(w.ctx, &task.GroupChange{Name: "docs", Paused: &no})
	w.must(err)
	w.end(docs, task.Completed)
	_, err = w.Edit(w.ctx, engine.Edit{Ref: string(held), Options: draft(t, `{"hold":false}`)})
	w.must(err)
	if got := w.end(held, task.Completed); got.Spec.Priority != 5 || got.PromptHead != "after" {
		t.Errorf("the edited task is %+v, %q", got.Spec, got.PromptHead)
	}
	if got, err := w.Output(w.ctx, engine.OutputQuery{Ref: string(held), Stream: task.Prompt}); err != nil || string(got.Data) != "after" {
		t.Errorf("its prompt is %q, %v", got.Data, err)
	}
	soon := time.Now().Add(time.Second)
	_, err = w.Edit(w.ctx, engine.Edit{Ref: string(late), Options: draft(t, `{"start_at":"`+soon.Format(time.RFC3339Nano)+`"}`)})
	w.must(err)
	if got := w.end(late, task.Completed); got.StartedAt.Before(soon) {
		t.Errorf("it started at %v, before %v", got.StartedAt, soon)
	}
	w.starts(3)
}
