package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

func newEdit(a *app) *cobra.Command {
	var c engine.Edit
	var asJSON bool
	var file string
	cmd := &cobra.Command{
		Use: "edit ID [PROMPT | -]", Short: "Change a task that is queued",
		Long: `Change the prompt and the options of a task that waits: those that are given, or, where
nothing is, what is changed in $VISUAL or $EDITOR, which gets them as TOML: an option whose
line is taken out there, or left empty, it has no more. Its place among tasks of its
priority stays. What runs or has ended is refused.`,
		Example: `  cctask edit 01JD3ZK4 --priority 10 --group docs
  cctask edit 01JD3ZK4 "Review the parser, and its tests"
  EDITOR=nano cctask edit 01JD3ZK4`,
		Annotations: exits(exitDone, exitFault, exitInput),
		Args:        arguments(1, 2, "the id of a task"),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
			tasks, err := a.lookup(ctx, svc, args[:1], task.ToCancel)
			if err != nil {
				return err
			}
			c.Ref = string(tasks[0].ID)
			s, err := a.settings()
			if err != nil {
				return err
			}
			c.Policy = s.File.Policy
			switch {
			case len(args) == 2 || file != "":
				c.Prompt, err = a.prompt(file, args[1:])
			case c.Options.IsZero() && tasks[0].Status == task.Queued: // else the owner says why not
				err = a.inEditor(ctx, svc, tasks[0], &c)
			}
			if err != nil {
				return err
			}
			t, err := svc.Edit(ctx, c)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(view(t))
			}
			_, err = fmt.Fprintln(a.Stdout, stillQueued(t))
			return err
		}),
	}
	registerOptions(cmd.Flags(), editable(), &c.Options)
	cmd.Flags().StringVar(&file, "prompt-file", "", "`FILE` that holds the prompt")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// editable are the options of a task that can be changed while it waits.
func editable() []task.Option {
	return slices.DeleteFunc(task.Changeable(), func(o task.Option) bool { return o.Name == "env" })
}

const promptKey = "prompt"

// inEditor lets a person change the task, and takes what has become different.
func (a *app) inEditor(ctx context.Context, svc engine.Service, t task.Task, c *engine.Edit) error {
	var prompt bytes.Buffer
	if err := copyStream(ctx, svc, engine.OutputQuery{Ref: string(t.ID), Stream: task.Prompt}, &prompt); err != nil {
		return fmt.Errorf("read the prompt: %w", err)
	}
	before, err := editText(t, prompt.String())
	if err != nil {
		return err
	}
	after, err := a.edited(ctx, before)
	if err != nil {
		return err
	}
	var names []string
	for _, o := range editable() {
		names = append(names, o.Name)
	}
	var old, changed map[string]any
	if err := toml.Unmarshal(before, &old); err != nil {
		return fmt.Errorf("read what was written: %w", err)
	}
	if err := toml.Unmarshal(after, &changed); err != nil {
		return badInput(fmt.Sprintf("what was written is not TOML: %v", err), "Nothing is changed; call edit again.")
	}
	if _, kept := changed[promptKey]; !kept {
		return badInput("the prompt is gone", "Nothing is changed; call edit again.")
	}
	for name := range old {
		if v, kept := changed[name]; name != promptKey && (!kept || isEmpty(v)) {
			c.Clear = append(c.Clear, name)
			delete(changed, name)
		}
	}
	for name, v := range changed {
		if reflect.DeepEqual(v, old[name]) {
			continue
		}
		if name == promptKey {
			text, ok := v.(string)
			if err := task.CheckPrompt(text); err != nil || !ok {
				return badInput("the prompt is blank or no text", "Nothing is changed; call edit again.")
			}
			c.Prompt = text
			continue
		}
		i := slices.Index(names, name)
		if i < 0 {
			return badInput(fmt.Sprintf("%q cannot be changed while the task waits", name), "There are prompt, "+strings.Join(names, ", ")+".")
		}
		if err := c.Options.Take(editable()[i], v); err != nil {
			return err
		}
	}
	return nil
}

func isEmpty(v any) bool {
	list, isList := v.([]any)
	return v == "" || isList && len(list) == 0
}

// editText shows a task as TOML: each option that can be changed, with its value
// of the moment or as a comment.
func editText(t task.Task, prompt string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Task %s. Save it and leave to change the task; an option without its line it has no more.\n", t.ID)
	add := func(name string, v any) error {
		line, err := toml.Marshal(map[string]any{name: v})
		b.Write(line)
		return err
	}
	if err := toml.NewEncoder(&b).Encode(struct {
		Prompt string `toml:"prompt,multiline"`
	}{prompt}); err != nil {
		return nil, fmt.Errorf("show the prompt: %w", err)
	}
	for _, o := range editable() {
		fmt.Fprintf(&b, "\n# %s\n", o.Help)
		v, given := o.Get(&t.Spec)
		if !given {
			fmt.Fprintf(&b, "# %s =\n", o.Name)
			continue
		}
		if n, ok := v.(float64); ok && o.Kind == task.KindInteger {
			v = int64(n)
		}
		if err := add(o.Name, v); err != nil {
			return nil, fmt.Errorf("show %s: %w", o.Name, err)
		}
	}
	return b.Bytes(), nil
}

func (a *app) edited(ctx context.Context, text []byte) ([]byte, error) {
	editor := a.Getenv("VISUAL")
	if editor == "" {
		editor = a.Getenv("EDITOR")
	}
	if editor == "" {
		return nil, badInput("nothing is given to change, and there is no editor", "Give options, such as --priority 10, or set EDITOR.")
	}
	f, err := os.CreateTemp("", "cctask-edit-*.toml")
	if err != nil {
		return nil, fmt.Errorf("make a file to edit: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(text)
	if closed := f.Close(); err != nil || closed != nil {
		return nil, fmt.Errorf("write the file to edit: %w", err)
	}
	// As git does: the variable may hold arguments.
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", editor+` "$1"`, "editor", f.Name())
	cmd.Env = append([]string{}, a.Environ()...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.Stdin, a.Stderr, a.Stderr
	if err := cmd.Run(); err != nil {
		return nil, badInput(fmt.Sprintf("the editor %s failed: %v; nothing is changed", editor, err), "Set EDITOR to one that works, or give options.")
	}
	return os.ReadFile(f.Name())
}
