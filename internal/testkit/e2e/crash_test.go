package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/cctest"
)

// started starts n tasks that print and then block at the hold, and waits
// until they do.
func (w *world) started(n int, hold string) []string {
	w.T.Helper()
	var ids []string
	for i := range n {
		ids = append(ids, w.Start(fmt.Sprintf("Task %d. [[lines 300]][[bash echo run >> ran.%d]][[hold %s]][[text answer %d]]", i, i, hold, i)))
	}
	w.Held(hold, n)
	return ids
}

// ranOnce checks that every started task came through and ran its tool once.
func (w *world) ranOnce(ids []string) {
	w.T.Helper()
	for i, v := range w.Wait(ids...) {
		if v.Status != task.Completed || v.ExitCode == nil || *v.ExitCode != 0 || v.Result == nil || *v.Result != fmt.Sprintf("answer %d", i) {
			w.T.Errorf("task %d: %s, exit %v, %v: %s", i, v.Status, deref(v.ExitCode), deref(v.Result), v.StatusMessage)
		}
		if b, err := os.ReadFile(filepath.Join(w.Work, fmt.Sprintf("ran.%d", i))); err != nil || string(b) != "run\n" {
			w.T.Errorf("task %d ran its tool: %q, %v", i, b, err)
		}
		raw := w.CCTask("logs", ids[i], "--raw").Stdout
		if n := strings.Count(raw, `"type":"result"`); n != 1 || !strings.HasSuffix(raw, "}\n") {
			w.T.Errorf("task %d: %d result events in %d bytes of output", i, n, len(raw))
		}
		if int64(len(raw)) != v.Stdout.Bytes {
			w.T.Errorf("task %d: logs have %d bytes, the record says %d", i, len(raw), v.Stdout.Bytes)
		}
	}
}

func TestOwnerKilledWhileTasksRun(t *testing.T) {
	for _, group := range []bool{false, true} {
		t.Run(fmt.Sprintf("group=%v", group), func(t *testing.T) {
			w := newWorld(t, "CCTASK_JOBS=4")
			ids := w.started(4, "go")
			first := w.Owner().PID
			if group {
				pgid, err := syscall.Getpgid(first)
				must(t, err)
				if pgid == syscall.Getpgrp() {
					t.Fatal("the owner is in the test's process group")
				}
				must(t, syscall.Kill(-pgid, syscall.SIGKILL))
				w.Eventually(func() bool { return !cctest.Exists(first) }, "the owner still exists")
			} else {
				w.Kill(first)
			}
			if n := len(w.Matching("--session-id=")); n != 4 {
				t.Errorf("%d claudes live after the owner's death, want 4", n)
			}
			second := w.Owner().PID // started by no command yet: status does not start one
			if second == first {
				t.Error("the dead owner is still named")
			}
			if v := w.View(ids[0]); v.Status != task.Running {
				t.Errorf("adopted task is %s", v.Status)
			}
			w.API.Release("go")
			w.ranOnce(ids)
		})
	}
}

func TestOwnerKilledAgainAndAgain(t *testing.T) {
	w := newWorld(t, "CCTASK_JOBS=2")
	var ids []string
	for i := range 6 {
		ids = append(ids, w.Start(fmt.Sprintf("Task %d. [[lines 300]][[bash echo run >> ran.%d]][[stream 20 20ms x]][[bash true]][[text answer %d]]", i, i, i)))
	}
	for range 6 {
		if o := w.Owner(); o.PID > 0 {
			w.Kill(o.PID)
		}
		w.View(ids[0])
	}
	w.ranOnce(ids)
}

