package worktree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"cctask/engine/task"
	"cctask/internal/sys"
)

// TestMain gives every git of a test a home without a person's settings.
func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "cctask-git-home-")
	if err != nil {
		panic(err)
	}
	os.Setenv("HOME", home)
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	os.Unsetenv("XDG_CONFIG_HOME")
	for _, name := range []string{"AUTHOR", "COMMITTER"} {
		os.Setenv("GIT_"+name+"_NAME", "Test")
		os.Setenv("GIT_"+name+"_EMAIL", "test@example.org")
	}
	code := m.Run()
	_ = os.RemoveAll(home)
	os.Exit(code)
}

// repo is a repository with one commit and a place for worktrees of it.
type repo struct {
	*testing.T
	ctx   context.Context
	dir   string
	trees *Trees
}

func newRepo(t *testing.T) *repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	top, err := filepath.EvalSymlinks(t.TempDir())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	r := &repo{T: t, ctx: ctx, dir: filepath.Join(top, "project"), trees: &Trees{Dir: filepath.Join(top, "state", "worktrees")}}
	r.must(err)
	r.must(os.MkdirAll(filepath.Dir(r.trees.Dir), 0o700))
	r.must(os.MkdirAll(filepath.Join(r.dir, "sub"), 0o755))
	r.git("init", "-q", "-b", "main")
	r.write("file", "one\n")
	r.write("sub/deep", "two\n")
	r.commit("first")
	return r
}

func (r *repo) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *repo) git(args ...string) string {
	r.Helper()
	return r.gitIn(r.dir, args...)
}

func (r *repo) gitIn(dir string, args ...string) string {
	r.Helper()
	cmd := exec.CommandContext(r.ctx, "git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) write(name, text string) {
	r.Helper()
	r.writeIn(r.dir, name, text)
}

func (r *repo) writeIn(dir, name, text string) {
	r.Helper()
	r.must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
}

func (r *repo) commit(message string) {
	r.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "-m", message)
}

func (r *repo) plan(id, name string) task.Worktree {
	r.Helper()
	w, err := r.trees.Plan(r.ctx, id, name, r.dir)
	r.must(err)
	return w
}

func (r *repo) make(id, name string) task.Worktree {
	r.Helper()
	w := r.plan(id, name)
	r.must(r.trees.Make(r.ctx, w))
	return w
}

func (r *repo) look(w task.Worktree) task.Worktree {
	r.Helper()
	w, err := r.trees.Look(r.ctx, w)
	r.must(err)
	return w
}

// clean fails if anything of a worktree is left.
func (r *repo) clean(w task.Worktree) {
	r.Helper()
	if there(place(w)) {
		r.Errorf("%s is left", place(w))
	}
	if list := r.git("worktree", "list"); strings.Contains(list, r.trees.Dir) {
		r.Errorf("git knows of %s", list)
	}
	if left := r.git("branch", "--list", "cctask/*"); left != "" {
		r.Errorf("branches are left: %s", left)
	}
}

// What git cannot do is refused before anything is made, with what to do.
func TestPlanRefuses(t *testing.T) {
	other := func(r *repo) string { return r.TempDir() }
	for name, c := range map[string]struct {
		dir       func(r *repo) string
		text, tip string
	}{
		"no repository": {other, "is in no git repository", "git init"},
		"no commit": {func(r *repo) string {
			dir := other(r)
			r.gitIn(dir, "init", "-q")
			return dir
		}, "has no commit yet", "Commit"},
		"bare": {func(r *repo) string {
			dir := other(r)
			r.gitIn(dir, "clone", "-q", "--bare", r.dir, ".")
			return dir
		}, "is a bare repository", "working trees"},
		"git's own directory": {func(r *repo) string { return filepath.Join(r.dir, ".git") }, "inside of git's own directory", "working tree"},
		"not committed": {func(r *repo) string {
			r.must(os.Mkdir(filepath.Join(r.dir, "new"), 0o755))
			return filepath.Join(r.dir, "new")
		}, "does not have the directory new", "Commit"},
		"another user's": {func(r *repo) string {
			if os.Getuid() != 0 {
				r.Skip("only root can give a repository away")
			}
			r.must(os.Chown(r.dir, 1234, 1234))
			r.must(os.Chown(filepath.Join(r.dir, ".git"), 1234, 1234))
			return r.dir
		}, "belongs to another user", "safe.directory"},
		"gone": {func(r *repo) string { return filepath.Join(r.dir, "nowhere") }, "no such file", "git"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			_, err := r.trees.Plan(r.ctx, "id", "", c.dir(r))
			if !errors.Is(err, task.ErrInvalid) || !strings.Contains(fmt.Sprint(err), c.text) || !strings.Contains(task.HintOf(err), c.tip) {
				t.Errorf("%v; %s", err, task.HintOf(err))
			}
			if there(r.trees.Dir) {
				t.Error("something was made")
			}
		})
	}
}

