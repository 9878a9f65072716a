package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/engine/worktree"
	"cctask/internal/testkit/fakeclaude"
)

// newTreeWorld is a world with a git repository, and the state directory's worktrees.
func newTreeWorld(t *testing.T, jobs int) *world {
	t.Helper()
	w := newWorld(t, jobs)
	w.Close()
	w.cfg.Trees = &worktree.Trees{Dir: filepath.Join(w.dir, "worktrees")}
	w.open()
	w.git("init", "-q", "-b", "main")
	w.git("commit", "-q", "--allow-empty", "-m", "first")
	w.must(os.WriteFile(filepath.Join(w.home, "file"), []byte("one\n"), 0o644))
	w.must(os.WriteFile(filepath.Join(w.home, ".gitignore"), []byte("log\n.fakeclaude\n"), 0o644))
	w.git("add", "file", ".gitignore")
	w.git("commit", "-q", "-m", "second")
	return w
}

func (w *world) git(args ...string) string {
	w.Helper()
	cmd := exec.CommandContext(w.ctx, "git", args...)
	cmd.Dir = w.home
	cmd.Env = append(os.Environ(), "HOME="+w.home, "GIT_CONFIG_NOSYSTEM=1")
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		cmd.Env = append(cmd.Env, "GIT_"+who+"_NAME=Test", "GIT_"+who+"_EMAIL=test@example.org")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) treeTask(name, prompt string) task.ID {
	w.Helper()
	s := task.Spec{WorkingDir: w.home, Claude: w.claude, Name: name, WorkdirMode: task.DirWorktree}
	t, err := w.Submit(w.ctx, engine.Submission{Spec: s, Prompt: prompt, Env: append(w.env(), "PATH="+os.Getenv("PATH"))})
	w.must(err)
	return t.ID
}

// noTrees waits until nothing of a worktree is left but what is to be kept.
func (w *world) noTrees(kept ...string) {
	w.Helper()
	for _, c := range []struct {
		what string
		left func() int
	}{
		{"directories", func() int { entries, _ := os.ReadDir(filepath.Join(w.dir, "worktrees")); return len(entries) }},
		{"branches", func() int { return len(strings.Fields(w.git("branch", "--list", "--format=%(refname)", "cctask/*"))) }},
		{"worktrees", func() int { return strings.Count(w.git("worktree", "list"), "\n") }},
	} {
		w.until(fmt.Sprintf("%s are left but %v", c.what, kept), func() bool { return c.left() == len(kept) })
	}
}

// A task works in a worktree of its own, in all of its attempts. One that changed
// nothing leaves nothing; what another one changed stays, until it is somewhere else.
func TestWorktree(t *testing.T) {
	t.Parallel()
	w := newTreeWorld(t, 2)
	idle := w.end(w.treeTask("idle", "[[text done]]"), task.Completed)
	if tr := idle.Worktree; tr == nil || tr.State != task.TreeRemoved || tr.Change == nil || *tr.Change != (task.TreeChange{}) {
		t.Errorf("%+v", tr)
	}
	w.noTrees()

	id := w.treeTask("busy", "[[append file two]][[append new three]][[exit 1]]")
	failed := w.end(id, task.Failed)
	tr := failed.Worktree
	if want := (task.TreeChange{Files: 2, Insertions: 2, Uncommitted: 2}); tr.State != task.TreeKept || *tr.Change != want || tr.Branch != "cctask/busy" {
		t.Fatalf("%+v %+v", tr, tr.Change)
	}
	if status := w.git("status", "--porcelain"); status != "" {
		t.Errorf("the task has changed where it came from: %s", status)
	}
	again := engine.Again{Ref: string(id), Env: w.env()}
	_, err := w.Retry(w.ctx, again)
	w.must(err)
	failed = w.end(id, task.Failed)
	if c := failed.Worktree.Change; failed.Worktree.Dir != tr.Dir || c.Insertions != 4 {
		t.Errorf("the second attempt: %+v %+v", failed.Worktree, c)
	}
	again.Prompt = "[[append file six]]"
	_, err = w.Resume(w.ctx, again)
	w.must(err)
	done := w.end(id, task.Completed)
	if c := done.Worktree.Change; c.Insertions != 5 || done.Worktree.Base != tr.Base {
		t.Errorf("the third attempt: %+v %+v", done.Worktree, c)
	}
	if err := w.Remove(w.ctx, string(id), true); !errors.Is(err, task.ErrUnmerged) || !strings.Contains(task.HintOf(err), "cctask merge") {
		t.Errorf("what is nowhere else goes: %v", err)
	}
	w.noTrees("busy")
	m, err := worktree.Merge(w.ctx, *done.Worktree, "m")
	if err != nil || m.Into != "main" {
		// Nobody has given this test's user a name.
		t.Logf("%+v, %v", m, err)
		w.must(worktree.Remove(w.ctx, *done.Worktree, true))
	}
	w.must(w.Remove(w.ctx, string(id), false))
	w.noTrees()
}

