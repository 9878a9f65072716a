package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/summary"
	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeapi"
)

// nightTask is a task of the night and how it has to end.
type nightTask struct {
	name, prompt string
	flags        []string
	night        bool // of the second account, which has a usage limit

	want    task.Status
	reason  task.FailureReason
	retried task.FailureReason // why there was a second attempt
	answer  string             // "": any
	turns   int                // that the API answered to the end
	id      string
}

const subscriber = "CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-fake"

// nightTasks are 60, in three groups.
func nightTasks() (all []*nightTask) {
	add := func(n int, t nightTask) {
		for i := range n {
			c := t
			c.name = fmt.Sprintf("%s-%d", t.name, i)
			c.prompt = strings.ReplaceAll(t.prompt, "#", fmt.Sprint(i))
			c.answer = strings.ReplaceAll(t.answer, "#", fmt.Sprint(i))
			c.flags = slices.Clone(t.flags)
			for k, f := range c.flags {
				c.flags[k] = strings.ReplaceAll(f, "#", fmt.Sprint(i))
			}
			if c.want == "" {
				c.want = task.Completed
			}
			all = append(all, &c)
		}
	}
	docs, fixes, tests := []string{"--group", "docs"}, []string{"--group", "fixes"}, []string{"--group", "tests"}
	with := func(flags []string, more ...string) []string { return append(slices.Clone(flags), more...) }
	// These two block until one of them, and the other's runner, were killed.
	add(2, nightTask{name: "victim", prompt: "[[text begun]][[hold kill]]", flags: with(fixes, "--priority", "100"), retried: task.ReasonInterrupted, turns: 1})
	// The first of the second account meets its limit.
	add(1, nightTask{name: "limited", prompt: "[[limit times=1 after=20s]][[text late]]", flags: with(docs, "--priority", "90", "--model", "opus"), night: true, turns: 1})
	add(7, nightTask{name: "subscriber", prompt: "[[text account #]]", answer: "account #", flags: with(docs, "--model", "opus"), night: true, turns: 1})
	add(4, nightTask{name: "overloaded", prompt: "[[status 529 times=3]][[text x]]", flags: tests, retried: task.ReasonOverloaded, turns: 1})
	add(3, nightTask{name: "rated", prompt: "[[status 429 times=3]][[text x]]", flags: tests, retried: task.ReasonRateLimited, turns: 1})
	add(3, nightTask{name: "dropped", prompt: "[[drop times=3]][[text x]]", flags: tests, retried: task.ReasonNetwork, turns: 1})
	add(2, nightTask{name: "stalled", prompt: "[[hang times=1]][[text x]]", flags: with(tests, "--stall-timeout", "10s"), retried: task.ReasonStalled, turns: 1})
	add(1, nightTask{name: "hung", prompt: "[[hang]]", flags: with(tests, "--timeout", "20s"), want: task.Timeout, reason: task.ReasonDeadline})
	add(1, nightTask{name: "wrong", prompt: "[[status 400]]", flags: tests, want: task.Failed, reason: task.ReasonInvalidRequest})
	add(2, nightTask{name: "afterwrong", prompt: "[[text never]]", flags: with(tests, "--after", "wrong-0"), want: task.Skipped, reason: task.ReasonDependency})
	add(5, nightTask{name: "survey", prompt: "[[text fruit #]]", answer: "fruit #", flags: docs, turns: 1})
	add(5, nightTask{name: "essay", prompt: "[[text about {{tasks.survey-#.result}}]]", answer: "about fruit #", flags: with(docs, "--after", "survey-#"), turns: 1})
	add(4, nightTask{name: "patch", prompt: "[[bash echo # > only-#.txt && git add -A && git commit -qm 'patch #']][[text patched]]", answer: "patched", flags: with(fixes, "--workdir-mode", "worktree"), turns: 2})
	add(2, nightTask{name: "look", prompt: "[[bash git status --short]][[text looked]]", answer: "looked", flags: with(fixes, "--workdir-mode", "worktree"), turns: 2})
	add(18, nightTask{name: "plain", prompt: "[[text plain #]]", answer: "plain #", flags: docs, turns: 1})
	return all
}