func TestClaudeKilled(t *testing.T) {
	for _, who := range []string{"claude", "runner and claude"} {
		t.Run(who, func(t *testing.T) {
			w := newWorld(t)
			id := w.Start("[[text begun]][[bash true]][[hold go]][[text never]]")
			w.Held("go", 1)
			claude := w.Matching("--session-id=" + task.ID(id).UUID())
			if len(claude) != 1 {
				t.Fatalf("%d claudes", len(claude))
			}
			if who == "claude" {
				w.Kill(claude...)
			} else {
				w.Kill(w.Parent(claude[0]), claude[0])
			}
			w.API.Release("go")
			v := w.Wait(id)[0]
			if v.Status != task.Interrupted || v.FailureReason != task.ReasonInterrupted || v.Next == "" {
				t.Errorf("%s, %s: %s", v.Status, v.FailureReason, v.StatusMessage)
			}
			if !strings.Contains(v.StatusMessage, "signal 9") {
				t.Errorf("the message does not name the signal: %s", v.StatusMessage)
			}
			if left := w.Matching("--session-id="); len(left) != 0 {
				t.Errorf("claude is left: %v", left)
			}
			w.OK("resume", id, "[[text went on]]")
			v = w.Wait(id)[0]
			if v.Status != task.Completed || *v.Result != "went on" || v.SessionID != task.ID(id).UUID() || v.Attempt != 2 {
				t.Errorf("resumed: %s, %v, session %s", v.Status, deref(v.Result), v.SessionID)
			}
			last := w.API.Requests()[len(w.API.Requests())-1]
			if !strings.Contains(string(last.Raw), "begun") {
				t.Error("the resumed session does not know what was said before")
			}
		})
	}
}

func TestDeadlineEndsTheWholeTree(t *testing.T) {
	w := newWorld(t)
	// A child in its own session, and one that forked twice and forgot its
	// environment; both write their pids.
	script := `(setsid bash -c 'echo $$ > s.pid; exec tail -f /dev/null' &) ; (env -i /bin/bash -c 'setsid bash -c "echo \$\$ > d.pid; exec tail -f /dev/null" & ' &) ; echo started; exec tail -f /dev/null`
	pid := func(name string) int {
		b, _ := os.ReadFile(filepath.Join(w.Work, name))
		n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return n
	}
	// How long claude takes to its first tool is a matter of the machine.
	id, limit := "", 8
	for ; pid("s.pid") == 0 || pid("d.pid") == 0; limit *= 2 {
		id = w.Start("[[text before]][[bash "+script+"]]", "--timeout", strconv.Itoa(limit))
		w.Wait(id)
	}
	v := w.View(id)
	if v.Status != task.Timeout || v.FailureReason != task.ReasonDeadline {
		t.Errorf("%s, %s: %s", v.Status, v.FailureReason, v.StatusMessage)
	}
	for _, name := range []string{"s.pid", "d.pid"} {
		if cctest.Exists(pid(name)) {
			t.Errorf("process %d of %s lives after the end", pid(name), name)
			_ = syscall.Kill(pid(name), syscall.SIGKILL)
		}
	}
	if raw := w.OK("logs", id, "--raw"); !strings.Contains(raw, "before") {
		t.Errorf("the partial output is lost: %.200s", raw)
	}
}

func TestCancelReturnsWhenTheTreeIsDead(t *testing.T) {
	w := newWorld(t)
	id := w.Start("[[bash setsid tail -f /dev/null & echo $! > s.pid; exec tail -f /dev/null]]")
	w.Eventually(func() bool { b, _ := os.ReadFile(filepath.Join(w.Work, "s.pid")); return len(b) > 1 }, "the tool did not start")
	w.OK("cancel", id)
	if left := w.Matching("tail"); len(left) > 0 {
		t.Errorf("cancel returned with %v alive", left)
	}
	if left := w.Matching("--session-id="); len(left) > 0 {
		t.Errorf("cancel returned with claude alive: %v", left)
	}
	if v := w.View(id); v.Status != task.Cancelled {
		t.Errorf("%s: %s", v.Status, v.StatusMessage)
	}
}

