package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

var gitNames = []string{"GIT_AUTHOR_NAME=n", "GIT_AUTHOR_EMAIL=e", "GIT_COMMITTER_NAME=n", "GIT_COMMITTER_EMAIL=e", "GIT_CONFIG_NOSYSTEM=1"}

func (w *world) git(args ...string) string {
	w.T.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = w.Work, append([]string{"HOME=/nowhere", "PATH=" + os.Getenv("PATH")}, gitNames...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.T.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) repository() {
	w.T.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		w.T.Skip("git is not installed")
	}
	w.git("init", "-q", "-b", "main")
	must(w.T, os.WriteFile(filepath.Join(w.Work, "committed"), nil, 0o644))
	must(w.T, os.WriteFile(filepath.Join(w.Work, "left"), nil, 0o644))
	w.git("add", "-A")
	w.git("commit", "-q", "-m", "first")
}

// noTrees fails if a worktree or a branch of a task is left.
func (w *world) noTrees() {
	w.T.Helper()
	w.Eventually(func() bool {
		left, _ := os.ReadDir(filepath.Join(w.Dir, "worktrees"))
		return len(left) == 0
	}, "worktrees are left")
	if left := w.git("branch", "--list", "cctask/*"); left != "" {
		w.T.Errorf("branches are left: %s", left)
	}
	if left := w.git("worktree", "list"); strings.Contains(left, "\n") {
		w.T.Errorf("worktrees are left: %s", left)
	}
}

// slay kills something of cctask's or a task's now and then, until stop is closed, and
// then tells what.
func (w *world) slay(stop <-chan struct{}) <-chan map[string]int {
	told := make(chan map[string]int, 1)
	go func() {
		slain := map[string]int{}
		defer func() { told <- slain }()
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(30)) * time.Millisecond):
			}
			victims := map[string][]int{}
			for _, p := range w.Processes() {
				switch name := filepath.Base(strings.Fields(p.Cmd + " -")[0]); {
				case name == "git", name == "claude":
					victims[name] = append(victims[name], p.PID)
				case strings.Contains(p.Cmd, " _run"):
					victims["runner"] = append(victims["runner"], p.PID)
				case strings.Contains(p.Cmd, " daemon "):
					victims["owner"] = append(victims["owner"], p.PID)
				}
			}
			kind := []string{"git", "claude", "runner", "owner"}[rand.IntN(4)]
			if pids := victims[kind]; len(pids) > 0 && syscall.Kill(pids[rand.IntN(len(pids))], syscall.SIGKILL) == nil {
				slain[kind]++
			}
		}
	}()
	return told
}

// The real CLI works in the worktree, in a second attempt too, and what it did comes back.
func TestRealClaudeInAWorktree(t *testing.T) {
	w := newWorld(t, gitNames...)
	w.repository()
	id := w.Start("[[bash pwd]][[bash echo one >> new]][[status 400]][[text never]]", "--workdir-mode=worktree", "--name=real")
	if v := w.Wait(id)[0]; v.Status != task.Failed || v.Worktree == nil || v.Worktree.State != task.TreeKept || v.Worktree.Change.Uncommitted != 1 {
		t.Fatalf("%s: %s, %+v", v.Status, v.StatusMessage, v.Worktree)
	}
	w.OK("resume", id, "[[bash echo two >> new && git add new && git commit -q -m new]][[bash pwd]][[text in ${result.1}]]")
	v := w.Wait(id)[0]
	if v.Status != task.Completed || v.Result == nil || !strings.HasPrefix(*v.Result, "in "+v.Worktree.Dir) || v.Worktree.Change.Commits != 1 {
		t.Fatalf("%s: %s, %v, %+v", v.Status, v.StatusMessage, deref(v.Result), v.Worktree)
	}
	w.OK("merge", id)
	if text, err := os.ReadFile(filepath.Join(w.Work, "new")); err != nil || string(text) != "one\ntwo\n" {
		t.Errorf("%q, %v", text, err)
	}
	w.OK("rm", id)
	w.noTrees()
}

// Tasks in one repository lose no edit of each other's, in worktrees of their own and in a
// directory that one has at a time, whatever of them is killed.
func TestNoLostEdit(t *testing.T) {
	const rounds = 50
	w := newWorldWith(t, nil, fakeclaude.Binary(t), append(gitNames, "CCTASK_JOBS=4")...)
	w.repository()
	slain := map[string]int{}
	for round := range rounds {
		line := fmt.Sprint("line-", round)
		tree, alone := []string{"--workdir-mode=worktree", "--name"}, []string{"--workdir-mode=exclusive"}
		committed := w.Start(fmt.Sprintf("[[append committed %s]][[delay 20ms]][[exec git commit -q -a -m %s]][[text done]]", line, line), append(tree, "committed")...)
		left := w.Start(fmt.Sprintf("[[append left %s]][[text done]]", line), append(tree, "left")...)
		idle := w.Start("[[delay 20ms]][[text done]]", append(tree, "idle")...)
		ids := []string{committed, left, idle}
		for range 2 {
			ids = append(ids, w.Start("[[alone "+filepath.Join(w.Home, "alone")+"]]", alone...))
		}
		var told <-chan map[string]int
		stop := make(chan struct{})
		if round%2 == 1 {
			told = w.slay(stop)
		}
		w.completed(ids, stop, told, slain)
		for _, id := range []string{committed, left} {
			w.OK("merge", id)
			for file, is := range map[string]string{"committed": committed, "left": left} {
				if text, err := os.ReadFile(filepath.Join(w.Work, file)); id == is && (err != nil || !strings.Contains(string(text), line+"\n")) {
					t.Fatalf("round %d: %s lost %s: %q, %v", round, file, line, text, err)
				}
			}
		}
		w.OK(append([]string{"rm"}, ids...)...)
		w.noTrees()
	}
	for file := range map[string]bool{"committed": true, "left": true} {
		text, err := os.ReadFile(filepath.Join(w.Work, file))
		must(t, err)
		for round := range rounds {
			if !strings.Contains(string(text), fmt.Sprintf("line-%d\n", round)) {
				t.Errorf("%s lost the line of round %d", file, round)
			}
		}
	}
	if w.git("status", "--porcelain") != "" {
		t.Error("something was changed beside the merges")
	}
	t.Logf("killed: %v", slain)
}

// completed waits for tasks, and tries again those that were killed, or whose git was:
// to claude that is a tool that failed. After two tries the killing ends.
func (w *world) completed(ids []string, stop chan struct{}, told <-chan map[string]int, slain map[string]int) {
	w.T.Helper()
	for try := 0; try < 5; try++ {
		if told != nil && try == 2 {
			close(stop)
			for kind, n := range <-told {
				slain[kind] += n
			}
			told = nil
		}
		left := 0
		for _, v := range w.Wait(ids...) {
			switch {
			case v.Status == task.Completed:
			case v.Status == task.Interrupted || v.Status == task.Failed && v.WorkdirMode == task.DirWorktree:
				left++
				w.OK("retry", string(v.TaskID))
			default:
				w.T.Fatalf("%s is %s: %s", v.Prompt, v.Status, v.StatusMessage)
			}
		}
		if left == 0 && told == nil {
			return
		}
	}
	w.T.Fatal("they do not come to their ends")
}
