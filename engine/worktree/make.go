package worktree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"cctask/engine/task"
	"cctask/internal/sys"
)

// Trees are the worktrees of a state directory.
type Trees struct{ Dir string }

// ErrTaken says that the branch of a new worktree is somebody else's.
var ErrTaken = errors.New("the branch is there already")

// Plan tells how a worktree of the repository that dir is in would be, and makes
// nothing. Its branch is named after the task, by its id where another one has that.
func (t *Trees) Plan(ctx context.Context, id, name, dir string) (task.Worktree, error) {
	w, err := t.plan(ctx, id, name, dir)
	if err != nil {
		return w, refused(dir, err)
	}
	return w, nil
}

func (t *Trees) plan(ctx context.Context, id, name, dir string) (w task.Worktree, err error) {
	in := git{dir: dir}
	kind, err := in.line(ctx, "rev-parse", "--is-inside-work-tree", "--is-bare-repository", "--git-common-dir")
	if err != nil {
		return w, err
	}
	is := strings.SplitN(kind, "\n", 3)
	switch {
	case len(is) != 3:
		return w, fmt.Errorf("git does not say where the repository of %s is", dir)
	case is[0] != "true" && is[1] == "true":
		return w, task.Invalid(fmt.Sprintf("worktree: %s is a bare repository, to whose files nothing could be brought back", dir), "Name the directory of one of its working trees.")
	case is[0] != "true":
		return w, task.Invalid(fmt.Sprintf("worktree: %s is inside of git's own directory", dir), "Name the directory of the working tree.")
	}
	if w.GitDir = is[2]; !filepath.IsAbs(w.GitDir) {
		w.GitDir = filepath.Join(dir, w.GitDir)
	}
	if w.Repo, err = in.line(ctx, "rev-parse", "--show-toplevel"); err != nil {
		return w, err
	}
	if w.Sub, err = in.line(ctx, "rev-parse", "--show-prefix"); err != nil {
		return w, err
	}
	w.Sub = strings.TrimSuffix(w.Sub, "/")
	if w.Base, err = in.line(ctx, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"); err != nil {
		if no(err) {
			return w, task.Invalid(fmt.Sprintf("worktree: the repository %s has no commit yet", w.Repo), "Commit what the task is to begin with.")
		}
		return w, err
	}
	if w.Sub != "" {
		if what, err := in.line(ctx, "cat-file", "-t", w.Base+":"+w.Sub); err != nil || what != "tree" {
			return w, task.Invalid(fmt.Sprintf("worktree: the last commit of %s does not have the directory %s", w.Repo, w.Sub), "Commit something in it, or name a directory that is in the repository.")
		}
	}
	w.Branch = branchOf(id, name)
	// git names its worktrees without links.
	top, err := filepath.EvalSymlinks(filepath.Dir(t.Dir))
	if err != nil {
		return w, err
	}
	base := filepath.Base(w.Repo)
	if base == "/" || strings.HasPrefix(base, ".") { // it lies beside our own files
		base = "work"
	}
	w.Dir = filepath.Join(top, filepath.Base(t.Dir), id, base)
	return w, nil
}

// refused says to people why there can be no worktree of dir.
func refused(dir string, err error) error {
	f := new(fault)
	switch {
	case !errors.As(err, &f):
		return err
	case says(err, "not a git repository"):
		return task.Invalid(fmt.Sprintf("worktree: %s is in no git repository", dir), "Make it one (git init, and a first commit), or use workdir_mode exclusive.")
	case says(err, "dubious ownership"):
		return task.Invalid(fmt.Sprintf("worktree: the repository of %s belongs to another user, so that git does nothing in it", dir),
			fmt.Sprintf("If you trust it: git config --global --add safe.directory %s", task.ShellWords([]string{dir})))
	}
	return task.Invalid(fmt.Sprintf("worktree of %s: %v", dir, f), "See what git says in that directory.")
}

const branches = "refs/heads/"

// mostBranch bounds a name in bytes: a branch is a file, and has a lock beside it.
const mostBranch = 100

// branchOf is the branch of a task. A name may be any line of text, and a branch's may
// not: see git-check-ref-format(1).
func branchOf(id, name string) string {
	const keep = "-_.+=,"
	safe := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(keep, r) {
			return r
		}
		return '-'
	}, name)
	for _, twice := range []string{"..", "--"} {
		for strings.Contains(safe, twice) {
			safe = strings.ReplaceAll(safe, twice, twice[1:])
		}
	}
	for len(safe) > mostBranch {
		r := []rune(safe)
		safe = string(r[:len(r)-1])
	}
	for safe != strings.TrimSuffix(strings.Trim(safe, "-."), ".lock") {
		safe = strings.TrimSuffix(strings.Trim(safe, "-."), ".lock")
	}
	if safe == "" {
		safe = id
	}
	return "cctask/" + safe
}

// Renamed is w with the branch that it has where ErrTaken met the first one.
func Renamed(id string, w task.Worktree) task.Worktree {
	w.Branch = branchOf(id, "")
	return w
}