func TestTwentyFrontsOneOwner(t *testing.T) {
	w := newWorld(t, "CCTASK_JOBS=1")
	ids := make([]string, 20)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			r := w.CCTask("start", "--", fmt.Sprintf("Task %d. [[hold go]]", i))
			if r.Code != 0 {
				t.Error(r)
			}
			ids[i] = strings.TrimSpace(r.Stdout)
		})
	}
	wg.Wait()
	distinct := map[string]bool{}
	for _, id := range ids {
		distinct[id] = true
	}
	if len(distinct) != 20 {
		t.Errorf("%d distinct ids of 20", len(distinct))
	}
	if owners := w.Matching("daemon"); len(owners) != 1 {
		t.Errorf("%d owners: %v", len(owners), owners)
	}
	r := w.CCTask("daemon")
	if r.Code == 0 || !strings.Contains(r.Stderr, strconv.Itoa(w.Owner().PID)) {
		t.Errorf("a second owner on a live directory: %s", r)
	}
}

func TestReboot(t *testing.T) {
	w := newWorld(t, "CCTASK_JOBS=2")
	ids := w.started(2, "go")
	third := w.Start("[[text third]]")
	// Everything at once: stop it all first, so that nobody sees the others die.
	var pids []int
	for _, p := range w.Processes() {
		pids = append(pids, p.PID)
		must(t, syscall.Kill(p.PID, syscall.SIGSTOP))
	}
	w.Kill(pids...)
	w.API.Release("go")
	v := w.Wait(append(ids, third)...)
	for i := range ids {
		if v[i].Status != task.Interrupted || v[i].Stdout.Bytes == 0 {
			t.Errorf("task %d: %s with %d bytes: %s", i, v[i].Status, v[i].Stdout.Bytes, v[i].StatusMessage)
		}
		if raw := w.CCTask("logs", ids[i], "--raw").Stdout; int64(len(raw)) != v[i].Stdout.Bytes {
			t.Errorf("task %d: %d bytes of %d", i, len(raw), v[i].Stdout.Bytes)
		}
	}
	if v[2].Status != task.Completed || *v[2].Result != "third" {
		t.Errorf("the queued one: %s %v", v[2].Status, deref(v[2].Result))
	}
}

// From inside a task the owner is killed, and a new one is born in the task's
// own tree. The task's end must not take it along.
func TestOwnerBornInATask(t *testing.T) {
	w := newWorld(t)
	first := w.Start("[[hold ready]][[bash kill -9 $(cat owner.pid) && " + cctest.Binary + " start '[[hold second]][[text from within]]' > second.id]][[text first done]]")
	w.Held("ready", 1)
	old := w.Owner().PID
	must(t, os.WriteFile(filepath.Join(w.Work, "owner.pid"), []byte(strconv.Itoa(old)), 0o644))
	w.API.Release("ready")
	v := w.Wait(first)[0]
	if v.Status != task.Completed || *v.Result != "first done" {
		t.Fatalf("first: %s %v: %s\n%s", v.Status, deref(v.Result), v.StatusMessage, w.OK("logs", first))
	}
	born := w.Owner().PID
	if born == old || !cctest.Exists(born) {
		t.Errorf("owner %d, before %d", born, old)
	}
	id, err := os.ReadFile(filepath.Join(w.Work, "second.id"))
	must(t, err)
	w.Held("second", 1)
	w.API.Release("second")
	if v := w.Wait(strings.TrimSpace(string(id)))[0]; v.Status != task.Completed || *v.Result != "from within" {
		t.Errorf("second: %s %v: %s", v.Status, deref(v.Result), v.StatusMessage)
	}
	if now := w.Owner().PID; now != born {
		t.Errorf("the owner changed from %d to %d", born, now)
	}
	// It keeps a runner ready, if it has had one.
	w.Eventually(func() bool {
		return len(w.Processes())-len(w.Matching("cctask-run _run")) == 1 && len(w.Matching("cctask-run _run")) <= 1
	},
		"more than the owner and its runner is left: %v", w.Processes())
}

