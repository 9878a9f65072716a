package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"cctask/engine/task"
	"cctask/internal/testkit/cctest"
)

// connect starts cctask mcp under the official client.
func (w *world) connect() *sdk.ClientSession {
	w.T.Helper()
	client := sdk.NewClient(&sdk.Implementation{Name: "e2e", Version: "1"}, nil)
	s, err := client.Connect(context.Background(), &sdk.CommandTransport{Command: w.Command("mcp")}, nil)
	must(w.T, err)
	w.T.Cleanup(func() { _ = s.Close() })
	return s
}

func (w *world) call(s *sdk.ClientSession, tool string, args map[string]any) (map[string]any, *sdk.CallToolResult) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cctest.Patience)
	defer cancel()
	r, err := s.CallTool(ctx, &sdk.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		w.T.Fatalf("%s: %v", tool, err)
	}
	obj, _ := r.StructuredContent.(map[string]any)
	return obj, r
}

func TestFiveTools(t *testing.T) {
	w := newWorld(t)
	s := w.connect()
	tools, err := s.ListTools(context.Background(), nil)
	must(t, err)
	if len(tools.Tools) != 5 {
		t.Errorf("%d tools", len(tools.Tools))
	}
	done, _ := w.call(s, "execute_cc_task", map[string]any{"prompt": "[[text at once]]"})
	if done["status"] != "completed" || done["result"] != "at once" || done["exit_code"] != 0.0 {
		t.Errorf("execute: %v", done)
	}
	async, _ := w.call(s, "start_cc_task_async", map[string]any{"prompt": "[[hold go]][[text later]]"})
	id, _ := async["task_id"].(string)
	w.Held("go", 1)
	active, _ := w.call(s, "list_active_tasks", nil)
	if list, _ := active["tasks"].([]any); len(list) != 1 {
		t.Errorf("active: %v", active)
	}
	if st, _ := w.call(s, "check_task_status", map[string]any{"task_id": id}); st["status"] != "running" {
		t.Errorf("check: %v", st)
	}
	w.API.Release("go")
	if st, _ := w.call(s, "check_task_status", map[string]any{"task_id": id, "wait_seconds": 60}); st["status"] != "completed" || st["result"] != "later" {
		t.Errorf("waited: %v", st)
	}
	w.call(s, "cleanup_task", map[string]any{"task_id": id})
	if _, r := w.call(s, "check_task_status", map[string]any{"task_id": id}); !r.IsError {
		t.Errorf("a removed task is still there: %v", r)
	}
	if _, r := w.call(s, "execute_cc_task", map[string]any{"prompt": "x", "working_dir": "/nowhere"}); !r.IsError {
		t.Error("a missing working directory is no error")
	}
}

// Sixty calls that wait must not delay a seventy-first that asks.
func TestSixtyBlockedCalls(t *testing.T) {
	w := newWorld(t, "CCTASK_JOBS=1")
	s := w.connect()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range 60 {
		go func() {
			_, _ = s.CallTool(ctx, &sdk.CallToolParams{Name: "execute_cc_task", Arguments: map[string]any{"prompt": fmt.Sprintf("%d [[hold go]]", i)}})
		}()
	}
	w.Eventually(func() bool { o := w.Owner(); return o.Live == 1 && o.Queued == 59 }, "the sixty were not recorded")
	id := string(cctest.Parse[struct{ Tasks []task.View }](t, w.OK("list", "--json")).Tasks[0].TaskID)
	// Behind them it would not be answered before they end: see BenchmarkStatus of mcp.
	if st, _ := w.call(s, "check_task_status", map[string]any{"task_id": id}); st["status"] == nil {
		t.Errorf("check: %v", st)
	}
}

// resident reads a figure of a process in KiB.
func resident(t *testing.T, pid int, file string, fields ...string) (kib int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	must(t, err)
	for _, line := range strings.Split(string(b), "\n") {
		for _, field := range fields {
			if v, ok := strings.CutPrefix(line, field+":"); ok {
				n, err := strconv.Atoi(strings.Fields(v)[0])
				must(t, err)
				kib += n
			}
		}
	}
	return kib
}

func TestMemory(t *testing.T) {
	w := newWorld(t, "CCTASK_JOBS=4")
	w.started(4, "go")
	s := w.connect()
	w.call(s, "list_active_tasks", nil)
	owner := resident(t, w.Owner().PID, "status", "VmRSS")
	front := resident(t, w.Matching(cctest.Binary, "mcp")[0], "status", "VmRSS")
	if owner > 40<<10 || front > 25<<10 {
		t.Errorf("over the bounds of 40 and 25 MiB: owner %d KiB, front %d KiB resident", owner, front)
	}
	for _, pid := range w.Matching("_run") { // gives memory back in its own time
		w.Eventually(func() bool { return resident(t, pid, "smaps_rollup", "Private_Clean", "Private_Dirty") <= 5<<10 }, "runner %d keeps more than 5 MiB", pid)
	}
	w.API.Release("go")
	w.OK("wait")
}