// made is the file that tells of a worktree which was made whole: in one without it no
// task can have worked.
const made = ".made"

func place(w task.Worktree) string { return filepath.Dir(w.Dir) }

// hold takes the lock of a worktree's directory; nil without an error if there is none.
func hold(ctx context.Context, w task.Worktree) (*os.File, error) {
	for ctx.Err() == nil {
		f, err := os.OpenFile(place(w), os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		got, err := sys.LockWithin(int(f.Fd()), unix.LOCK_EX, time.Second)
		if got && same(f) { // whoever had it may have removed it
			return f, nil
		}
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("wait for the git that is at work in %s: %w", w.Dir, ctx.Err())
}

// same tells whether an open directory is still the one of its name.
func same(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(f.Name())
	return err == nil && os.SameFile(mine, named)
}

// Make makes a worktree, or finds that it is there as it was left. What a crash has
// left of one that no task can have worked in is made anew.
func (t *Trees) Make(ctx context.Context, w task.Worktree) error {
	var lock *os.File
	for lock == nil {
		err := os.MkdirAll(place(w), 0o700)
		if err == nil {
			lock, err = hold(ctx, w)
		}
		if err != nil {
			return err
		}
	}
	defer unlock(lock)
	err := put(ctx, lock, w)
	for n := 1; n < mostKills && killed(err); n++ {
		err = put(ctx, lock, w)
	}
	if err != nil && !whole(w) {
		_ = wipe(w) // the rest goes with the end of the task
	}
	return err
}

// whole tells whether a worktree was made, so that somebody may have worked in it.
func whole(w task.Worktree) bool {
	_, err := os.Stat(filepath.Join(place(w), made))
	return err == nil
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// put is one try of Make.
func put(ctx context.Context, lock *os.File, w task.Worktree) error {
	was := whole(w)
	if was && there(filepath.Join(w.Dir, ".git")) {
		unlockGit(ctx, w)
		return nil
	}
	tip, err := tipOf(ctx, w)
	if err != nil {
		return err
	}
	if tip != "" && tip != w.Base && !was {
		return ErrTaken
	}
	if err := wipe(w); err != nil {
		return err
	}
	branch := []string{w.Dir, w.Branch}
	if tip == "" {
		branch = []string{"-b", w.Branch, w.Dir, w.Base}
	}
	_, err = git{dir: w.GitDir, lock: lock, most: workTime}.run(ctx, append([]string{"worktree", "add", "--quiet"}, branch...)...)
	switch {
	case err == nil:
	case says(err, "'refs/heads/cctask' exists"):
		return task.Invalid("worktree: "+err.Error(), "Rename the branch cctask: the branches of tasks are below that name.")
	case was || !says(err, "already exists", "already checked out", "already used by", "cannot lock ref"):
		return err
	default:
		return ErrTaken
	}
	if sub := filepath.Join(w.Dir, w.Sub); !there(sub) {
		return task.Invalid(fmt.Sprintf("worktree: the commit %s does not have the directory %s", w.Base, w.Sub), "Commit something in it.")
	}
	return sys.WriteFile(filepath.Join(place(w), made), func(io.Writer) error { return nil })
}

// tipOf is the commit of the branch; "" if there is no such branch.
func tipOf(ctx context.Context, w task.Worktree) (string, error) {
	tip, err := git{dir: w.GitDir}.line(ctx, "rev-parse", "--verify", "--quiet", branches+w.Branch)
	if no(err) {
		return "", nil
	}
	return tip, err
}

// unlockGit takes away the locks of a git that was killed in a worktree: of the task that
// it has nothing lives any more.
func unlockGit(ctx context.Context, w task.Worktree) {
	locks := []string{filepath.Join(w.GitDir, branches+w.Branch)}
	if admin, err := (git{dir: w.Dir}).line(ctx, "rev-parse", "--absolute-git-dir"); err == nil {
		locks = append(locks, filepath.Join(admin, "index"), filepath.Join(admin, "HEAD"))
	}
	for _, of := range locks {
		_ = os.Remove(of + ".lock")
	}
}

// wipe removes a working tree and what git knows of it, but neither its branch nor
// what was committed.
func wipe(w task.Worktree) error {
	admins := filepath.Join(w.GitDir, "worktrees")
	known, err := os.ReadDir(admins)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, k := range known {
		admin := filepath.Join(admins, k.Name())
		text, err := os.ReadFile(filepath.Join(admin, "gitdir"))
		at := strings.TrimSpace(string(text))
		if !filepath.IsAbs(at) { // worktree.useRelativePaths
			at = filepath.Join(admin, at)
		}
		if err == nil && filepath.Clean(at) == filepath.Join(w.Dir, ".git") {
			if err := removeAll(admin); err != nil {
				return err
			}
		}
	}
	return removeAll(w.Dir)
}

// removeAll removes also what lies in directories that may not be written to, such as
// a cache of Go modules.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, os.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