func TestWithoutGit(t *testing.T) {
	r := newRepo(t)
	t.Setenv("PATH", t.TempDir())
	_, err := r.trees.Plan(r.ctx, "id", "", r.dir)
	if !errors.Is(err, task.ErrInvalid) || task.HintOf(err) == "" || !strings.Contains(err.Error(), "git is not installed") {
		t.Error(err)
	}
}

// Where there is more than one working tree, or none on a branch, a task begins with
// the commit of the one that it was given.
func TestPlanBeginsWhereItIs(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	linked := filepath.Join(filepath.Dir(r.dir), "linked")
	r.git("worktree", "add", "-q", linked)
	r.writeIn(linked, "file", "other\n")
	r.gitIn(linked, "commit", "-q", "-a", "-m", "other")
	first := r.git("rev-parse", "HEAD")
	r.write("file", "second\n")
	r.commit("second")
	r.git("checkout", "-q", "--detach", first)
	for dir, want := range map[string]string{
		r.dir: first, filepath.Join(r.dir, "sub"): first, linked: r.gitIn(linked, "rev-parse", "HEAD"),
	} {
		w, err := r.trees.Plan(r.ctx, filepath.Base(dir), "", dir)
		r.must(err)
		r.must(r.trees.Make(r.ctx, w))
		if at := r.gitIn(w.Dir, "rev-parse", "HEAD"); at != want || w.Base != want || filepath.Join(w.Repo, w.Sub) != dir {
			t.Errorf("of %s: %s, %+v, want %s", dir, at, w, want)
		}
		if w = r.look(w); w.State != task.TreeRemoved {
			t.Errorf("%+v", w)
		}
		r.must(r.trees.Remove(r.ctx, w))
		r.must(r.trees.Remove(r.ctx, w)) // once more changes nothing
		r.clean(w)
	}
}

