package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"cctask/internal/testkit/fakeapi"
)

// What cctask costs a model in a session of the real CLI: the tools that every
// request carries, and the results of a fan-out of ten, counted in the requests.
func TestRealClaudePaysLittle(t *testing.T) {
	w := newWorld(t)
	const n = 10
	var starts, checks, reports, want []string
	for i := range n {
		starts = append(starts, fmt.Sprintf(`{"name":"mcp__cctask__start_cc_task_async","input":{"prompt":"[[text inner answer %d]]","name":"part %d"}}`, i, i))
		checks = append(checks, fmt.Sprintf(`{"name":"mcp__cctask__check_task_status","input":{"task_id":"${result.%d.task_id}","wait_seconds":600}}`, i))
		reports = append(reports, fmt.Sprintf("${result.%d.result}", n+i))
		want = append(want, fmt.Sprintf("inner answer %d", i))
	}
	answer := w.says("Fan out. [[tools " + strings.Join(starts, " ") + "]][[tools " + strings.Join(checks, " ") + "]][[text " + strings.Join(reports, ", ") + "]]")
	if answer != strings.Join(want, ", ") {
		t.Errorf("the model read %q", answer)
	}
	var last fakeapi.Request
	for _, r := range w.API.Requests() {
		if r.Kind == fakeapi.KindMain && strings.HasPrefix(r.Prompt, "Fan out.") {
			last = r
		}
	}
	if len(last.ToolResults) != 2*n {
		t.Fatalf("%d tool results", len(last.ToolResults))
	}
	total := 0
	for i, r := range last.ToolResults {
		size := utf8.RuneCountInString(r.Text)
		total += size
		if i < n && size >= 300 {
			t.Errorf("a start is answered in %d characters: %s", size, r.Text)
		}
	}
	t.Logf("a start: %s\na check: %s\nall results: %d characters", last.ToolResults[0].Text, last.ToolResults[n].Text, total)
	if total >= 10_000 {
		t.Errorf("the results of a fan-out of %d have %d characters", n, total)
	}
	var body struct{ Tools []json.RawMessage }
	must(t, json.Unmarshal(last.Raw, &body))
	loaded, size := 0, 0
	for _, tool := range body.Tools {
		if strings.Contains(string(tool), `"mcp__cctask__`) {
			loaded++
			size += utf8.RuneCount(tool)
		}
	}
	t.Logf("%d tools are loaded, with %d characters", loaded, size)
	if loaded != 3 || size >= 9_000 {
		t.Errorf("%d tools are loaded, with %d characters", loaded, size)
	}
}
