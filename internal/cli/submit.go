package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"cctask/engine"
	"cctask/engine/task"
)

// taskFlags are the options of a new task: those of the MCP tools, by the same names.
type taskFlags struct {
	workingDir, model, name string
	skip                    bool
	timeout                 span
}

func (f *taskFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.workingDir, "working-dir", "", "`DIR` in which claude works (default: this one)")
	fl.StringVar(&f.model, "model", "", "`MODEL`: sonnet, opus, haiku or a full name (default: claude's own)")
	fl.StringVar(&f.name, "name", "", "a `NAME` by which the task can be asked for instead of its id")
	fl.BoolVar(&f.skip, "skip-permissions", true, "let claude use its tools without asking; with =false it is denied what its settings do not allow")
	fl.Var(&f.timeout, "timeout", "deadline of the task: seconds, or a `TIME` like 90s or 2h; 0 is none")
}

// submission is the new task that flags and arguments describe. What can be
// refused without an owner is refused here, so that a mistake starts nothing.
func (a *app) submission(cmd *cobra.Command, f *taskFlags, args []string) (engine.Submission, error) {
	prompt, err := a.prompt(args)
	if err != nil {
		return engine.Submission{}, err
	}
	if err := task.CheckPrompt(prompt); err != nil {
		return engine.Submission{}, err
	}
	claude, err := a.claudePath()
	if err != nil {
		return engine.Submission{}, err
	}
	dir, err := filepath.Abs(f.workingDir)
	if err != nil {
		return engine.Submission{}, badInput(fmt.Sprintf("working_dir: %q cannot be found from here: %v", f.workingDir, err), "Give --working-dir as an absolute path.")
	}
	spec := task.Spec{WorkingDir: dir, Claude: claude, Model: f.model, Name: f.name, TimeoutSeconds: time.Duration(f.timeout).Seconds()}
	if cmd.Flags().Changed("skip-permissions") {
		spec.SkipPermissions = &f.skip
	}
	return engine.Submission{Spec: spec, Prompt: prompt, Env: a.Environ()}, spec.Check()
}

// prompt is the argument, or stdin with "-" or without an argument.
func (a *app) prompt(args []string) (string, error) {
	if len(args) == 1 && args[0] != "-" {
		return args[0], nil
	}
	if len(args) == 0 && isTerminal(a.Stdin) {
		return "", badInput("a prompt is missing", `Give it as one argument, or - to type it here and end it with Ctrl-D.`)
	}
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(a.Stdin, task.MaxPrompt+1))
	switch {
	case err != nil:
		return "", badInput(fmt.Sprintf("read the prompt from stdin: %v", err), "Give the prompt as an argument.")
	case n > task.MaxPrompt:
		return "", badInput(fmt.Sprintf("prompt: has more than %d bytes", task.MaxPrompt),
			"Put the material into a file in the working directory and name the file in the prompt.")
	}
	return b.String(), nil
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
	t, err := sigs.settled(ctx, func(ctx context.Context) (task.Task, error) { return f(ctx, svc) })
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
		_, err = svc.Wait(ctx, string(t.ID), engine.UntilEnd)
		if errors.Is(err, context.Canceled) {
			return left(t)
		}
		return err
	})
}

// left says that a task goes on without us.
func left(t task.Task) error {
	return &stop{exitInterrupted, &task.Error{
		Code:    task.CodeInternal,
		Message: fmt.Sprintf("interrupted; task %s goes on", t.ID),
		Hint:    fmt.Sprintf("`cctask wait %s` waits for it, `cctask cancel %s` ends it.", t.ID, t.ID),
	}}
}

// isTerminal tells whether a person is at the other end.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