// A branch can be named after any task.
func TestBranchNames(t *testing.T) {
	t.Parallel()
	newRepo(t) // or there is no git
	for name, want := range map[string]string{
		"":                            "cctask/ID",
		"fix-42":                      "cctask/fix-42",
		"Grüße, 世界":                   "cctask/Grüße,-世界",
		"-f":                          "cctask/f",
		"../../main":                  "cctask/main",
		"a..b":                        "cctask/a.b",
		"a.lock":                      "cctask/a",
		"a.lock.lock.":                "cctask/a",
		"refs/heads/main":             "cctask/refs-heads-main",
		"@{-1}":                       "cctask/1",
		"a~b^c:d?e*f[g\\h":            "cctask/a-b-c-d-e-f-g-h",
		"$(touch x); rm -rf `pwd`":    "cctask/touch-x-rm--rf-pwd",
		"...":                         "cctask/ID",
		strings.Repeat("世", 60):       "cctask/" + strings.Repeat("世", 33),
		strings.Repeat("a", 99) + "-": "cctask/" + strings.Repeat("a", 99),
	} {
		if want = strings.ReplaceAll(want, "rm--rf", "rm-rf"); branchOf("ID", name) != want {
			t.Errorf("%q: %q, want %q", name, branchOf("ID", name), want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		branch := branchOf("ID", name)
		if out, err := exec.Command("git", "check-ref-format", "--branch", branch).CombinedOutput(); err != nil || strings.Count(branch, "/") != 1 {
			t.Fatalf("%q of %q: %s", branch, name, out)
		}
	})
}

// Two tasks of one name, and a person's branch, are not in each other's way.
func TestTakenBranch(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	first := r.make("A", "same")
	for _, id := range []string{"B", "C"} {
		w := r.plan(id, "same")
		if err := r.trees.Make(r.ctx, w); !errors.Is(err, ErrTaken) {
			t.Fatalf("%s: %v", id, err)
		}
		w = Renamed(id, w)
		r.must(r.trees.Make(r.ctx, w))
		r.writeIn(w.Dir, "file", id)
		r.gitIn(w.Dir, "commit", "-q", "-a", "-m", id)
	}
	r.must(r.trees.Remove(r.ctx, first))
	if got := r.git("branch", "--list", "--format=%(refname:short)", "cctask/*"); got != "cctask/B\ncctask/C" {
		t.Errorf("branches: %s", got)
	}
	r.git("branch", "cctask/x/y")
	if err := r.trees.Make(r.ctx, r.plan("D", "x")); !errors.Is(err, ErrTaken) {
		t.Errorf("beside a branch below it: %v", err)
	}
	r = newRepo(t)
	r.git("branch", "cctask")
	if err := r.trees.Make(r.ctx, r.plan("D", "x")); !errors.Is(err, task.ErrInvalid) || !strings.Contains(task.HintOf(err), "Rename the branch") {
		t.Errorf("beside a branch of the directory's name: %v", err)
	}
}

// Whatever a crash has left of a worktree that is being made, the next one makes it whole,
// and what a task has done in one stays.
func TestMakeAfterACrash(t *testing.T) {
	for name, crash := range map[string]func(r *repo, w task.Worktree){
		"directory alone": func(r *repo, w task.Worktree) { r.must(os.MkdirAll(place(w), 0o700)) },
		"branch alone": func(r *repo, w task.Worktree) {
			r.must(os.MkdirAll(place(w), 0o700))
			r.git("branch", w.Branch)
		},
		"half checked out": func(r *repo, w task.Worktree) {
			r.must(r.trees.Make(r.ctx, w))
			r.must(os.Remove(filepath.Join(place(w), made)))
			r.must(os.Remove(filepath.Join(w.Dir, "file")))
		},
		"known to git alone": func(r *repo, w task.Worktree) {
			r.must(r.trees.Make(r.ctx, w))
			r.must(os.Remove(filepath.Join(place(w), made)))
			r.must(os.RemoveAll(w.Dir))
		},
		"not known to git": func(r *repo, w task.Worktree) {
			r.must(r.trees.Make(r.ctx, w))
			r.must(os.Remove(filepath.Join(place(w), made)))
			r.must(os.RemoveAll(filepath.Join(r.dir, ".git", "worktrees")))
		},
		"whole": func(r *repo, w task.Worktree) { r.must(r.trees.Make(r.ctx, w)) },
		"whole, and its git killed": func(r *repo, w task.Worktree) {
			r.must(r.trees.Make(r.ctx, w))
			r.must(os.WriteFile(filepath.Join(r.dir, ".git", "worktrees", "project", "index.lock"), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			w := r.plan("ID", "n")
			crash(r, w)
			r.must(r.trees.Make(r.ctx, w))
			r.writeIn(w.Dir, "file", "changed\n")
			r.gitIn(w.Dir, "commit", "-q", "-a", "-m", "changed")
			r.writeIn(w.Dir, "new", "new\n")
			r.must(r.trees.Make(r.ctx, w))
			got := r.look(w)
			if want := (task.TreeChange{Commits: 1, Files: 2, Insertions: 2, Deletions: 1, Uncommitted: 1}); got.State != task.TreeKept || *got.Change != want {
				t.Errorf("%s %+v, want %+v", got.State, *got.Change, want)
			}
			// Somebody removed the directory: what was committed is there again.
			r.must(os.RemoveAll(w.Dir))
			r.must(r.trees.Make(r.ctx, w))
			if got := r.look(w); got.Change.Commits != 1 || got.Change.Uncommitted != 0 {
				t.Errorf("made anew: %+v", *got.Change)
			}
			r.must(Remove(r.ctx, w, true))
			r.clean(w)
		})
	}
}

// Nothing that is nowhere else goes without force.
func TestRemove(t *testing.T) {
	edit := func(r *repo, w task.Worktree) { r.writeIn(w.Dir, "file", "changed\n") }
	commit := func(r *repo, w task.Worktree) {
		edit(r, w)
		r.gitIn(w.Dir, "commit", "-q", "-a", "-m", "changed")
	}
	for name, c := range map[string]struct {
		do   func(r *repo, w task.Worktree)
		goes bool
		text string
	}{
		"clean":         {func(*repo, task.Worktree) {}, true, ""},
		"ignored files": {func(r *repo, w task.Worktree) { r.writeIn(w.Dir, "x.o", "1") }, true, ""},
		"edited":        {edit, false, "not committed (files: 1)"},
		"new file": {func(r *repo, w task.Worktree) {
			r.git("config", "status.showUntrackedFiles", "no")
			r.writeIn(w.Dir, "new", "1")
		}, false, "not committed (files: 1)"},
		"committed": {commit, false, "in no other branch (1 on cctask/n)"},
		"merged": {func(r *repo, w task.Worktree) {
			commit(r, w)
			r.git("merge", "-q", w.Branch)
		}, true, ""},
		"merged into what is checked out detached": {func(r *repo, w task.Worktree) {
			commit(r, w)
			r.git("checkout", "-q", "--detach", w.Branch)
		}, true, ""},
		"in another branch": {func(r *repo, w task.Worktree) {
			commit(r, w)
			r.gitIn(w.Dir, "branch", "mine")
		}, true, ""},
		"committed without a branch": {func(r *repo, w task.Worktree) {
			r.gitIn(w.Dir, "checkout", "-q", "--detach")
			commit(r, w)
		}, false, "in no other branch"},
		"its branch left behind": {func(r *repo, w task.Worktree) {
			commit(r, w)
			r.gitIn(w.Dir, "checkout", "-q", "main~0")
		}, false, "in no other branch"},
		"its branch renamed": {func(r *repo, w task.Worktree) {
			commit(r, w)
			r.gitIn(w.Dir, "branch", "-m", "mine")
		}, true, ""},
		"read-only directories": {func(r *repo, w task.Worktree) {
			r.must(os.MkdirAll(filepath.Join(w.Dir, "cache.o", "x"), 0o755))
			r.must(os.Chmod(filepath.Join(w.Dir, "cache.o"), 0o555))
		}, true, ""},
		"not known to git any more": {func(r *repo, w task.Worktree) {
			edit(r, w)
			r.must(os.RemoveAll(filepath.Join(r.dir, ".git", "worktrees")))
		}, false, "cannot be looked at"},
		"the repository is gone": {func(r *repo, w task.Worktree) {
			edit(r, w)
			r.must(os.Rename(r.dir, r.dir+".gone"))
		}, false, "cannot be looked at"},
		"a submodule with a repository": {func(r *repo, w task.Worktree) {
			r.must(os.MkdirAll(filepath.Join(r.dir, ".git", "worktrees", "project", "modules", "x"), 0o755))
		}, false, "submodules"},
		"a repository made in it, merged as the name of a commit": {func(r *repo, w task.Worktree) {
			r.nest(w)
			r.gitIn(w.Dir, "add", "--all")
			r.gitIn(w.Dir, "commit", "-qm", "work")
			r.git("merge", "-q", w.Branch)
		}, false, "a repository of its own, sub/own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			r.write(".gitignore", "*.o\n")
			r.commit("ignore")
			w := r.make("ID", "n")
			c.do(r, w)
			err := r.trees.Remove(r.ctx, w)
			if (err == nil) != c.goes || err != nil && (!errors.Is(err, task.ErrUnmerged) || !strings.Contains(err.Error(), c.text) || task.HintOf(err) == "") {
				t.Errorf("%v", err)
			}
			if there(w.Dir) == c.goes {
				t.Errorf("is there: %v", !c.goes)
			}
			r.must(Remove(r.ctx, w, true))
			if there(r.dir) {
				r.clean(w)
			}
		})
	}
}

func (r *repo) nest(w task.Worktree) {
	r.Helper()
	sub := filepath.Join(w.Dir, "sub", "own")
	r.must(os.MkdirAll(sub, 0o755))
	r.gitIn(sub, "init", "-q")
	r.writeIn(sub, "kept", "nowhere else\n")
	r.gitIn(sub, "add", "-A")
	r.gitIn(sub, "commit", "-q", "-m", "own")
}

// A git that was killed at the branch does not keep it for ever.
func TestRemoveTakesALeftLock(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	w := r.make("ID", "n")
	r.writeIn(filepath.Join(r.dir, ".git"), branches+w.Branch+".lock", "")
	r.must(r.trees.Remove(r.ctx, w))
	r.clean(w)
}

// A lock of the whole repository may be that of a person's git: people are told of it,
// and then the removal goes on.
func TestRemoveTellsOfALock(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	w := r.make("ID", "n")
	lock := filepath.Join(r.dir, ".git", "packed-refs.lock")
	r.must(os.WriteFile(lock, nil, 0o600))
	err := Remove(r.ctx, w, true)
	if err == nil || !strings.Contains(err.Error(), "packed-refs.lock") || !strings.Contains(task.HintOf(err), "when no git is at work") {
		t.Errorf("%v", err)
	}
	r.must(os.Remove(lock))
	r.must(Remove(r.ctx, w, false))
	r.clean(w)
}

// failing lets git worktree add fail once with these words, and gives the file that says so.
func (r *repo) failing(words string) string {
	r.Helper()
	bin, at := r.TempDir(), filepath.Join(r.TempDir(), "failed")
	real, err := exec.LookPath("git")
	r.must(err)
	r.must(os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\ncase \"$*\" in *'worktree add'*) if [ ! -e "+at+" ]; then >"+at+
		"; echo '"+words+"' >&2; exit 128; fi;; esac\nexec "+real+" \"$@\"\n"), 0o755))
	r.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return at
}

