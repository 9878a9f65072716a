package e2e

import (
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeapi"
)

func TestRunPrintsTheAnswer(t *testing.T) {
	w := newWorld(t)
	r := w.CCTask("run", "--name", "first", "Do it. [[bash echo from the tool > made.txt]][[text All done: 42]]")
	if r.Code != 0 || r.Stdout != "All done: 42\n" {
		t.Fatal(r)
	}
	v := w.View("first")
	if v.Status != task.Completed || v.ExitCode == nil || *v.ExitCode != 0 || v.SessionID != v.TaskID.UUID() {
		t.Errorf("status %s, exit %v, session %s of %s", v.Status, deref(v.ExitCode), v.SessionID, v.TaskID)
	}
	if v.NumTurns == nil || *v.NumTurns != 2 || v.CostUSD == nil || math.Abs(*v.CostUSD-fakeapi.Cost(2)) > 1e-9 {
		t.Errorf("turns %v, cost %v, want 2 and %v", deref(v.NumTurns), deref(v.CostUSD), fakeapi.Cost(2))
	}
	if v.Model == "" || v.WorkingDir != w.Work || v.Attempt != 1 {
		t.Errorf("model %q, directory %s, attempt %d", v.Model, v.WorkingDir, v.Attempt)
	}
	if b, err := os.ReadFile(filepath.Join(w.Work, "made.txt")); err != nil || string(b) != "from the tool\n" {
		t.Errorf("the tool wrote %q, %v", b, err)
	}
}

