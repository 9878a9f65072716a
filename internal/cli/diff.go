package cli

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/engine/worktree"
	"cctask/internal/show"
)

// diffJSON is what a task has changed, in JSON.
type diffJSON struct {
	TaskID   task.ID        `json:"task_id"`
	Worktree *task.Worktree `json:"worktree"`
	Diff     string         `json:"diff"`
}

func newDiff(a *app) *cobra.Command {
	var stat, asJSON bool
	cmd := &cobra.Command{
		Use: "diff ID", Short: "Show what a task has changed in its worktree",
		Long: `Show as a patch what a task of --workdir-mode worktree has changed since it began: what it
has committed, what it has not, and new files that are not ignored. A running task is shown
as it is now.`,
		Example:     "  cctask diff 01JD3ZK4\n  cctask diff --stat 01JD3ZK4\n  cctask diff 01JD3ZK4 | git apply",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, 1, "the id of a task"),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
			t, err := a.treeOf(ctx, svc, args)
			if err != nil {
				return err
			}
			var how []string
			if stat {
				how = []string{"--stat"}
			}
			if asJSON {
				var b bytes.Buffer
				if err := worktree.Diff(ctx, *t.Worktree, &b, how...); err != nil {
					return err
				}
				return a.printJSON(diffJSON{t.ID, t.Worktree, strings.ToValidUTF8(b.String(), "\ufffd")})
			}
			return worktree.Diff(ctx, *t.Worktree, a.patch(), how...)
		}),
	}
	cmd.Flags().BoolVar(&stat, "stat", false, "only which files, and how much in each")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: task_id, worktree and diff")
	return cmd
}

// treeOf is the one task of args, which must have a worktree.
func (a *app) treeOf(ctx context.Context, svc engine.Service, args []string) (task.Task, error) {
	tasks, err := a.lookup(ctx, svc, args, task.ToRead)
	if err != nil {
		return task.Task{}, err
	}
	t := tasks[0]
	switch {
	case t.Spec.WorkdirMode != task.DirWorktree:
		return t, task.Errorf(task.CodeConflict, "One is started with --workdir-mode worktree; this one has changed its working directory itself.", "task %s has no worktree", t.ID)
	case t.Worktree == nil:
		return t, task.Errorf(task.CodeConflict, "It is made when the task starts.", "task %s has no worktree yet", t.ID)
	}
	return t, nil
}

// patch writes a patch to stdout, line by line in its colours where there are any.
func (a *app) patch() io.Writer {
	out := a.shown(a.Stdout)
	if !a.coloured(a.Stdout) {
		return out
	}
	out = a.Stdout
	var rest []byte
	return writerFunc(func(p []byte) (int, error) {
		rest = append(rest, p...)
		for {
			line, more, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				return len(p), nil
			}
			rest = more
			if _, err := io.WriteString(out, show.Patch(string(line))+"\n"); err != nil {
				return 0, err
			}
		}
	})
}