// git does not say that the disk is full where it writes a file.
func TestMakeOnAFullDisk(t *testing.T) {
	r := newRepo(t)
	w := r.plan("ID", "n")
	r.failing("error: unable to write file f")
	if err := r.trees.Make(r.ctx, w); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	r.must(r.trees.Make(r.ctx, w))
	r.must(r.trees.Remove(r.ctx, w))
	r.clean(w)
}

// A git that git worktree runs is killed: the next try makes the worktree.
func TestMakeWhereItsGitIsKilled(t *testing.T) {
	r := newRepo(t)
	w := r.plan("ID", "n")
	at := r.failing("error: reset died of signal 9")
	r.must(r.trees.Make(r.ctx, w))
	if !there(at) || !whole(w) {
		t.Error("no git was killed, or no worktree was made")
	}
	r.must(r.trees.Remove(r.ctx, w))
	r.clean(w)
}

// A person who has the branch out elsewhere keeps it.
func TestRemoveLeavesABranchInUse(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	w := r.make("ID", "n")
	r.gitIn(w.Dir, "checkout", "-q", "--detach")
	r.git("checkout", "-q", w.Branch)
	r.must(r.trees.Remove(r.ctx, w))
	if at := r.git("symbolic-ref", "--short", "HEAD"); at != w.Branch || r.git("rev-parse", "HEAD") != w.Base {
		t.Errorf("HEAD is %s", at)
	}
}