// A task whose worktree cannot be made is refused before it is recorded, or fails with
// the reason if that comes between.
func TestWorktreeRefused(t *testing.T) {
	t.Parallel()
	w := newTreeWorld(t, 1)
	s := task.Spec{WorkingDir: t.TempDir(), Claude: w.claude, WorkdirMode: task.DirWorktree}
	if _, err := w.Submit(w.ctx, engine.Submission{Spec: s, Prompt: "x", Env: w.env()}); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), "no git repository") {
		t.Error(err)
	}
	g := fakeclaude.NewGate(t)
	first := w.submit(g.Directive())
	open := w.reached(g)
	id := w.treeTask("late", "x")
	w.must(os.Rename(filepath.Join(w.home, ".git"), filepath.Join(w.home, "gone")))
	open()
	w.end(first, task.Completed)
	late := w.end(id, task.Failed)
	if late.Reason != task.ReasonSpawnFailed || !strings.Contains(late.Message, "no git repository") || !strings.Contains(late.Message, "git init") {
		t.Errorf("%s: %s", late.Reason, late.Message)
	}
	w.must(os.Rename(filepath.Join(w.home, "gone"), filepath.Join(w.home, ".git")))
	w.noTrees()
	w.Close()
	w.cfg.Trees = nil
	w.open()
	s.WorkingDir = w.home
	if _, err := w.Submit(w.ctx, engine.Submission{Spec: s, Prompt: "x", Env: w.env()}); !errors.Is(err, task.ErrInvalid) {
		t.Error(err)
	}
}

// An owner that dies at any commit of a task's life leaves its worktree as the next one
// needs it: neither one too many nor an edit too few.
func TestWorktreeOverDeaths(t *testing.T) {
	t.Parallel()
	starts := func(w task.Write) bool { return w.Task != nil && w.Task.Status == task.Starting }
	ends := func(w task.Write) bool { return w.Task != nil && w.Task.Status.Ended() }
	for name, c := range map[string]struct {
		fits  func(task.Write) bool
		after bool // dies after it, and not before
	}{
		"before the claim": {starts, false}, "after the claim": {starts, true},
		"before the start is recorded": {becomes(task.Running), false}, "after it": {becomes(task.Running), true},
		"before the end": {ends, false}, "after the end": {ends, true},
	} {
		for what, prompt := range map[string]string{"changes": "[[append file two]]", "nothing": "[[text done]]"} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				w := newTreeWorld(t, 1)
				dead := errors.New("the owner is dead")
				at := make(chan struct{}, 1)
				hook := func(wr task.Write) error {
					if !c.fits(wr) {
						return nil
					}
					select {
					case at <- struct{}{}:
					default:
					}
					return dead
				}
				w.store.set(func() {
					if c.after {
						w.store.after = hook
					} else {
						w.store.before = hook
					}
				})
				id := w.treeTask("n", prompt)
				select {
				case <-at:
				case <-w.ctx.Done():
					t.Fatal("the commit did not come")
				}
				w.Close()
				w.store.set(func() { w.store.before, w.store.after = nil, nil })
				w.open()
				done := w.end(id, task.Completed)
				if what == "nothing" {
					w.noTrees()
					return
				}
				w.noTrees("n")
				if c := cmp.Or(done.Worktree.Change, &task.TreeChange{}); c.Insertions != 1 || done.Worktree.State != task.TreeKept {
					t.Errorf("%+v %+v", done.Worktree, c)
				}
				w.must(worktree.Remove(w.ctx, *done.Worktree, true))
			})
		}
	}
}