func TestFrontKilled(t *testing.T) {
	w := newWorld(t)
	run := w.Command("run", "[[hold go]][[text came through]]")
	must(t, run.Start())
	w.Held("go", 1)
	must(t, run.Process.Kill())
	_ = run.Wait()
	id := string(cctest.Parse[struct{ Tasks []task.View }](t, w.OK("list", "--json")).Tasks[0].TaskID)
	w.API.Release("go")
	if v := w.Wait(id)[0]; v.Status != task.Completed || *v.Result != "came through" {
		t.Errorf("%s: %s", v.Status, v.StatusMessage)
	}
}

// Claude Code stops a server by SIGINT, SIGTERM 100 ms later and SIGKILL 400 ms
// after that, with stdin still open.
func TestClaudeCodeStopsTheServer(t *testing.T) {
	w := newWorld(t)
	cmd := w.Command("mcp")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	fmt.Fprintln(in, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	fmt.Fprintln(in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	fmt.Fprintln(in, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"execute_cc_task","arguments":{"prompt":"[[hold go]][[text unharmed]]","max_wait_seconds":86400}}}`)
	if !bufio.NewScanner(out).Scan() {
		t.Fatal("no answer to initialize")
	}
	w.Held("go", 1)
	must(t, cmd.Process.Signal(syscall.SIGINT))
	time.AfterFunc(100*time.Millisecond, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	_ = cmd.Wait() // it holds a call that waits for the task: see BenchmarkFrontLeaves for how long it takes
	id := string(cctest.Parse[struct{ Tasks []task.View }](t, w.OK("list", "--json")).Tasks[0].TaskID)
	w.API.Release("go")
	if v := w.Wait(id)[0]; v.Status != task.Completed || *v.Result != "unharmed" {
		t.Errorf("%s: %s", v.Status, v.StatusMessage)
	}
}

func TestRunLeavesTheTaskOnSIGTERM(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			w := newWorld(t)
			var stderr strings.Builder
			run := w.Command("run", "[[hold go]][[text still here]]")
			run.Stderr = &stderr
			must(t, run.Start())
			w.Held("go", 1)
			must(t, run.Process.Signal(sig))
			_ = run.Wait()
			id := string(cctest.Parse[struct{ Tasks []task.View }](t, w.OK("list", "--json")).Tasks[0].TaskID)
			if code := run.ProcessState.ExitCode(); code != 130 || !strings.Contains(stderr.String(), id) {
				t.Errorf("exit %d, stderr %s", code, stderr.String())
			}
			w.API.Release("go")
			if v := w.Wait(id)[0]; v.Status != task.Completed {
				t.Errorf("%s: %s", v.Status, v.StatusMessage)
			}
		})
	}
}

// daemon stop hands over: running tasks go on, and the owner comes back when
// one ends.
func TestDaemonStopHandsOver(t *testing.T) {
	w := newWorld(t, "CCTASK_JOBS=1")
	first := w.Start("[[hold go]][[text first]]")
	second := w.Start("[[text second]]")
	w.Held("go", 1)
	old := w.Owner().PID
	w.OK("daemon", "stop")
	// stop returns when the owner has let go of its lock, the last step but its exit.
	w.Eventually(func() bool { return !cctest.Exists(old) }, "the owner did not leave")
	if len(w.Matching("--session-id="+task.ID(first).UUID())) != 1 {
		t.Error("the owner did not leave alone")
	}
	w.API.Release("go")
	// Nobody is connected: the runner starts an owner, and the queue drains.
	w.Eventually(func() bool { return len(w.API.Prompts()) == 2 }, "the queue did not drain")
	v := w.Wait(first, second)
	if v[0].Status != task.Completed || v[1].Status != task.Completed || w.Owner().PID == old {
		t.Errorf("%s, %s", v[0].Status, v[1].Status)
	}
}