func deref[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// What claude wrote is what logs --raw gives: a tee between cctask and claude
// keeps its own copy.
func TestRawLogsAreClaudesBytes(t *testing.T) {
	w := newWorld(t)
	tee := filepath.Join(w.Home, "claude-tee")
	real := lookup(w.Env, "CCTASK_CLAUDE")
	script := "#!/bin/bash\nset -o pipefail\n" + real + ` "$@" | tee "` + w.Home + `/copy"` + "\nexit ${PIPESTATUS[0]}\n"
	must(t, os.WriteFile(tee, []byte(script), 0o755))
	id := w.Start("[[lines 5000]][[bash seq 1 3]][[text end 🙂]]", "--claude", tee)
	w.Wait(id)
	want, err := os.ReadFile(filepath.Join(w.Home, "copy"))
	must(t, err)
	if got := w.CCTask("logs", id, "--raw").Stdout; got != string(want) || len(want) < 1000 {
		t.Errorf("logs --raw has %d bytes, claude wrote %d", len(got), len(want))
	}
	if r := w.CCTask("logs", id); r.Code != 0 || !strings.Contains(r.Stdout, "end 🙂") || strings.Contains(r.Stdout, `"type":`) {
		t.Errorf("logs for people: %s", r)
	}
}

func lookup(env []string, name string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func TestTwentyTasksFourAtOnce(t *testing.T) {
	w := newWorld(t, "CCTASK_JOBS=4")
	var ids []string
	for i := range 20 {
		ids = append(ids, w.Start(fmt.Sprintf("Task %d. [[hold first]][[text answer %d]]", i, i)))
	}
	w.Held("first", 4)
	if o := w.Owner(); o.Live != 4 || o.Queued != 16 {
		t.Errorf("live %d, queued %d", o.Live, o.Queued)
	}
	w.API.Release("first")
	views := w.Wait(ids...)
	var last time.Time
	for i, v := range views {
		if v.Status != task.Completed || v.Result == nil || *v.Result != fmt.Sprintf("answer %d", i) {
			t.Errorf("task %d: %s %v", i, v.Status, deref(v.Result))
		}
		if v.StartedAt.IsZero() || v.StartedAt.Before(last) {
			t.Errorf("task %d started at %v, the one before at %v", i, v.StartedAt, last)
		}
		last = v.StartedAt
	}
	if n := w.API.MaxConcurrent(); n != 4 {
		t.Errorf("the API saw %d at once, want 4", n)
	}
}

func TestPromptsArriveToTheByte(t *testing.T) {
	w := newWorld(t)
	prompts := []string{
		"-p --dangerously-skip-permissions", "--help", "$(touch pwned) `touch pwned`; touch pwned",
		`quotes " ' \ and \n`, "line one\r\nline two\r\n", "emoji 🙂 and \u202e override", "tab\there",
		strings.Repeat("0123456789abcdef", 1<<16), // 1 MB
	}
	var ids []string
	for _, p := range prompts {
		r := w.CCTaskIn(p, "start", "-")
		if r.Code != 0 {
			t.Fatal(r)
		}
		ids = append(ids, strings.TrimSpace(r.Stdout))
	}
	views := w.Wait(ids...)
	seen := map[string]bool{}
	for _, p := range w.API.Prompts() {
		seen[p] = true
	}
	for i, v := range views {
		if v.Status != task.Completed {
			t.Errorf("%.30q: %s %s", prompts[i], v.Status, v.StatusMessage)
		}
		if !seen[prompts[i]] {
			t.Errorf("%.30q (%d bytes, sha256 %x) did not arrive to the byte", prompts[i], len(prompts[i]), sha256.Sum256([]byte(prompts[i])))
		}
	}
	if _, err := os.Stat(filepath.Join(w.Work, "pwned")); err == nil {
		t.Error("a shell read the prompt")
	}
}

// A leading slash is a slash command of the project: that is a task too.
func TestSlashPromptIsAProjectCommand(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(filepath.Join(w.Work, ".claude", "commands"), 0o755))
	must(t, os.WriteFile(filepath.Join(w.Work, ".claude", "commands", "greet.md"), []byte("Greet: [[text hello from the command]]\n"), 0o644))
	if r := w.CCTask("run", "/greet"); r.Code != 0 || r.Stdout != "hello from the command\n" {
		t.Error(r)
	}
}

func TestBadPromptsAreRefused(t *testing.T) {
	w := newWorld(t)
	for name, p := range map[string]string{
		"blank": " \n\t", "invalid UTF-8": "a\xffb", "NUL": "a\x00b", "over 4 MiB": strings.Repeat("x", task.MaxPrompt+1),
	} {
		r := w.CCTaskIn(p, "start", "-")
		if r.Code != 2 || r.Stdout != "" || !strings.Contains(r.Stderr, "prompt") || !strings.Contains(r.Stderr, "hint:") {
			t.Errorf("%s: exit %d, stdout %q, stderr %.300q", name, r.Code, r.Stdout, r.Stderr)
		}
	}
	if list := cctest.Parse[struct{ Tasks []task.View }](t, w.OK("list", "--all", "--json")); len(list.Tasks) != 0 {
		t.Errorf("%d tasks were recorded", len(list.Tasks))
	}
}

func TestWhatIsMissingIsRefused(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.Work, "file")
	must(t, os.WriteFile(file, nil, 0o644))
	for name, flags := range map[string][]string{
		"binary missing":        {"--claude", "/nowhere/claude"},
		"binary not executable": {"--claude", file},
		"directory missing":     {"--working-dir", "/nowhere"},
		"directory is a file":   {"--working-dir", file},
		"model":                 {"--model", "so nnet"},
		"timeout":               {"--timeout", "-1"},
	} {
		r := w.CCTask(append(append([]string{"start"}, flags...), "hello")...)
		if r.Code != 2 || r.Stdout != "" || !strings.Contains(r.Stderr, "hint:") {
			t.Errorf("%s: %s", name, r)
		}
	}
	if list := cctest.Parse[struct{ Tasks []task.View }](t, w.OK("list", "--all", "--json")); len(list.Tasks) != 0 {
		t.Errorf("%d tasks were recorded", len(list.Tasks))
	}
}

func TestVanishedBeforeTheLaunch(t *testing.T) {
	w := newWorld(t, "CCTASK_JOBS=1")
	gone := filepath.Join(w.Home, "gone")
	must(t, os.Mkdir(gone, 0o755))
	first := w.Start("[[hold go]][[text first]]")
	w.Held("go", 1)
	second := w.Start("hello", "--working-dir", gone)
	must(t, os.Remove(gone))
	w.API.Release("go")
	v := w.Wait(first, second)
	if v[0].Status != task.Completed || v[1].Status != task.Failed || v[1].FailureReason != task.ReasonSpawnFailed || v[1].Next == "" {
		t.Errorf("first %s; second %s, %s: %s", v[0].Status, v[1].Status, v[1].FailureReason, v[1].StatusMessage)
	}
}

