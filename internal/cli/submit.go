package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/show"
)

// taskFlags are the options of a new task: those of the MCP tools, by the same names.
type taskFlags struct {
	options    task.Draft
	key        string // the idempotency key, or ""
	promptFile string
	each       string // of start alone
}

func (f *taskFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	registerOptions(fl, task.Options, &f.options)
	fl.StringVar(&f.promptFile, "prompt-file", "", "`FILE` that holds the prompt")
	fl.Var(keyFlag{&f.key}, task.KeyOption.FlagName(), task.KeyOption.Help)
}

type keyFlag struct{ to *string }

func (f keyFlag) String() string { return "" }
func (f keyFlag) Type() string   { return task.KeyOption.Arg }

func (f keyFlag) Set(text string) error {
	if *f.to = text; !task.KeyOption.Allows(text) {
		return errors.New("want " + task.KeyOption.Allowed())
	}
	return nil
}

// caller is who hands in tasks by flags, which go over the settings file.
func (a *app) caller(f *taskFlags) (engine.Caller, error) {
	c, err := a.defaults()
	c.Defaults = f.options.Over(c.Defaults)
	return c, err
}

// submission is the new task that flags and arguments describe.
func (a *app) submission(f *taskFlags, args []string) (engine.Submission, error) {
	prompt, err := a.promptWithStdin(f.promptFile, args)
	if err != nil {
		return engine.Submission{}, err
	}
	c, err := a.caller(f)
	if err != nil {
		return engine.Submission{}, err
	}
	return c.Submission(prompt, f.key, task.Draft{})
}

// prompt is the argument, or a file, or stdin with "-" or without an argument.
func (a *app) prompt(file string, args []string) (string, error) {
	switch {
	case file != "" && len(args) > 0:
		return "", badInput("a prompt is given twice: --prompt-file and "+strconv.Quote(args[0]), "Leave one of the two out.")
	case len(args) == 1 && args[0] != "-":
		return args[0], nil
	case file == "" && len(args) == 0 && show.IsTerminal(a.Stdin):
		return "", badInput("a prompt is missing", `Give it as one argument, or - to type it here and end it with Ctrl-D.`)
	}
	data, err := a.readAll(file, task.MaxPrompt)
	if err != nil {
		return "", badInput(fmt.Sprintf("read the prompt: %v", err),
			fmt.Sprintf("Give the prompt as an argument, a file or on stdin. It may have %d bytes; put longer material into a file in the working directory and name that in the prompt.", task.MaxPrompt))
	}
	return string(data), nil
}

// readAll is what a file holds, or stdin with "-" or no name.
func (a *app) readAll(file string, most int64) ([]byte, error) {
	in := a.Stdin
	if file != "" && file != "-" {
		f, err := os.Open(a.homed(file))
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", cmp.Or(file, "stdin"), most)
	}
	return data, err
}

type call func(context.Context, engine.Service) (task.Task, error)

// record makes a call that records a task's new attempt, and goes on with then.
func (a *app) record(ctx context.Context, f call, then func(*service, task.Task, signals) error) error {
	sigs := notify()
	defer sigs.stop()
	svc, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer svc.close()
	t, err := settled(ctx, sigs, func(ctx context.Context) (task.Task, error) { return f(ctx, svc) })
	if err != nil {
		return err
	}
	return then(svc, t, sigs)
}

// recordAndTell prints what tell makes of a new attempt, and, when the engine
// ends with this process, stays until the task has ended.
func (a *app) recordAndTell(ctx context.Context, asJSON bool, f call, tell func(task.Task) string) error {
	return a.record(ctx, f, func(svc *service, t task.Task, sigs signals) (err error) {
		if asJSON {
			err = a.printJSON(view(t))
		} else {
			_, err = fmt.Fprintln(a.Stdout, tell(t))
		}
		if err != nil {
			return fmt.Errorf("task %s is recorded, but it could not be told: %w", t.ID, err)
		}
		if !svc.embedded {
			return nil
		}
		ctx, cancel := sigs.until(ctx)
		defer cancel()
		_, err = engine.WaitFor(ctx, svc, string(t.ID), engine.UntilEnd)
		if errors.Is(err, context.Canceled) {
			return left(t)
		}
		return err
	})
}

// left says that a task goes on without us.
func left(t task.Task) error {
	return &stop{exitInterrupted, task.Errorf(task.CodeInternal, fmt.Sprintf("`cctask wait %s` waits for it, `cctask cancel %s` ends it.", t.ID, t.ID), "interrupted; task %s goes on", t.ID)}
}

// callerLimits are those that this process was started with.
var callerLimits = sync.OnceValue(func() task.Limits {
	// There is no way to only look. For the moment files of other goroutines are
	// closed to others, and not open to all.
	mask := unix.Umask(0o077)
	unix.Umask(mask)
	l := task.Limits{Umask: &mask, NoFile: startingNoFile()}
	if nice, err := runner.Niceness(); err == nil {
		l.Nice = &nice
	}
	return l
})

// startingNoFile is the soft limit of open files from before the runtime raised it
// (golang.org/issue/46279). The runtime tells it to nobody, and brings it back when
// the process executes another program: one that cannot be, here.
func startingNoFile() uint64 {
	_ = syscall.Exec("", nil, nil)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		return 0
	}
	// A front of many connections needs what the runtime had raised it to.
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: was.Max, Max: was.Max})
	return was.Cur
}
