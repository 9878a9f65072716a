package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeapi"
)

// outer is a real Claude Code session that starts cctask as its server.
func (w *world) outer(args ...string) *exec.Cmd {
	w.T.Helper()
	env := map[string]string{}
	for _, kv := range w.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return w.outerOn(map[string]any{"command": cctest.Binary, "args": []string{"mcp"}, "env": env}, args...)
}

// outerOn is a real Claude Code session with the server that a configuration says.
func (w *world) outerOn(server map[string]any, args ...string) *exec.Cmd {
	w.T.Helper()
	config, err := json.Marshal(map[string]any{"mcpServers": map[string]any{"cctask": server}})
	must(w.T, err)
	file := filepath.Join(w.Home, "mcp.json")
	must(w.T, os.WriteFile(file, config, 0o600))
	cmd := w.Command()
	cmd.Path = lookup(w.Env, "CCTASK_CLAUDE")
	cmd.Args = append([]string{"claude", "-p", "--mcp-config=" + file, "--strict-mcp-config", "--dangerously-skip-permissions"}, args...)
	return cmd
}

// says plays a script in a real Claude Code session and returns its answer.
func (w *world) says(script string) string {
	w.T.Helper()
	return w.played(w.outer(), script)
}

// played runs a real Claude Code session on a script and returns its answer.
func (w *world) played(cmd *exec.Cmd, script string) string {
	w.T.Helper()
	cmd.Stdin = strings.NewReader(script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.T.Errorf("claude: %v\nstdout: %s\nstderr: %s", err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func (w *world) all() []task.View {
	w.T.Helper()
	return cctest.Parse[struct{ Tasks []task.View }](w.T, w.OK("list", "--all", "--json")).Tasks
}

// A real Claude Code session with cctask as its server starts three tasks in
// one message, waits for all in parallel, and reports the results.
func TestRealClaudeFansOut(t *testing.T) {
	w := newWorld(t)
	var starts, checks, reports []string
	for i, name := range []string{"one", "two", "three"} {
		starts = append(starts, fmt.Sprintf(`{"name":"mcp__cctask__start_cc_task_async","input":{"prompt":"[[text inner %s]]"}}`, name))
		checks = append(checks, fmt.Sprintf(`{"name":"mcp__cctask__check_task_status","input":{"task_id":"${result.%d.task_id}","wait_seconds":60}}`, i))
		reports = append(reports, fmt.Sprintf("${result.%d.result}", 3+i))
	}
	answer := w.says("Fan out. [[tools " + strings.Join(starts, " ") + "]][[tools " + strings.Join(checks, " ") + "]][[text " + strings.Join(reports, ", ") + "]]")
	if answer != "inner one, inner two, inner three" {
		t.Error(answer)
	}
	if n := len(w.all()); n != 3 {
		t.Errorf("%d tasks are recorded", n)
	}
}

// Claude Code starts a server that was killed between two calls again, and the
// task of the first call is still there.
func TestRealClaudeRespawnsAKilledServer(t *testing.T) {
	w := newWorld(t)
	answer := make(chan string, 1)
	// Claude Code may not have seen the death yet when it calls: that one call is
	// answered "Connection closed", and a model calls again.
	const check = `[[tool mcp__cctask__check_task_status {"task_id":"${result.0.task_id}","wait_seconds":60}]]`
	go func() {
		answer <- w.says(`[[tool mcp__cctask__start_cc_task_async {"prompt":"[[hold inner]][[text still here]]"}]]` +
			`[[hold between]]` + check + check + `[[text it said: ${result.2.result}]]`)
	}()
	w.Held("inner", 1)
	w.Held("between", 1)
	servers := w.Matching(cctest.Binary, "mcp ")
	w.Kill(servers...)
	w.API.Release("inner")
	w.API.Release("between")
	if got := <-answer; got != "it said: still here" || len(servers) != 1 {
		t.Errorf("after the death of the servers %v: %s", servers, got)
	}
}

// What a refused call says, with the next step, is what the model reads.
func TestRealClaudeReadsErrors(t *testing.T) {
	w := newWorld(t)
	answer := w.says(`[[tools {"name":"mcp__cctask__check_task_status","input":{"task_id":"no-such-task"}}` +
		` {"name":"mcp__cctask__list_active_tasks","input":{"limit":0}}]]` +
		`[[tool mcp__cctask__start_cc_task_async {"prompt":"x","working_dir":"/nowhere"}]]` +
		`[[text ${result.0} ; ${result.1} ; ${result.2}]]`)
	for _, want := range []string{"not_found: ", "Call list_active_tasks", "limit: given 0, allowed is a whole number from 1 to 1000", "Correct the arguments", "invalid_argument: ", "/nowhere"} {
		if !strings.Contains(answer, want) {
			t.Errorf("%q is not in what the model read: %s", want, answer)
		}
	}
	if n := len(w.all()); n != 0 {
		t.Errorf("%d tasks are recorded", n)
	}
}

// Three waits of one message run at once: one after the other they would take as
// long as three, however long the rest of a turn takes on this machine.
func TestRealClaudeWaitsInParallel(t *testing.T) {
	w := newWorld(t)
	ids := []string{w.Start("[[hold inner]]"), w.Start("[[hold inner]]"), w.Start("[[hold inner]]")}
	w.Held("inner", 3)
	for wait := 5 * time.Second; ; wait *= 2 {
		var checks []string
		for _, id := range ids {
			checks = append(checks, fmt.Sprintf(`{"name":"mcp__cctask__check_task_status","input":{"task_id":%q,"wait_seconds":%v}}`, id, wait.Seconds()))
		}
		before := len(w.API.Requests())
		answer := w.says(`[[tools ` + strings.Join(checks, " ") + `]][[text ${result.0.status} ${result.1.status} ${result.2.status}]]`)
		if answer != "running running running" {
			t.Error(answer)
		}
		var turns []time.Time
		for _, r := range w.API.Requests()[before:] {
			if strings.HasPrefix(r.Prompt, "[[tools") && r.Kind == fakeapi.KindMain {
				turns = append(turns, r.Time)
			}
		}
		if len(turns) != 2 || turns[1].Sub(turns[0]) < wait || wait > time.Minute {
			t.Fatalf("three waits of %v in one message: turns at %v", wait, turns)
		}
		if turns[1].Sub(turns[0]) < 3*wait {
			break
		}
	}
	w.API.Release("inner")
	w.Wait(ids...)
}

// A turn that the user interrupts cancels the task that it waits for.
func TestRealClaudeAbortsACall(t *testing.T) {
	w := newWorld(t)
	cmd := w.outer("--input-format=stream-json", "--output-format=stream-json", "--verbose")
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	send := func(v any) {
		b, err := json.Marshal(v)
		must(t, err)
		_, err = in.Write(append(b, '\n'))
		must(t, err)
	}
	send(map[string]any{"type": "user", "message": map[string]any{
		"role": "user", "content": `[[tool mcp__cctask__execute_cc_task {"prompt":"[[hold inner]]"}]][[text not reached]]`,
	}})
	w.Held("inner", 1)
	send(map[string]any{"type": "control_request", "request_id": "r1", "request": map[string]any{"subtype": "interrupt"}})
	id := string(w.all()[0].TaskID)
	if v := w.Wait(id)[0]; v.Status != task.Cancelled || v.FailureReason != task.ReasonCancelled {
		t.Errorf("the task of an aborted call: %+v", v)
	}
	must(t, in.Close())
	_ = cmd.Wait()
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// A session reads the whole of a long answer, which a tool's result cuts, piece
// by piece as a resource.
func TestRealClaudeReadsAResource(t *testing.T) {
	w := newWorld(t)
	id := w.Start("[[lines 6000]]")
	whole := *w.Wait(id)[0].Result
	read := func(what string) string {
		return fmt.Sprintf(`[[tool ReadMcpResourceTool {"server":"cctask","uri":"task://%s/%s"}]]`, id, what)
	}
	last := len(whole) - 20
	answer := w.says(read(fmt.Sprintf("result?offset=%d", last)) + read("result?limit=20") + `[[tool ReadMcpResourceTool {"server":"cctask","uri":"task://nobody"}]]` + read("stdout?limit=30") +
		`[[text ${result.0} | ${result.1} | ${result.2} | ${result.3}]]`)
	// What Claude Code makes of the code for a resource that is not there.
	for _, want := range []string{quoted(whole[last:]), quoted(whole[:20]), "Resource not found: task://nobody", quoted(`{"type":"system","subtype":"in`)} {
		if !strings.Contains(answer, want) {
			t.Errorf("%s is not in what the model read: %s", want, answer)
		}
	}
	if len(whole) < 50_000 {
		t.Errorf("an answer of %d bytes is not long", len(whole))
	}
}
