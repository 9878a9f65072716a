package worktree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cctask/engine/task"
	"cctask/internal/sys"
)

// state is what a worktree holds.
type state struct {
	head, tip string // of the working tree, of the branch; "" if that is not there
	change    task.TreeChange
	conflicts bool   // a merge in it was not finished
	modules   bool   // submodules have repositories in it
	nested    string // a repository made or cloned in it: of that git takes the name of a commit alone
}

// own tells whether it holds anything that was not there at its base.
func (s state) own(w task.Worktree) bool {
	return s.change.Uncommitted > 0 || s.change.Commits > 0 || s.modules || s.nested != "" || s.head != "" && s.head != w.Base || s.tip != "" && s.tip != w.Base
}

// Look tells what was changed in a worktree, and so what is to become of it.
func (t *Trees) Look(ctx context.Context, w task.Worktree) (task.Worktree, error) {
	lock, err := hold(ctx, w)
	if err != nil {
		return w, err
	}
	defer unlock(lock)
	s, err := look(ctx, w, lock)
	if err != nil {
		return w, err
	}
	w.Change, w.State = &s.change, task.TreeRemoved
	if s.own(w) {
		w.State = task.TreeKept
	}
	return w, nil
}

func unlock(lock *os.File) {
	if lock != nil {
		_ = sys.Unlock(lock)
	}
}

func look(ctx context.Context, w task.Worktree, lock *os.File) (s state, err error) {
	if s.tip, err = tipOf(ctx, w); err != nil {
		return s, err
	}
	s.head = s.tip
	in := git{dir: w.GitDir, lock: lock}
	has := there(w.Dir)
	if has {
		in.dir = w.Dir
		if s.head, err = in.line(ctx, "rev-parse", "--verify", "HEAD^{commit}"); err != nil {
			return s, err
		}
		if err = s.uncommitted(ctx, in); err != nil {
			return s, err
		}
	}
	if s.head == "" {
		return s, nil
	}
	n, err := in.line(ctx, "rev-list", "--count", w.Base+".."+s.head)
	if err != nil {
		return s, err
	}
	if s.change.Commits, err = strconv.Atoi(n); err != nil {
		return s, err
	}
	out, err := diff(ctx, w, in, has, s.head, "--raw", "--numstat", "-z")
	s.count(out, w.Dir)
	return s, err
}

// uncommitted counts the files of the working tree that differ from its commit.
func (s *state) uncommitted(ctx context.Context, in git) error {
	out, err := in.run(ctx, "status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=none")
	if err != nil {
		return err
	}
	fields := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	for i := 0; i < len(fields) && len(fields[i]) > 2; i++ {
		s.change.Uncommitted++
		if strings.ContainsAny(fields[i][:2], "RC") {
			i++ // its old name
		}
		s.conflicts = s.conflicts || slices.Contains([]string{"DD", "AU", "UD", "UA", "DU", "AA", "UU"}, fields[i][:2])
	}
	admin, err := in.line(ctx, "rev-parse", "--absolute-git-dir")
	s.modules = there(filepath.Join(admin, "modules"))
	return err
}

// diff compares with the base all that there is, also files that git does not know yet.
// Where there is a working tree, it is read by a copy of its index in which they stand.
func diff(ctx context.Context, w task.Worktree, in git, has bool, head string, args ...string) (string, error) {
	args = append([]string{"diff", "--no-ext-diff", "--no-renames"}, args...)
	if !has {
		return in.run(ctx, append(args, w.Base, head)...)
	}
	copied := in
	copied.out = nil
	admin, err := copied.line(ctx, "rev-parse", "--absolute-git-dir")
	if err != nil {
		return "", err
	}
	index, err := os.ReadFile(filepath.Join(admin, "index"))
	if err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp("", "cctask-index-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	copied.index = filepath.Join(temp, "index")
	if err := os.WriteFile(copied.index, index, 0o600); err != nil {
		return "", err
	}
	if _, err := copied.run(ctx, "add", "--intent-to-add", "--ignore-errors", "--", "."); err != nil {
		return "", err
	}
	in.index = copied.index
	return in.run(ctx, append(args, w.Base)...)
}

// count reads what diff --raw --numstat -z says of the working tree dir.
func (s *state) count(out, dir string) {
	link := false // the entry is the path of one: https://git-scm.com/docs/git-diff#_raw_output_format
	for entry := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		if link && holds(filepath.Join(dir, entry)) {
			s.nested = entry
		}
		fields := strings.Fields(entry)
		link = strings.HasPrefix(entry, ":") && len(fields) > 1 && fields[1] == "160000"
		plus, rest, ok := strings.Cut(entry, "\t")
		if !ok {
			continue
		}
		minus, _, _ := strings.Cut(rest, "\t")
		s.change.Files++
		n, _ := strconv.Atoi(plus) // "-" of a binary file
		s.change.Insertions += n
		n, _ = strconv.Atoi(minus)
		s.change.Deletions += n
	}
}

