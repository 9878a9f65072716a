package show

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/summary"
)

// night are tasks that ended, and wait, in as many ways as a summary tells.
func night() (tasks []task.Task, titles map[task.ID]string) {
	titles = map[task.ID]string{}
	add := func(name string, t task.Task, queued time.Duration) {
		t.CreatedAt = now.Add(-10 * time.Hour)
		t.ID = task.ID("01KA0000000000000000" + "ABCDEFGHIJKLMNOPQRST"[len(tasks):len(tasks)+1] + "XXXXX")
		t.History = []task.Change{{At: t.CreatedAt, To: task.Queued}}
		if t.Status != task.Queued {
			t.History = append(t.History, task.Change{At: t.CreatedAt.Add(queued), From: task.Queued, To: task.Starting})
			t.FinishedAt = t.CreatedAt.Add(queued).Add(time.Hour)
			t.DurationMS, t.CostUSD, t.NumTurns = time.Hour.Milliseconds(), 0.25, 3
		}
		titles[t.ID] = name
		tasks = append(tasks, t)
	}
	limit := task.Attempt{Reason: task.ReasonUsageLimit, RetryAt: now.Add(-time.Hour)}
	add("first", task.Task{Status: task.Completed, Attempt: 1}, time.Minute)
	add("limited twice", task.Task{Status: task.Completed, Attempt: 3, Attempts: []task.Attempt{limit, limit, {}}}, 2*time.Hour)
	add("limited, then broken", task.Task{
		Status: task.Failed, Reason: task.ReasonMaxTurns, Attempt: 2, CostUncertain: true,
		Attempts: []task.Attempt{limit, {Reason: task.ReasonMaxTurns}},
	}, time.Second)
	for range 6 {
		add("no key", task.Task{Status: task.Failed, Reason: task.ReasonAuth, Attempt: 1}, 0)
	}
	add("from an older record", task.Task{Status: task.Interrupted, Attempt: 1}, 0)
	add("limited still", task.Task{Status: task.Failed, Reason: task.ReasonRateLimited, RetryAt: now.Add(time.Hour), Attempt: 1}, 0)
	add("after others", task.Task{Status: task.Completed, Attempt: 1, Spec: task.Spec{After: []string{string(tasks[0].ID), string(tasks[1].ID) + ":any"}}}, 4*time.Hour)
	add("by night", task.Task{Status: task.Completed, Attempt: 1, NotBefore: now.Add(-8 * time.Hour)}, 150*time.Minute)
	for range 2 {
		add("held", task.Task{Status: task.Queued, Waiting: task.Waiting{For: task.WaitHeld}}, 0)
	}
	add("next", task.Task{Status: task.Queued, Waiting: task.Waiting{For: task.WaitSlot}}, 0)
	return tasks, titles
}

func TestSummary(t *testing.T) {
	t.Parallel()
	tasks, titles := night()
	s := summary.Of(tasks, now)
	object, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"80.txt": Summary(s, titles, 80, false), "40.txt": Summary(s, titles, 40, false), "json": string(object) + "\n"} {
		for line := range strings.Lines(got) {
			if w := Width(strings.TrimSuffix(line, "\n")); name == "40.txt" && w > 40 {
				t.Errorf("a line of %d columns: %q", w, line)
			}
		}
		for _, at := range []time.Time{now.Add(-time.Hour), now.Add(time.Hour)} { // wherever the test runs
			got = strings.ReplaceAll(got, at.Local().Format(time.DateTime), at.UTC().Format(time.DateTime))
		}
		file := filepath.Join("..", "..", "testdata", "summary", name)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != got {
			t.Errorf("%s is another; -update writes it anew: %v\n%s", file, err, got)
		}
	}
	if text := Summary(summary.Of(nil, now), nil, 80, true); text != "0 tasks\n" {
		t.Errorf("of nothing: %q", text)
	}
}
