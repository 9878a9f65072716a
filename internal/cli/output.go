package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/show"
)

func jsonFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVar(to, "json", false, "print JSON, the same task object as the MCP tools give")
}

func bellFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVar(to, "bell", false, "ring the terminal's bell at the end")
}

// ring rings where somebody may hear it: in a pipe a bell is noise.
func (a *app) ring(bell *bool) {
	if *bell && show.IsTerminal(a.Stderr) {
		fmt.Fprint(a.Stderr, "\a")
	}
}

type listJSON struct {
	Tasks      []task.View `json:"tasks"`
	NextCursor string      `json:"next_cursor,omitempty"`
}

func view(t task.Task) task.View { return task.NewView(t, time.Now()) }

func views(tasks []task.Task) []task.View {
	vs := make([]task.View, 0, len(tasks))
	for _, t := range tasks {
		vs = append(vs, view(t))
	}
	return vs
}

// printTasks writes JSON: the task itself if it is the one that was asked for.
func (a *app) printTasks(tasks []task.Task, one bool) error {
	if one {
		return a.printJSON(view(tasks[0]))
	}
	return a.printJSON(listJSON{Tasks: views(tasks)})
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// onTasks is a verb for the tasks that are named. With --json what they are then is
// printed.
func (a *app) onTasks(use task.Use, asJSON *bool, f func(ctx context.Context, svc engine.Service, tasks []task.Task) error) verb {
	return a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
		tasks, err := a.lookup(ctx, svc, args, use)
		if err == nil {
			err = f(ctx, svc, tasks)
		}
		if err != nil || !*asJSON {
			return err
		}
		return a.printTasks(tasks, len(args) == 1)
	})
}

// lookup finds all named tasks, each once, before anything is done to one. What
// a name fits besides is said.
func (a *app) lookup(ctx context.Context, svc engine.Service, refs []string, use task.Use) ([]task.Task, error) {
	var tasks []task.Task
	seen := map[task.ID]bool{}
	for _, ref := range refs {
		t, err := svc.Get(ctx, ref)
		if err != nil {
			return nil, err
		}
		id, err := a.choose(t.Fits(), use)
		if err == nil && id != t.ID {
			t, err = svc.Get(ctx, string(id))
		}
		if err != nil {
			return nil, err
		}
		if !seen[t.ID] {
			seen[t.ID] = true
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// all are the tasks that fit, of all pages.
func all(ctx context.Context, svc engine.Service, f task.Filter) (tasks []task.Task, err error) {
	for f.Limit = maxListed; ; {
		page, err := svc.List(ctx, f)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, page.Tasks...)
		if f.Cursor = page.NextCursor; f.Cursor == "" {
			return tasks, nil
		}
	}
}

// choose takes the task that a reference means, and says that there are others.
func (a *app) choose(m task.Match, use task.Use) (task.ID, error) {
	id, note, err := m.Choose(use, time.Now())
	if note != "" {
		fmt.Fprintf(a.Stderr, "cctask: %s\n", claude.Visible(note))
	}
	return id, err
}

func copyStream(ctx context.Context, svc engine.Service, q engine.OutputQuery, w io.Writer) error {
	for {
		out, err := svc.Output(ctx, q)
		if err != nil {
			return err
		}
		if _, err := w.Write(out.Data); err != nil {
			return err
		}
		q.Offset = out.Offset + int64(len(out.Data))
		if len(out.Data) == 0 || q.Offset >= out.Size {
			return nil
		}
	}
}

// shown is w, with escapes made visible if a person's terminal is behind it:
// what claude wrote may have come from anywhere.
func (a *app) shown(w io.Writer) io.Writer {
	if !show.IsTerminal(w) {
		return w
	}
	return writerFunc(func(p []byte) (int, error) {
		if _, err := io.WriteString(w, claude.Visible(string(p))); err != nil {
			return 0, err
		}
		return len(p), nil
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// logPainter colours lines by their kind where colours are wanted.
func (a *app) logPainter() func(claude.Line) string {
	colour := a.coloured(a.Stdout)
	return func(l claude.Line) string {
		if !colour {
			return l.Text
		}
		return show.Paint(show.LineColour(l), l.Text)
	}
}

// coloured tells whether out takes colours: a terminal, unless NO_COLOR is set.
func (a *app) coloured(out io.Writer) bool { return show.IsTerminal(out) && a.Getenv("NO_COLOR") == "" }