// One call at a time has a worktree, also while a git of a dead owner is at work in it.
func TestCallsWaitForEachOther(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	w := r.make("ID", "n")
	f, err := os.Open(place(w))
	r.must(err)
	r.must(sys.Lock(int(f.Fd()), unix.LOCK_EX))
	ctx, cancel := context.WithTimeout(r.ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := r.trees.Look(ctx, w); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside another one: %v", err)
	}
	r.must(sys.Unlock(f))
	r.must(r.trees.Remove(r.ctx, w))
	r.clean(w)
}

func TestDiff(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	w := r.make("ID", "n")
	patch := func() string {
		t.Helper()
		var b bytes.Buffer
		r.must(Diff(r.ctx, w, &b))
		return b.String()
	}
	if got := patch(); got != "" {
		t.Error(got)
	}
	r.writeIn(w.Dir, "file", "changed\n")
	r.gitIn(w.Dir, "commit", "-q", "-a", "-m", "changed")
	r.writeIn(w.Dir, "new", "new\n")
	r.must(os.Remove(filepath.Join(w.Dir, "sub", "deep")))
	got := patch()
	for _, part := range []string{"-one\n+changed\n", "+++ b/new\n@@ -0,0 +1 @@\n+new\n", "--- a/sub/deep\n+++ /dev/null\n"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
	if status := r.gitIn(w.Dir, "status", "--porcelain"); status != "D sub/deep\n?? new" {
		t.Errorf("the look has changed the worktree: %s", status)
	}
	r.must(os.RemoveAll(w.Dir))
	if got := patch(); !strings.Contains(got, "+changed") || strings.Contains(got, "new") {
		t.Errorf("of the branch alone:\n%s", got)
	}
}

// What a merge cannot do it refuses, and leaves both sides as they were.
func TestMerge(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(r *repo, w task.Worktree)
		text string // of the refusal
		want Merged
	}{
		"fast forward": {func(r *repo, w task.Worktree) {
			r.writeIn(w.Dir, "new", "new\n")
			r.gitIn(w.Dir, "add", "new")
			r.gitIn(w.Dir, "commit", "-q", "-m", "new")
		}, "", Merged{Into: "main", FastForward: true}},
		"not committed": {func(r *repo, w task.Worktree) { r.writeIn(w.Dir, "new", "new\n") }, "", Merged{Into: "main", Committed: 1, FastForward: true}},
		"both have changed": {func(r *repo, w task.Worktree) {
			r.writeIn(w.Dir, "new", "new\n")
			r.write("other", "1")
			r.commit("other")
		}, "", Merged{Into: "main", Committed: 1}},
		"a person who wants no fast forward": {func(r *repo, w task.Worktree) {
			r.git("config", "merge.ff", "only")
			r.writeIn(w.Dir, "new", "new\n")
			r.write("other", "1")
			r.commit("other")
		}, "", Merged{Into: "main", Committed: 1}},
		"untracked files there": {func(r *repo, w task.Worktree) {
			r.writeIn(w.Dir, "new", "new\n")
			r.write("stray", "1")
		}, "", Merged{Into: "main", Committed: 1, FastForward: true}},
		"merged before": {func(r *repo, w task.Worktree) {
			r.writeIn(w.Dir, "new", "new\n")
			r.gitIn(w.Dir, "add", "new")
			r.gitIn(w.Dir, "commit", "-q", "-m", "new")
			r.git("merge", "-q", w.Branch)
		}, "", Merged{Into: "main", UpToDate: true}},
		"nothing": {func(*repo, task.Worktree) {}, "nothing was changed", Merged{}},
		"conflict": {func(r *repo, w task.Worktree) {
			r.writeIn(w.Dir, "new", "new\n")
			r.writeIn(w.Dir, "file", "mine\n")
			r.write("file", "theirs\n")
			r.commit("theirs")
		}, "conflict in file", Merged{}},
		"dirty": {func(r *repo, w task.Worktree) {
			r.writeIn(w.Dir, "new", "new\n")
			r.write("file", "edited\n")
		}, "not committed", Merged{}},
		"an untracked file in the way": {func(r *repo, w task.Worktree) {
			r.writeIn(w.Dir, "new", "new\n")
			r.write("new", "precious\n")
		}, "would be overwritten", Merged{}},
		"detached": {func(r *repo, w task.Worktree) {
			r.writeIn(w.Dir, "new", "new\n")
			r.git("checkout", "-q", "--detach")
		}, "no branch is checked out", Merged{}},
		"a hook that refuses": {func(r *repo, w task.Worktree) {
			r.writeIn(w.Dir, "new", "new\n")
			r.write("other", "1")
			r.commit("other")
			r.must(os.WriteFile(filepath.Join(r.dir, ".git", "hooks", "pre-merge-commit"), []byte("#!/bin/sh\necho not today >&2; exit 1\n"), 0o755))
		}, "not today", Merged{}},
		"the task left a conflict": {func(r *repo, w task.Worktree) {
			r.write("file", "theirs\n")
			r.commit("theirs")
			r.writeIn(w.Dir, "file", "mine\n")
			r.gitIn(w.Dir, "commit", "-q", "-a", "-m", "mine")
			_ = exec.Command("git", "-C", w.Dir, "merge", "main").Run()
		}, "stands still in a conflict", Merged{}},
		"a repository in it": {func(r *repo, w task.Worktree) { r.nest(w) }, "sub/own in ", Merged{}},
		"the repository is gone": {func(r *repo, w task.Worktree) {
			r.writeIn(w.Dir, "new", "new\n")
			r.must(os.Rename(r.dir, r.dir+".gone"))
		}, "git", Merged{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			w := r.make("ID", "n")
			c.do(r, w)
			held := func() string {
				var all []string
				for _, dir := range []string{r.dir, w.Dir} {
					for _, f := range []string{"file", "new", "other", "stray"} {
						text, err := os.ReadFile(filepath.Join(dir, f))
						all = append(all, fmt.Sprintf("%s %s %v\n", f, text, err == nil))
					}
				}
				return strings.Join(all, "")
			}
			was := held()
			m, err := Merge(r.ctx, w, "what the task did")
			if c.text != "" {
				if err == nil || !strings.Contains(err.Error(), c.text) || task.HintOf(err) == "" {
					t.Errorf("%+v, %v", m, err)
				}
				if now := held(); now != was {
					t.Errorf("the files are\n%s\nand were\n%s", now, was)
				}
				if there(filepath.Join(r.dir, ".git", "MERGE_HEAD")) {
					t.Error("the merge stands still")
				}
				return
			}
			r.must(err)
			if m.Commit != r.git("rev-parse", "main") {
				t.Errorf("%+v", m)
			}
			if m.Commit = ""; m != c.want {
				t.Errorf("%+v, want %+v", m, c.want)
			}
			if text, err := os.ReadFile(filepath.Join(r.dir, "new")); err != nil || string(text) != "new\n" {
				t.Errorf("%q, %v", text, err)
			}
			r.must(r.trees.Remove(r.ctx, w))
			r.clean(w)
		})
	}
}