// A task that goes on with the session of one in a worktree works in that too, and nobody
// removes it under its feet.
func TestWorktreeOfAnotherTask(t *testing.T) {
	t.Parallel()
	w := newTreeWorld(t, 1)
	first := w.end(w.treeTask("n", "[[append file two]]"), task.Completed)
	g := fakeclaude.NewGate(t)
	next, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{Claude: w.claude, ResumeTaskID: string(first.ID)}, Prompt: "[[append file three]]" + g.Directive(), Env: w.env()})
	w.must(err)
	open := w.reached(g)
	if err := w.Remove(w.ctx, string(first.ID), false); !errors.Is(err, task.ErrConflict) || !strings.Contains(err.Error(), string(next.ID)) {
		t.Errorf("its worktree goes while another task works there: %v", err)
	}
	open()
	w.end(next.ID, task.Completed)
	if text, err := os.ReadFile(filepath.Join(first.Worktree.Dir, "file")); err != nil || string(text) != "one\ntwo\nthree\n" {
		t.Errorf("%q, %v", text, err)
	}
	w.must(worktree.Remove(w.ctx, *first.Worktree, true))
}

// What is cancelled while it waits, or while its worktree is made, leaves none.
func TestWorktreeCancelled(t *testing.T) {
	t.Parallel()
	w := newTreeWorld(t, 1)
	id := w.treeTask("n", "[[hang]]")
	w.until("it runs", func() bool { got, err := w.Get(w.ctx, string(id)); w.must(err); return got.Status == task.Running })
	waits := w.treeTask("m", "[[hang]]")
	for _, id := range []task.ID{waits, id} {
		got, err := w.Cancel(w.ctx, string(id))
		w.must(err)
		if got.Status != task.Cancelled {
			t.Errorf("%+v", got)
		}
	}
	w.noTrees()
	slow := &slowTrees{Trees: w.cfg.Trees, making: make(chan struct{})}
	w.Close()
	w.cfg.Trees = slow
	w.open()
	id = w.treeTask("n", "[[hang]]")
	<-slow.making
	got, err := w.Cancel(w.ctx, string(id))
	w.must(err)
	if got.Status != task.Cancelled {
		t.Errorf("%+v", got)
	}
	w.noTrees()
	// A new owner has the one that its making was cut short.
	id = w.treeTask("n", "[[text done]]")
	<-slow.making
	w.Close()
	w.cfg.Trees = slow.Trees
	w.open()
	w.end(id, task.Completed)
	w.noTrees()
}

// slowTrees take until somebody gives up.
type slowTrees struct {
	engine.Trees
	making chan struct{}
}

func (s *slowTrees) Make(ctx context.Context, w task.Worktree) error {
	s.making <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// The retention lets go what holds nothing that is nowhere else, and passes over the rest.
func TestWorktreeOverRetention(t *testing.T) {
	t.Parallel()
	w := newTreeWorld(t, 4)
	var kept []task.ID
	for i := range 3 {
		kept = append(kept, w.treeTask(fmt.Sprint("n", i), "[[append file two]]"))
	}
	for _, id := range kept {
		w.end(id, task.Completed)
	}
	clean := w.treeTask("clean", "[[text done]]")
	w.end(clean, task.Completed)
	w.noTrees("n0", "n1", "n2")
	w.Close()
	w.cfg.Keep = task.KeepPolicy{Age: time.Nanosecond}
	hold, err := w.store.Doom(w.cfg.Keep, time.Now())
	w.must(err)
	w.must(w.store.SetHold(task.Hold{Since: time.Now().Add(-2 * task.HoldTime), Doom: hold, Why: "test"}))
	w.open()
	w.until("the clean one is gone", func() bool { _, err := w.Get(w.ctx, string(clean)); return errors.Is(err, task.ErrNotFound) })
	for _, id := range kept {
		got, err := w.Get(w.ctx, string(id))
		w.must(err)
		w.must(worktree.Remove(w.ctx, *got.Worktree, true))
	}
}
