package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeapi"
	"cctask/internal/testkit/fakeclaude"
)

// family are all tasks, the root first.
func (w *world) family() []task.View {
	all := w.all()
	slices.Reverse(all)
	return all
}

// lent is how many live tasks lend their slots.
func (w *world) lent() int {
	w.T.Helper()
	return cctest.Parse[struct {
		Lent int `json:"lent"`
	}](w.T, w.OK("daemon", "call", "hello")).Lent
}

// Three levels of tasks, each of which waits for the one below it, end with one slot:
// through the tools of the server that with_cctask gives them.
func TestRealClaudeWaitsThreeDeep(t *testing.T) {
	w := newWorld(t, "CCTASK_JOBS=1")
	below := func(prompt, options, then string) string {
		return fmt.Sprintf(`[[tool mcp__cctask__execute_cc_task {"prompt":%s,"options":{%s}}]][[text %s]]`, quoted(prompt), options, then)
	}
	middle := below(`[[text bottom]]`, ``, `middle`)
	top := below(middle, `"with_cctask":true`, `top heard ${result.0.result}`)
	if got := w.OK("run", "--with-cctask", top); got != "top heard middle" {
		t.Error(got)
	}
	all := w.family()
	for i, v := range all {
		if v.Depth != i || v.Status != task.Completed || i > 0 && (v.ParentID != all[i-1].TaskID || v.RootID != all[0].TaskID) {
			t.Errorf("%d: %+v", i, v)
		}
	}
	if len(all) != 3 {
		t.Errorf("%d tasks", len(all))
	}
	// The one without with_cctask has no such server.
	for _, r := range w.API.Requests() {
		if has := slices.Contains(r.Tools, "mcp__cctask__execute_cc_task"); r.Kind == fakeapi.KindMain && has != (strings.TrimSpace(r.Prompt) != "[[text bottom]]") {
			t.Errorf("%.60s has the server: %v", r.Prompt, has)
		}
	}
}

// The same through the command line, in a shell without any mark of a task.
func TestRealClaudeWaitsThreeDeepInAShell(t *testing.T) {
	w := newWorld(t, "CCTASK_JOBS=1")
	below := func(prompt, then string) string {
		return fmt.Sprintf(`[[bash env -u CCTASK_TASK_ID -u CCTASK_RUN -u CCTASK_ANCESTORS -u CCTASK_DEPTH %s run '%s' 2>/dev/null]][[text %s]]`, cctest.Binary, prompt, then)
	}
	top := below(strings.ReplaceAll(below(`[[text bottom]]`, `middle`), `'`, `'\''`), `top heard ${result.0}`)
	if got := w.OK("run", top); got != "top heard middle" {
		t.Error(got)
	}
	if all := w.family(); len(all) != 3 || all[2].Depth != 2 || all[2].RootID != all[0].TaskID {
		t.Errorf("%+v", all)
	}
}

// A task that starts tasks without end is stopped by the bounds, and told so.
func TestRealClaudeStopsAtTheBounds(t *testing.T) {
	w := newWorld(t, "CCTASK_JOBS=1")
	loop := fmt.Sprintf(`[[bash while %s start x >/dev/null; do :; done]]`, cctest.Binary)
	call := `[[tool mcp__cctask__start_cc_task_async {"prompt":"one more"}]][[text ${result.0} ; ${result.1}]]`
	said := w.OK("run", "--with-cctask", loop+call)
	for _, want := range []string{
		"policy.max_live_descendants = 32: 32 tasks below task", "have not ended. No task was started",
		"descendants: submit: policy.max_live_descendants", "Start no other task before some of them have ended: wait for them",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in what the model read: %s", want, said)
		}
	}
	all := w.family()
	if len(all) != 33 {
		t.Fatalf("%d tasks", len(all))
	}
	t.Logf("%d tasks in %v", len(all)-1, all[32].CreatedAt.Sub(all[1].CreatedAt))
	w.OK("cancel", "--tree", string(all[0].TaskID))
	for _, v := range w.family()[1:] {
		if v.Status != task.Cancelled && v.Status != task.Completed {
			t.Errorf("after cancel --tree %s is %s", v.TaskID, v.Status)
		}
	}
}

