package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

func newCancel(a *app) *cobra.Command {
	var asJSON, tree bool
	cmd := &cobra.Command{
		Use: "cancel ID...", Short: "Stop tasks and wait until they are dead",
		Long: `Stop queued or running tasks. The command returns when no process of theirs is alive.
A task that has ended stays as it is. Of several tasks of one name the one that has not
ended is taken, if it is only one. With --tree all that they have started, and what that
has started, is stopped too, also of a task that has ended. With --json one ID gives one object, several a list.`,
		Example:     "  cctask cancel 01JD3ZK4\n  cctask cancel --tree nightly",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, -1, "the id of a task"),
		RunE: a.onTasks(task.ToCancel, &asJSON, func(ctx context.Context, svc engine.Service, tasks []task.Task) error {
			if tree {
				return a.cancelTrees(ctx, svc, tasks, asJSON)
			}
			return a.cancelAll(ctx, svc, tasks, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&tree, "tree", false, "all tasks below them too")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// cancelAll stops the tasks side by side: each may take its grace period.
func (a *app) cancelAll(ctx context.Context, svc engine.Service, tasks []task.Task, quiet bool) error {
	ends := make([]chan error, len(tasks))
	for i := range tasks {
		ends[i] = make(chan error, 1)
		go func() {
			t, err := svc.Cancel(ctx, string(tasks[i].ID))
			tasks[i] = t
			ends[i] <- err
		}()
	}
	for i := range tasks {
		err := <-ends[i]
		if err == nil && !quiet {
			_, err = fmt.Fprintln(a.Stdout, endLine(tasks[i]))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cancelTrees stops tasks, then all below them. What those started while others were being
// stopped is found by the next look.
func (a *app) cancelTrees(ctx context.Context, svc engine.Service, tops []task.Task, quiet bool) error {
	for next := tops; len(next) > 0; {
		if err := a.cancelAll(ctx, svc, next, quiet); err != nil {
			return err
		}
		below := map[task.ID]task.Task{}
		for _, top := range tops {
			page, err := svc.List(ctx, task.Filter{Below: top.ID, Statuses: unended, Limit: maxListed})
			if err != nil {
				return err
			}
			for _, t := range page.Tasks {
				below[t.ID] = t
			}
		}
		next = slices.Collect(maps.Values(below))
	}
	return nil
}
