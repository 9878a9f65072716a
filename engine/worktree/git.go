// Package worktree gives a task a git worktree and a branch of its own, tells what
// was done there, brings it back, and removes it without losing any of that. It knows
// git; of tasks it knows what their record says of a worktree, and the errors for
// people. It must never know why a task starts or ends.
//
// A worktree lies alone in a directory of its own below the state directory: whatever
// a crash has left of one is in there, or in git's own record of it, and is removed or
// made anew by whoever comes next. Each call holds the lock of that directory, and so
// does the git that it runs, which may outlive it.
package worktree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"cctask/engine/task"
)

// Bounds of a git: for a question, and for what writes a working tree.
const (
	askTime  = time.Minute
	workTime = 10 * time.Minute
)

// git is a way to run git.
type git struct {
	dir   string        // in which it runs
	lock  *os.File      // it holds this too, so that nobody else comes while it lives
	index string        // in place of the working tree's own; "": that
	own   bool          // with the person's hooks, for what is done in the person's name
	out   io.Writer     // where its output goes; nil: to the caller
	most  time.Duration // 0: askTime
}

// quiet keeps what a person has set up from being run, or from writing, behind
// their back. Hooks may do anything: post-checkout runs at each new worktree.
var quiet = []string{"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false"}

// fault is a git that failed.
type fault struct {
	args   []string
	said   string
	killed bool // it, or a git that it ran, by a signal: it says nothing of what was asked
	err    error
}

func (f *fault) Error() string {
	said := strings.Join(strings.Fields(f.said), " ")
	if said == "" {
		said = f.err.Error()
	}
	return fmt.Sprintf("git %s: %s", f.args[0], said)
}

func (f *fault) Unwrap() error { return f.err }

// says tells whether git failed with one of these words.
func says(err error, words ...string) bool {
	f := new(fault)
	return errors.As(err, &f) && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(f.said, w) })
}

// killed tells of a git that a signal ended.
func killed(err error) bool {
	f := new(fault)
	return errors.As(err, &f) && f.killed
}

// no tells of a git whose answer is no.
func no(err error) bool {
	exit := new(exec.ExitError)
	return errors.As(err, &exit) && exit.ExitCode() == 1
}

// mostKills is how often a git is killed before that is an error.
const mostKills = 3

func (g git) run(ctx context.Context, args ...string) (out string, err error) {
	for n := 0; n == 0 || n < mostKills && g.most == 0 && killed(err) && ctx.Err() == nil; n++ {
		out, err = g.once(ctx, args...)
	}
	return out, err
}

func (g git) once(ctx context.Context, args ...string) (string, error) {
	most := g.most
	if most == 0 {
		most = askTime
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	all := []string{"--no-pager"}
	if !g.own {
		all = append(all, quiet...)
	}
	cmd := exec.CommandContext(ctx, "git", append(all, args...)...)
	cmd.Dir, cmd.Env = g.dir, append([]string{}, g.environ()...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if g.out != nil {
		cmd.Stdout = g.out
	}
	if g.lock != nil {
		cmd.ExtraFiles = []*os.File{g.lock}
	}
	// A group of its own ends with it: filters and hooks are its children. SIGTERM, since
	// git removes its locks then.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) { // who leaves somebody behind with its output has ended well
		return out.String(), nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return "", task.Invalid("worktree: git is not installed", "Install git, or use workdir_mode exclusive.")
	}
	var exit *exec.ExitError
	// Of a child of the first process of a container the exit may be lost.
	f := &fault{args: args, said: stderr.String(), err: err}
	f.killed = errors.Is(err, syscall.ECHILD) || errors.As(err, &exit) && exit.ExitCode() < 0 || strings.Contains(f.said, " died of signal ")
	if ctx.Err() != nil {
		f.err = fmt.Errorf("no answer within %v: %w", most, ctx.Err())
	}
	// Of a file that it cannot write while it checks out, git tells no cause.
	if strings.Contains(f.said, "No space left on device") || strings.Contains(f.said, "unable to write file") {
		f.err = syscall.ENOSPC
	}
	return out.String(), f
}

// line is the one line that git answers with.
func (g git) line(ctx context.Context, args ...string) (string, error) {
	out, err := g.run(ctx, args...)
	return strings.TrimSuffix(out, "\n"), err
}

// ofRepository are variables that make git work in another repository than that of
// its directory: see git-rev-parse(1), --local-env-vars.
var ofRepository = []string{
	"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE",
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE",
	"GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_INTERNAL_SUPER_PREFIX",
}

// Environ is an environment in which git works in the repository of its directory.
func Environ(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(ofRepository, name)
	})
}

func (g git) environ() []string {
	env := append(Environ(os.Environ()), "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_EDITOR=true", "GIT_MERGE_AUTOEDIT=no")
	if !g.own {
		env = append(env, "GIT_OPTIONAL_LOCKS=0") // a look must leave no lock behind when it is killed
	}
	if g.index != "" {
		env = append(env, "GIT_INDEX_FILE="+g.index)
	}
	return env
}
