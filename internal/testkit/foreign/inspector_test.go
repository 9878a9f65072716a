package foreign

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"cctask/internal/testkit/cctest"
)

// The Inspector's command line, a process and a server for each method.
func TestInspector(t *testing.T) {
	for _, era := range []string{"legacy", "modern"} {
		t.Run(era, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			i := &inspector{m, era, 0}
			i.ask("--method", "tools/list", "--strict")
			i.tools()
			i.listsAndReads()
			i.load()
			t.Logf("inspector, %s: %d checks, %d messages of the server judged by their schema", era, i.checks, m.judge())
		})
	}
}

type inspector struct {
	*machine
	era    string
	checks int
}

// ask runs a method and returns what it prints. A warning on stderr is a failure.
func (i *inspector) ask(args ...string) map[string]any {
	i.T.Helper()
	i.checks++
	self, err := os.Executable()
	if err != nil {
		i.T.Fatal(err)
	}
	all := []string{"--cli", self, "mcp", "--protocol-era", i.era, "--format", "json"}
	// The Inspector gives a server no environment but what it is told.
	for _, kv := range append([]string{tapEnv + "=" + i.taps, tappedEnv + "=" + cctest.Binary}, i.Env...) {
		all = append(all, "-e", kv)
	}
	out, log, err := i.run(nil, i.packages+"/@modelcontextprotocol/inspector/clients/launcher/build/index.js", append(all, args...)...)
	if err != nil || log != "" {
		i.T.Errorf("%v: %v\n%s", args, err, log)
	}
	answer := cctest.Parse[map[string]any](i.T, out)
	if result, ok := answer["result"].(map[string]any); ok {
		return result
	}
	return answer
}

// call calls a tool and returns its structured content.
func (i *inspector) call(tool, args string) map[string]any {
	i.T.Helper()
	r := i.ask("--method", "tools/call", "--tool-name", tool, "--tool-args-json", args)
	content, _ := r["structuredContent"].(map[string]any)
	if r["isError"] == true || content == nil {
		i.T.Errorf("%s %s: %v", tool, args, r)
	}
	return content
}

func (i *inspector) tools() {
	i.T.Helper()
	if r := i.call("execute_cc_task", `{"prompt":"[[text seen]]"}`); r["status"] != "completed" || r["result"] != "seen" {
		i.T.Errorf("executed: %v", r)
	}
	id, _ := i.call("start_cc_task_async", `{"prompt":"[[text later]]","name":"later"}`)["task_id"].(string)
	if r := i.call("check_task_status", `{"task_id":"later","wait_seconds":50}`); r["task_id"] != id || r["result"] != "later" {
		i.T.Errorf("checked %s: %v", id, r)
	}
	if r := i.call("list_active_tasks", `{"include_finished":true}`); len(r["tasks"].([]any)) != 2 {
		i.T.Errorf("listed: %v", r)
	}
	if r := i.call("cleanup_task", `{"task_id":"`+id+`"}`); r["removed"] != true {
		i.T.Errorf("removed: %v", r)
	}
}

func (i *inspector) listsAndReads() {
	i.T.Helper()
	for _, c := range []struct {
		want string
		args []string
	}{
		{"task://active", []string{"--method", "resources/list"}},
		{"task://{id}", []string{"--method", "resources/templates/list"}},
		{"[[text seen]]", []string{"--method", "resources/read", "--uri", "task://recent"}},
		{"review_results", []string{"--method", "prompts/list"}},
		{"Port it.", []string{"--method", "prompts/get", "--prompt-name", "fan_out", "--prompt-args", "job=Port it."}},
	} {
		text, err := json.Marshal(i.ask(c.args...))
		if err != nil || !strings.Contains(string(text), c.want) {
			i.T.Errorf("%v: %q is not in %s", c.args, c.want, text)
		}
	}
}

// load calls a tool five hundred times, twenty at once.
func (i *inspector) load() {
	i.T.Helper()
	r := i.ask("--method", "tools/call", "--tool-name", "list_active_tasks", "--load", "--load-requests", "500", "--load-concurrency", "20")
	if r["requests"] != 500.0 || r["ok"] != 500.0 || r["errorRate"] != 0.0 {
		i.T.Errorf("under load: %v", r)
	}
	i.T.Logf("500 calls at 20 at once: %v", r["latencyMs"])
}
