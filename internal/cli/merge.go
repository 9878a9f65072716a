package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/engine/worktree"
	"cctask/internal/show"
)

// mergeJSON is what a merge did, in JSON.
type mergeJSON struct {
	TaskID task.ID `json:"task_id"`
	worktree.Merged
}

func newMerge(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "merge ID", Short: "Bring back what a task has changed in its worktree",
		Long: `Bring what an ended task of --workdir-mode worktree has changed into the branch that is
checked out where it came from, fast-forward or by a merge commit. What the task has not
committed is committed on its branch first. Where that branch has changes that are not
committed, or both have changed the same, it is refused, and nothing is changed. The
worktree stays until the task is removed.`,
		Example:     "  cctask merge 01JD3ZK4\n  cctask merge 01JD3ZK4 && cctask rm 01JD3ZK4",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, 1, "the id of a task"),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
			t, err := a.treeOf(ctx, svc, args)
			if err != nil {
				return err
			}
			if !t.Status.Ended() {
				return task.Errorf(task.CodeConflict, "Wait for its end, or cancel it first.", "task %s is %s", t.ID, t.Status.Public())
			}
			title := show.Row{Task: t}.Title()
			m, err := worktree.Merge(ctx, *t.Worktree, cmp.Or(title, string(t.ID))+"\n\nBy the cctask task "+string(t.ID)+".")
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(mergeJSON{t.ID, m})
			}
			_, err = fmt.Fprintln(a.Stdout, claude.Visible(mergeWords(t, m)))
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: task_id, into, commit and how")
	return cmd
}

func mergeWords(t task.Task, m worktree.Merged) string {
	how := "by a merge commit"
	switch {
	case m.UpToDate:
		return fmt.Sprintf("%s has all of %s already", m.Into, t.Worktree.Branch)
	case m.FastForward:
		how = "fast-forward"
	}
	committed := ""
	if m.Committed > 0 {
		committed = fmt.Sprintf(", after %s had been committed", show.Plural(m.Committed, "changed file"))
	}
	return fmt.Sprintf("%s merged into %s, %s%s: %.12s", t.Worktree.Branch, m.Into, how, committed, m.Commit)
}