// A slot that is lent comes back when the front that waited dies, and an owner that is
// killed meanwhile is followed by one that starts nothing too much.
func TestLentSlotOverDeaths(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, nil, fakeclaude.Binary(t), "CCTASK_JOBS=1")
	child, parent := fakeclaude.NewGate(t), fakeclaude.NewGate(t)
	prompt := filepath.Join(w.Home, "prompt")
	must(t, os.WriteFile(prompt, []byte(child.Directive()), 0o600))
	ctx, cancel := context.WithTimeout(context.Background(), cctest.Patience)
	defer cancel()
	top := w.Start(fmt.Sprintf("[[sh %s run --name child - <%s]]%s", cctest.Binary, prompt, parent.Directive()))
	endChild, err := child.Reached(ctx)
	must(t, err)
	other := w.Start("[[text other]]", "--priority", "50")
	waits := func(why string) {
		t.Helper()
		if v := w.View(other); v.Status != task.Queued {
			t.Errorf("%s: a third task is %s with one slot and one that is lent", why, v.Status)
		}
	}
	waits("while the slot is lent")
	for range 3 {
		w.Kill(w.Owner().PID)
		waits("after the owner's death")
	}
	w.Eventually(func() bool { return w.lent() == 1 }, "the next owner was not told that the task waits")
	w.Kill(w.Matching(cctest.Binary, "run", "--name child")...)
	endParent, err := parent.Reached(ctx)
	must(t, err)
	w.Eventually(func() bool { return w.lent() == 0 }, "the slot of a front that died is lent for ever")
	endChild()
	w.Wait("child")
	waits("when the front had died and the child had ended")
	endParent()
	for _, v := range w.Wait(top, "child", other) {
		if v.Status != task.Completed {
			t.Errorf("%s is %s: %s", v.TaskID, v.Status, v.Error)
		}
	}
}

// Three levels of tasks that wait end with one slot while owners are killed.
func TestThreeDeepWhileOwnersDie(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, nil, fakeclaude.Binary(t), "CCTASK_JOBS=1")
	below := ""
	for i, text := range []string{"[[text bottom]]", "[[sh %s run - <%s 2>/dev/null]]", "[[sh %s run - <%s 2>/dev/null]]"} {
		if i > 0 {
			text = fmt.Sprintf(text, cctest.Binary, below)
		}
		below = filepath.Join(w.Home, fmt.Sprint("level", i))
		must(t, os.WriteFile(below, []byte(text), 0o600))
	}
	prompt, err := os.ReadFile(below)
	must(t, err)
	for range 5 {
		ids := []string{w.Start(string(prompt)), w.Start("[[text beside]]")}
		for range 8 {
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
			// None runs where nobody has asked for the next one yet.
			if r := w.CCTask("daemon", "status", "--json"); r.Code == 0 {
				if pid := cctest.Parse[cctest.OwnerInfo](t, r.Stdout).PID; pid > 0 {
					w.Kill(pid)
				}
			}
		}
		for _, v := range w.Wait(ids...) {
			if v.Status != task.Completed || !strings.Contains("bottom beside", *v.Result) {
				t.Errorf("%s is %s: %s", v.TaskID, v.Status, *v.Result)
			}
		}
	}
}

// What a person has set and was told of holds over any number of owners that are killed at
// any step: a pause, a hold and a start time let nothing start, and what was set last counts.
func TestWhatIsSetSurvivesKills(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	w := newWorldWith(t, nil, fakeclaude.Binary(t), "CCTASK_JOBS=2", fakeclaude.LogEnv+"="+log)
	kept := map[string]task.WaitingFor{}
	w.OK("pause", "docs")
	kept[w.Start("[[text docs]]", "--group", "docs")] = task.WaitGroupPaused
	kept[w.Start("[[text held]]", "--hold")] = task.WaitHeld
	kept[w.Start("[[text late]]", "--start-at", "5h")] = task.WaitStartAt
	toggled := w.Start("[[text toggled]]", "--hold", "--group", "toggled")
	w.OK("pause", "toggled")
	for round := range 8 {
		verb, set := []string{"hold", "release"}[round%2], []string{"unpause", "pause"}[round%2]
		killed := make(chan struct{})
		pid := w.Owner().PID
		if pid <= 0 {
			t.Fatal("no owner runs")
		}
		go func() {
			defer close(killed)
			time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}()
		// One of the two stands always, so that it never starts. A command is answered by
		// this owner or the next one; what it was told of stands.
		if verb == "hold" {
			w.OK("hold", toggled)
			w.OK(set, "toggled")
		} else {
			w.OK(set, "toggled")
			w.OK("release", toggled)
		}
		<-killed
		for id, why := range kept {
			if v := w.View(id); v.Status != task.Queued || v.WaitingFor != why {
				t.Fatalf("round %d: %s is %s and waits for %s, want %s", round, v.Prompt, v.Status, v.WaitingFor, why)
			}
		}
		want := map[string]task.WaitingFor{"hold": task.WaitHeld, "release": task.WaitGroupPaused}[verb]
		if v := w.View(toggled); v.Status != task.Queued || v.WaitingFor != want {
			t.Fatalf("round %d: after %s it is %s and waits for %s, want %s", round, verb, v.Status, v.WaitingFor, want)
		}
	}
	if starts, err := fakeclaude.ReadLog(log, "start"); err != nil || len(starts) > 0 {
		t.Errorf("%d have started, %v", len(starts), err)
	}
	for id := range kept {
		w.OK("edit", id, "--hold=false", "--start-at", "1s", "--group", "free")
	}
	w.OK("unpause", "toggled")
	for id := range kept {
		w.Wait(id, toggled)
	}
	if starts, err := fakeclaude.ReadLog(log, "start"); err != nil || len(starts) != 4 {
		t.Errorf("4 tasks started %d times, %v", len(starts), err)
	}
}
