package cli

import (
	"context"
	"encoding/json"
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

// taskFlags are the options of a new task: those of the MCP tools, by the same
// names with dashes.
type taskFlags struct {
	task.Spec
	timeout      span
	jsonSchema   string
	skip, strict bool
	key          string
}

func (f *taskFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.WorkingDir, "working-dir", "", "`DIR` in which claude works (default: this one)")
	fl.StringVar(&f.Model, "model", "", "`MODEL`: sonnet, opus, haiku or a full name (default: claude's own)")
	fl.StringVar(&f.Name, "name", "", "a `NAME` by which the task can be asked for instead of its id")
	fl.StringArrayVar(&f.Labels, "label", nil, "a `LABEL` to list tasks by; may be repeated")
	fl.BoolVar(&f.skip, "skip-permissions", true, "let claude use its tools without asking; with =false it may only what its settings allow")
	fl.Var(&f.timeout, "timeout", "deadline of the task: seconds, or a `TIME` like 90s or 2h; 0 is none")
	fl.StringVar(&f.PermissionMode, "permission-mode", "", "`MODE`: "+strings.Join(task.PermissionModes, ", "))
	fl.StringArrayVar(&f.AllowedTools, "allowed-tools", nil, "a `TOOL` that needs no permission, such as \"Bash(git log:*)\"; may be repeated")
	fl.StringArrayVar(&f.DisallowedTools, "disallowed-tools", nil, "a `TOOL` that claude must not use; may be repeated")
	fl.StringVar(&f.AppendSystemPrompt, "append-system-prompt", "", "`TEXT` at the end of claude's system prompt")
	fl.IntVar(&f.MaxTurns, "max-turns", 0, "stop after this `NUMBER` of turns; 0 is no limit")
	fl.Float64Var(&f.MaxBudgetUSD, "max-budget-usd", 0, "stop when the task has cost more than this `AMOUNT`; 0 is no limit")
	fl.StringVar(&f.jsonSchema, "json-schema", "", "a JSON Schema for the answer: `JSON`, or a file with it")
	fl.StringArrayVar(&f.AddDirs, "add-dirs", nil, "another `DIR` that claude may work in; may be repeated")
	fl.BoolVar(&f.Literal, "literal", false, "take a prompt that begins with / as text, not as a slash command")
	fl.StringArrayVar(&f.MCPConfig, "mcp-config", nil, "MCP servers for the task: a `FILE`, or its JSON; may be repeated")
	fl.BoolVar(&f.strict, "strict-mcp-config", true, "only the MCP servers of --mcp-config; with =false the user's and the project's too")
	fl.Func("max-output", "stop the task when stdout or stderr is larger than this `SIZE` (default 1GiB)", func(text string) (err error) {
		f.MaxOutput, err = parseSize(text)
		return err
	})
	fl.StringVar(&f.key, "idempotency-key", "", "a `KEY`: the same command with the same one starts nothing and gives the first one's task")
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
	spec, err := f.spec(cmd)
	if err != nil {
		return engine.Submission{}, err
	}
	if spec.Claude, err = a.claudePath(); err != nil {
		return engine.Submission{}, err
	}
	return engine.Submission{Spec: spec, Prompt: prompt, Env: a.Environ(), Key: f.key}, spec.Check()
}

// spec has what the flags say as the owner, which works elsewhere, needs it.
func (f *taskFlags) spec(cmd *cobra.Command) (task.Spec, error) {
	s := f.Spec
	s.TimeoutSeconds = time.Duration(f.timeout).Seconds()
	if cmd.Flags().Changed("skip-permissions") {
		s.SkipPermissions = &f.skip
	}
	if cmd.Flags().Changed("strict-mcp-config") {
		s.StrictMCPConfig = &f.strict
	}
	if text := f.jsonSchema; text != "" {
		if !isJSON(text) {
			data, err := os.ReadFile(text)
			if err != nil {
				return s, badInput(fmt.Sprintf("json_schema: %v", err), "Give the schema itself, or a file that holds it.")
			}
			text = string(data)
		}
		s.JSONSchema = json.RawMessage(text)
	}
	paths := []*string{&s.WorkingDir}
	for i := range s.AddDirs {
		paths = append(paths, &s.AddDirs[i])
	}
	for i := range s.MCPConfig {
		if !isJSON(s.MCPConfig[i]) {
			paths = append(paths, &s.MCPConfig[i])
		}
	}
	for _, path := range paths {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return s, badInput(fmt.Sprintf("%q cannot be found from here: %v", *path, err), "Give an absolute path.")
		}
		*path = abs
	}
	return s, nil
}

func isJSON(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), "{") }

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
