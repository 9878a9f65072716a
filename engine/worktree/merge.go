package worktree

import (
	"context"
	"fmt"
	"io"
	"strings"

	"cctask/engine/task"
)

// Merged is what a merge did.
type Merged struct {
	Into        string `json:"into"`                   // the branch
	Commit      string `json:"commit"`                 // where that is now
	Committed   int    `json:"committed,omitempty"`    // files that were not committed before
	FastForward bool   `json:"fast_forward,omitempty"` // there was nothing to merge with
	UpToDate    bool   `json:"up_to_date,omitempty"`   // all of it was there already
}

// Merge brings what was done in a worktree into the branch that is checked out where it
// came from. What is not committed there is committed first, as message says. Where that
// cannot be done, it says why, and the branch and its files are as they were.
func Merge(ctx context.Context, w task.Worktree, message string) (m Merged, err error) {
	lock, err := hold(ctx, w)
	if err != nil {
		return m, err
	}
	defer unlock(lock)
	s, err := look(ctx, w, lock)
	if err != nil {
		return m, refused(w.Dir, err)
	}
	if err := mergeable(ctx, w, s); err != nil {
		return m, err
	}
	into := git{dir: w.Repo, own: true, most: workTime}
	if m.Into, err = into.line(ctx, "symbolic-ref", "--quiet", "--short", "HEAD"); err != nil {
		return m, refuse("Check out the branch that is to have it.", "in %s no branch is checked out", w.Repo)
	}
	dirty, err := into.line(ctx, "status", "--porcelain", "--untracked-files=no")
	switch {
	case err != nil:
		return m, refused(w.Repo, err)
	case dirty != "":
		return m, refuse("Commit or stash them, then merge again.", "%s has changes that are not committed: %s", w.Repo, strings.Join(strings.Fields(dirty), " "))
	}
	if m.Committed = s.change.Uncommitted; m.Committed > 0 {
		if s.head, err = commit(ctx, git{dir: w.Dir, lock: lock, own: true, most: workTime}, message); err != nil {
			return m, err
		}
	}
	was, err := into.line(ctx, "rev-parse", "HEAD")
	if err != nil {
		return m, refused(w.Repo, err)
	}
	if _, err := into.run(ctx, "merge", "--ff", "--no-edit", "--quiet", "-m", "Merge branch '"+w.Branch+"'", s.head); err != nil {
		// Nothing but the merge itself has changed anything there.
		conflicts, _ := into.line(ctx, "diff", "--name-only", "--diff-filter=U")
		_, _ = into.run(context.WithoutCancel(ctx), "merge", "--abort")
		if conflicts != "" {
			return m, refuse(fmt.Sprintf("Merge it by hand (git -C %s merge %s), or have a new task do so in %s.", task.ShellWords([]string{w.Repo}), w.Branch, w.Dir),
				"%s and %s conflict in %s; nothing was changed", w.Branch, m.Into, strings.Join(strings.Split(conflicts, "\n"), ", "))
		}
		return m, refuse("See what git says.", "%v; nothing was changed", err)
	}
	if m.Commit, err = into.line(ctx, "rev-parse", "HEAD"); err != nil {
		return m, refused(w.Repo, err)
	}
	m.UpToDate, m.FastForward = m.Commit == was, m.Commit == s.head && m.Commit != was
	return m, nil
}

func refuse(hint, format string, args ...any) error {
	return task.Errorf(task.CodeConflict, hint, format, args...)
}

// mergeable refuses what cannot be merged by itself.
func mergeable(ctx context.Context, w task.Worktree, s state) error {
	switch {
	case s.head == "" || !s.own(w):
		return refuse("`cctask status` shows what the task did.", "nothing was changed in the worktree of this task")
	case s.conflicts:
		return refuse("Finish or abort it there.", "in %s a merge stands still in a conflict", w.Dir)
	case s.nested != "":
		return refuse("Move it elsewhere, make it a submodule, or remove its .git so that its files are of this one.",
			"%s in %s is a repository of its own, whose files would not come along", s.nested, w.Dir)
	}
	if _, err := (git{dir: w.Repo}).line(ctx, "rev-parse", "--show-toplevel"); err != nil {
		return refused(w.Repo, err)
	}
	return nil
}

// commit commits all that there is in a working tree. The person's hooks are for what
// the person writes.
func commit(ctx context.Context, in git, message string) (string, error) {
	if _, err := in.run(ctx, "add", "--all"); err != nil {
		return "", err
	}
	bare := in
	bare.own = false
	_, err := bare.run(ctx, "commit", "--quiet", "--no-verify", "-m", message)
	switch {
	case says(err, "tell me who you are", "empty ident", "unable to auto-detect"):
		return "", refuse("git config --global user.name and user.email, then merge again.", "git does not know in whose name to commit")
	case err != nil:
		return "", err
	}
	return in.line(ctx, "rev-parse", "HEAD")
}

// Diff writes all that was changed since the base as a patch, or as args of git diff say.
func Diff(ctx context.Context, w task.Worktree, out io.Writer, args ...string) error {
	lock, err := hold(ctx, w)
	if err != nil {
		return err
	}
	defer unlock(lock)
	in := git{dir: w.GitDir, lock: lock, out: out, most: workTime}
	has := there(w.Dir)
	if has {
		in.dir = w.Dir
	}
	tip, err := tipOf(ctx, w)
	if err != nil {
		return refused(w.GitDir, err)
	}
	if !has && tip == "" {
		return nil
	}
	if _, err = diff(ctx, w, in, has, tip, args...); err != nil {
		return refused(w.Dir, err)
	}
	return nil
}
