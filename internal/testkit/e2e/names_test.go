package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// A client that repeats cleanup_task, because an answer was lost, must not delete
// one task after the other of a name.
func TestCleanupOfANameOfSeveral(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, nil, fakeclaude.Binary(t))
	s := w.connect()
	live := w.Start("[[hang]]", "--name", "build")
	ended := w.Start("[[text q]]", "--name", "build")
	w.Wait(ended)
	refused := func(args map[string]any, want ...string) {
		t.Helper()
		for range 2 {
			_, r := w.call(s, "cleanup_task", args)
			text, _ := json.Marshal(r.Content)
			for _, word := range append(want, "ambiguous: ") {
				if !r.IsError || !strings.Contains(string(text), word) {
					t.Errorf("cleanup_task %v: %s has no %q", args, text, word)
				}
			}
		}
	}
	refused(map[string]any{"task_id": "build"}, live+" (build, ", ended+" (build, completed, ")
	refused(map[string]any{"task_id": "last"}, "last may be another task")
	refused(map[string]any{"task_id": "last", "keep_record": true}, "last may be another task")
	const note = `"build" fits 2 tasks; `
	got, _ := w.call(s, "check_task_status", map[string]any{"task_id": "build", "wait_seconds": 1})
	if got["task_id"] != ended || got["note"] != note+"this is "+ended+", the newest of that name" {
		t.Errorf("check_task_status: %v", got)
	}
	got, _ = w.call(s, "cleanup_task", map[string]any{"task_id": "build", "keep_record": true})
	if got["task_id"] != live || got["status"] != "cancelled" || got["note"] != note+live+" is the only one that has not ended" {
		t.Errorf("cleanup_task keep_record: %v", got)
	}
	for _, id := range []string{live, ended} {
		if v := w.View(id); v.Status == task.Running {
			t.Errorf("%s is %s", id, v.Status)
		}
	}
}