func TestFailuresAreClassified(t *testing.T) {
	w := newWorld(t, "CLAUDE_CODE_MAX_RETRIES=0")
	asRoot := os.Geteuid() == 0
	cases := []struct {
		name, prompt string
		drop         string // taken out of the environment
		want         task.FailureReason
	}{
		{"401", "[[status 401]]", "", task.ReasonAuth},
		{"529", "[[status 529]]", "", task.ReasonOverloaded},
		{"no key", "hello", "ANTHROPIC_API_KEY", task.ReasonAuth},
		{"root", "hello", "IS_SANDBOX", task.ReasonPermissionRoot},
	}
	for _, c := range cases {
		if c.name == "root" && !asRoot {
			continue
		}
		env := w.Env
		w.Env = nil
		for _, kv := range env {
			if c.drop == "" || !strings.HasPrefix(kv, c.drop+"=") {
				w.Env = append(w.Env, kv)
			}
		}
		r := w.CCTask("run", "--json", c.prompt)
		v := cctest.Parse[task.View](t, r.Stdout)
		if r.Code != 3 || v.Status != task.Failed || v.FailureReason != c.want || v.Next == "" {
			t.Errorf("%s: exit %d, %s, %s: %s; next: %s", c.name, r.Code, v.Status, v.FailureReason, v.StatusMessage, v.Next)
		}
		w.Env = env
	}
}

func TestResumedTwice(t *testing.T) {
	w := newWorld(t)
	id := w.Start("[[text one]][[bash echo one]][[hold a]]")
	w.Held("a", 1)
	w.OK("cancel", id)
	w.API.Release("a")
	if r := w.CCTask("resume", id, "[[hold b]][[text two]]"); r.Code != 0 {
		t.Fatal(r)
	}
	w.Held("b", 1)
	w.OK("cancel", id)
	w.API.Release("b")
	w.OK("resume", id, "[[text three]]")
	v := w.Wait(id)[0]
	if v.Status != task.Completed || v.Attempt != 3 || v.Result == nil || *v.Result != "three" {
		t.Fatalf("%s, attempt %d, %v: %s", v.Status, v.Attempt, deref(v.Result), v.StatusMessage)
	}
	tk := w.record(id)
	var cost float64
	var turns int
	var duration int64
	for n, a := range tk.Attempts {
		raw := w.CCTask("logs", id, "--raw", "--attempt", fmt.Sprint(n+1))
		if int64(len(raw.Stdout)) != a.StdoutBytes || a.StdoutBytes == 0 {
			t.Errorf("attempt %d: logs have %d bytes of %d", n+1, len(raw.Stdout), a.StdoutBytes)
		}
		if a.SessionID != tk.Attempts[0].SessionID {
			t.Errorf("attempt %d has session %s", n+1, a.SessionID)
		}
		cost, turns, duration = cost+a.CostUSD, turns+a.NumTurns, duration+a.DurationMS
	}
	if len(tk.Attempts) != 3 || math.Abs(cost-tk.CostUSD) > 1e-9 || turns != tk.NumTurns || duration != tk.DurationMS || cost == 0 {
		t.Errorf("%d attempts; sums %v %d %d, task %v %d %d", len(tk.Attempts), cost, turns, duration, tk.CostUSD, tk.NumTurns, tk.DurationMS)
	}
}

// record is the stored record of a task with its attempts, from a dump.
func (w *world) record(id string) task.Task {
	w.T.Helper()
	for _, line := range strings.Split(w.OK("dump"), "\n") {
		l := cctest.Parse[struct {
			Type     string
			Task     task.Task
			Attempts []task.Attempt
		}](w.T, line)
		if l.Type == "task" && string(l.Task.ID) == id {
			l.Task.Attempts = l.Attempts
			return l.Task
		}
	}
	w.T.Fatalf("task %s is not in the dump", id)
	return task.Task{}
}

// A subagent that outlives claude's patience is stopped by claude itself: the
// task is no less completed, it is not begun again, and says what was stopped.
func TestStoppedSubagentIsNoInterruption(t *testing.T) {
	w := newWorld(t, "CLAUDE_CODE_PRINT_BG_WAIT_CEILING_MS=500")
	agent := `[[tool Agent {"description":"count files","prompt":"[[hang]]","subagent_type":"general-purpose","run_in_background":true}]]`
	id := w.Start(agent+"[[text Started it.]]", "--on-interrupt", "resume")
	v := w.Wait(id)[0]
	const want = "background tasks that were stopped before they ended: 1 (count files)"
	if v.Status != task.Completed || *v.Result != "Started it." || v.Attempt != 1 || v.StatusMessage != want {
		t.Errorf("%s after %d attempts: %q, %s", v.Status, v.Attempt, v.StatusMessage, deref(v.Result))
	}
}