// TestNightInTheSmall: a fleet of 60 with everything that goes wrong at night, and
// nobody who watches.
func TestNightInTheSmall(t *testing.T) {
	w := newWorld(t, append(gitNames, "CCTASK_JOBS=4")...)
	w.settings("[retry]\nbase = \"1s\"\nmax = \"2s\"\n")
	w.repository()
	for _, g := range []string{"docs", "fixes", "tests"} {
		w.OK("group", "set", g, "--jobs", "3")
	}
	w.OK("pause")
	all := nightTasks()
	if len(all) != 60 {
		t.Fatalf("%d tasks", len(all))
	}
	for _, n := range all {
		n.id = w.submit(n)
	}
	w.OK("unpause")
	w.Held("kill", 2)
	// Claude writes the session some 200 ms after it asks: before, there is none to go on with.
	for _, n := range all[:2] {
		w.Eventually(func() bool {
			files, _ := filepath.Glob(filepath.Join(w.Home, ".claude", "projects", "*", task.ID(n.id).UUID()+".jsonl"))
			return len(files) == 1 && strings.Contains(read(files[0]), "[[hold kill]]")
		}, "claude does not write the session of %s", n.name)
	}
	w.Kill(w.Owner().PID)
	first, second := w.claudeOf(all[0].id), w.claudeOf(all[1].id)
	w.Kill(first)
	w.Kill(w.Parent(second))
	w.View(all[2].id) // asks, so that there is an owner again
	w.API.Release("kill")
	w.Eventually(func() bool { return strings.Contains(w.OK("limits"), "usage limit until") }, "the account's gate did not close")
	w.Kill(w.Owner().PID)
	if got := w.OK("limits"); !strings.Contains(got, "usage limit until") {
		t.Errorf("the next owner does not know of the gate: %s", got)
	}
	ids := make([]string, len(all))
	for i, n := range all {
		ids[i] = n.id
	}
	views := w.Wait(ids...)
	for i, n := range all {
		n.check(t, views[i])
	}
	w.checkGate(all)
	w.checkCosts(all, views)
	w.checkSummary(all)
	w.checkWorktrees()
}

func (w *world) settings(text string) {
	w.T.Helper()
	dir := filepath.Join(w.Home, ".config", "cctask")
	must(w.T, os.MkdirAll(dir, 0o755))
	must(w.T, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(text), 0o600))
}

func read(file string) string {
	b, _ := os.ReadFile(file)
	return string(b)
}