// holds tells whether a directory has a repository of its own in it: that of a submodule
// stands elsewhere.
func holds(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, ".git"))
	return err == nil && info.IsDir()
}

// Remove removes a worktree and its branch, if all that it holds is kept elsewhere too:
// else it refuses with task.ErrUnmerged, unless force. One that is gone is no error.
func Remove(ctx context.Context, w task.Worktree, force bool) error {
	if w.State == task.TreeRemoved && !there(place(w)) {
		return nil
	}
	lock, err := hold(ctx, w)
	if err != nil {
		return err
	}
	defer unlock(lock)
	tip, err := unmerged(ctx, w, lock)
	if err != nil && !force {
		return err
	}
	if err := wipe(w); err != nil {
		return fmt.Errorf("remove the worktree %s: %w", w.Dir, err)
	}
	if tip != "" {
		if err := removeBranch(ctx, git{dir: w.GitDir, lock: lock}, branches+w.Branch, tip); err != nil {
			return task.Errorf(task.CodeConflict, "See what git says; a lock that a killed git has left there may be removed when no git is at work.", "remove the branch %s: %v", w.Branch, err)
		}
	}
	return removeAll(place(w))
}

// removeBranch removes a branch that is as it was looked at, and that nobody has checked
// out elsewhere.
func removeBranch(ctx context.Context, in git, ref, tip string) error {
	at, err := in.line(ctx, "for-each-ref", "--format=%(worktreepath)", ref)
	if err == nil && at == "" {
		// A git that was killed at this branch has left its lock; whoever holds the
		// worktree's has no other git at work.
		_ = os.Remove(filepath.Join(in.dir, ref+".lock"))
		_, err = in.run(ctx, "update-ref", "-d", ref, tip)
	}
	return err
}

// Remove is that of the package, without force.
func (t *Trees) Remove(ctx context.Context, w task.Worktree) error { return Remove(ctx, w, false) }

// unmerged refuses a worktree that holds something which is nowhere else, and tells
// where its branch is; "" if there is none.
func unmerged(ctx context.Context, w task.Worktree, lock *os.File) (tip string, err error) {
	if !whole(w) && !there(w.Dir) {
		if _, err := os.Stat(w.GitDir); errors.Is(err, os.ErrNotExist) {
			return "", nil // so is its repository
		}
	}
	s, err := look(ctx, w, lock)
	refuse := func(what string, args ...any) error {
		return task.Errorf(task.CodeUnmerged, "`cctask diff` shows it, `cctask merge` takes it over; `cctask rm --force` discards it.",
			"the worktree %s %s", w.Dir, fmt.Sprintf(what, args...))
	}
	switch {
	case err != nil:
		return s.tip, refuse("cannot be looked at: %v", err)
	case s.change.Uncommitted > 0:
		return s.tip, refuse("holds changes that are not committed (files: %d)", s.change.Uncommitted)
	case s.modules:
		return s.tip, refuse("holds repositories of submodules, which go with it")
	case s.nested != "":
		return s.tip, refuse("holds a repository of its own, %s, which goes with it", s.nested)
	}
	for _, commit := range []string{s.head, s.tip} {
		if commit == "" || commit == w.Base {
			continue
		}
		kept, err := contained(ctx, w, commit)
		switch {
		case err != nil:
			return s.tip, refuse("cannot be looked at: %v", err)
		case !kept:
			return s.tip, refuse("holds commits that are in no other branch (%d on %s)", s.change.Commits, w.Branch)
		}
	}
	return s.tip, nil
}

// contained tells whether a commit is in another branch than the worktree's own, or in
// what is checked out where that came from.
func contained(ctx context.Context, w task.Worktree, commit string) (bool, error) {
	out, err := git{dir: w.GitDir}.line(ctx, "for-each-ref", "--format=%(refname)", "--contains", commit, "refs/heads", "refs/remotes", "refs/tags")
	if err != nil {
		return false, err
	}
	for ref := range strings.SplitSeq(out, "\n") {
		if ref != "" && ref != branches+w.Branch {
			return true, nil
		}
	}
	_, err = git{dir: w.Repo}.run(ctx, "merge-base", "--is-ancestor", commit, "HEAD")
	return err == nil, nil
}

// List are the ids of the tasks that may have a worktree.
func (t *Trees) List() ([]string, error) {
	entries, err := os.ReadDir(t.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids, err
}