func TestMergeWithoutAName(t *testing.T) {
	r := newRepo(t)
	w := r.make("ID", "n")
	r.writeIn(w.Dir, "new", "new\n")
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+who+"_NAME", "")
		t.Setenv("GIT_"+who+"_EMAIL", "")
	}
	r.git("config", "user.useConfigOnly", "true")
	if _, err := Merge(r.ctx, w, "m"); err == nil || !strings.Contains(task.HintOf(err), "user.name") {
		t.Error(err)
	}
}

// A person's hooks are not run when a worktree is made, and no variable leads git away.
func TestPersonsSetUp(t *testing.T) {
	r := newRepo(t)
	ran := filepath.Join(t.TempDir(), "ran")
	for _, hook := range []string{"post-checkout", "reference-transaction", "pre-commit", "post-commit", "commit-msg"} {
		r.must(os.WriteFile(filepath.Join(r.dir, ".git", "hooks", hook), []byte("#!/bin/sh\necho "+hook+" >>"+ran+"\n"), 0o755))
	}
	t.Setenv("GIT_DIR", filepath.Join(t.TempDir(), "elsewhere"))
	t.Setenv("GIT_INDEX_FILE", filepath.Join(t.TempDir(), "index"))
	w := r.make("ID", "n")
	r.writeIn(w.Dir, "new", "new\n")
	w = r.look(w)
	r.must(Remove(r.ctx, w, true))
	if text, err := os.ReadFile(ran); err == nil {
		t.Errorf("hooks ran: %s", text)
	}
	if env := Environ([]string{"GIT_DIR=x", "GIT_AUTHOR_NAME=y", "PATH=z"}); !slices.Equal(env, []string{"GIT_AUTHOR_NAME=y", "PATH=z"}) {
		t.Error(env)
	}
}