func (w *world) submit(n *nightTask) string {
	w.T.Helper()
	cmd := w.Command(append(append([]string{"start", "--name", n.name}, n.flags...), "--", n.prompt)...)
	if n.night {
		cmd.Env = append(cmd.Env, "ANTHROPIC_API_KEY=", subscriber)
	}
	out, err := cmd.Output()
	if err != nil {
		w.T.Fatalf("start %s: %v", n.name, err)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) claudeOf(id string) int {
	w.T.Helper()
	pids := w.Matching("--session-id=" + task.ID(id).UUID())
	// A child that it has just forked bears its command line for a moment.
	pids = slices.DeleteFunc(pids, func(pid int) bool { return slices.Contains(pids, w.Parent(pid)) })
	if len(pids) != 1 {
		w.T.Fatalf("%d claudes of task %s", len(pids), id)
	}
	return pids[0]
}

func (n *nightTask) check(t *testing.T, v task.View) {
	t.Helper()
	if v.Status != n.want || v.FailureReason != n.reason {
		t.Errorf("%s is %s, %s, want %s, %s: %s", n.name, v.Status, v.FailureReason, n.want, n.reason, v.StatusMessage)
	}
	if n.answer != "" && (v.Result == nil || *v.Result != n.answer) {
		t.Errorf("%s answered %v, want %q", n.name, deref(v.Result), n.answer)
	}
	attempts := 1
	if n.retried != "" {
		attempts = 2
	}
	switch {
	case n.want == task.Skipped:
	case n.name == "limited-0":
		if v.Attempt != 2 {
			t.Errorf("%s took %d attempts", n.name, v.Attempt)
		}
	case v.Attempt < attempts || n.retried == "" && !n.night && v.Attempt != 1:
		t.Errorf("%s took %d attempts, want %d", n.name, v.Attempt, attempts)
	}
	if want := task.ID(n.id).UUID(); v.SessionID != want && n.want != task.Skipped {
		t.Errorf("%s lost its session: %s, want %s", n.name, v.SessionID, want)
	}
}

// checkGate: while the account is closed nothing of it is launched.
func (w *world) checkGate(all []*nightTask) {
	w.T.Helper()
	type line struct {
		Time, Until time.Time
		Message     string
	}
	var closed []line
	log, err := os.ReadFile(filepath.Join(w.Dir, "owner.log"))
	must(w.T, err)
	for text := range strings.Lines(string(log)) {
		if strings.Contains(text, `"account closed"`) {
			closed = append(closed, cctest.Parse[line](w.T, text))
		}
	}
	if len(closed) == 0 {
		w.T.Error("the owner does not say that it closed the account")
	}
	night := map[string]bool{}
	for _, n := range all {
		night[n.id] = n.night
	}
	for text := range strings.Lines(w.OK("dump", "--output", "none")) {
		t := cctest.Parse[struct{ Task task.Task }](w.T, text).Task
		for _, c := range t.History {
			for _, gate := range closed {
				if night[string(t.ID)] && c.To == task.Starting && c.At.After(gate.Time) && c.At.Before(gate.Until) {
					w.T.Errorf("task %s was launched %s after the account was closed", t.ID, c.At.Sub(gate.Time))
				}
			}
		}
	}
}

// checkCosts: what the script answered is what was paid.
func (w *world) checkCosts(all []*nightTask, views []task.View) {
	w.T.Helper()
	var got float64
	turns := 0
	for i, n := range all {
		turns += n.turns
		cost := 0.0
		if views[i].CostUSD != nil {
			cost = *views[i].CostUSD
		}
		got += cost
		if want := fakeapi.Cost(n.turns); task.RoundUSD(cost) != task.RoundUSD(want) {
			w.T.Errorf("%s cost $%.4f, want $%.4f", n.name, cost, want)
		}
	}
	if want := fakeapi.Cost(turns); task.RoundUSD(got) != task.RoundUSD(want) {
		w.T.Errorf("the night cost $%.4f, want $%.4f", got, want)
	}
}

// checkSummary: the morning's text says it all.
func (w *world) checkSummary(all []*nightTask) {
	w.T.Helper()
	s := cctest.Parse[summary.Summary](w.T, w.OK("summary", "--json"))
	counts, retried := map[task.Status]int{}, map[task.FailureReason]int{}
	for _, n := range all {
		counts[n.want]++
		if n.retried != "" {
			retried[n.retried]++
		}
	}
	for _, c := range s.Statuses {
		if counts[c.Status] != c.Tasks {
			w.T.Errorf("summary: %d %s, want %d", c.Tasks, c.Status, counts[c.Status])
		}
	}
	for reason, want := range retried {
		at := slices.IndexFunc(s.Retries, func(r summary.Retries) bool { return r.Reason == reason })
		if at < 0 || len(s.Retries[at].Tasks) != want {
			w.T.Errorf("summary: retries for %s: %+v, want %d tasks", reason, s.Retries, want)
		}
	}
	if s.Tasks != len(all) || !slices.ContainsFunc(s.Limits, func(l summary.Limit) bool { return l.Reason == task.ReasonUsageLimit }) {
		w.T.Errorf("summary: %d tasks, limits %+v", s.Tasks, s.Limits)
	}
	text := w.OK("summary")
	for _, want := range []string{"60 tasks", "usage limit"} {
		if !strings.Contains(text, want) {
			w.T.Errorf("the summary has no %q:\n%s", want, text)
		}
	}
}

// checkWorktrees: the four with changes are kept, and each can be merged.
func (w *world) checkWorktrees() {
	w.T.Helper()
	if n := strings.Count(w.git("worktree", "list"), "\n"); n != 4 {
		w.T.Errorf("%d worktrees, want 4 and the project:\n%s", n, w.git("worktree", "list"))
	}
	for i := range 4 {
		name := fmt.Sprintf("patch-%d", i)
		if diff := w.OK("diff", name); !strings.Contains(diff, fmt.Sprintf("only-%d.txt", i)) {
			w.T.Errorf("diff %s: %s", name, diff)
		}
		w.OK("merge", name)
		w.OK("rm", name)
	}
	w.noTrees()
	for i := range 4 {
		if b, err := os.ReadFile(filepath.Join(w.Work, fmt.Sprintf("only-%d.txt", i))); err != nil || strings.TrimSpace(string(b)) != fmt.Sprint(i) {
			w.T.Errorf("patch %d: %q, %v", i, b, err)
		}
	}
}
