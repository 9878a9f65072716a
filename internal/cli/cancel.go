package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

func newCancel(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "cancel ID...", Short: "Stop tasks and wait until they are dead",
		Long: `Stop queued or running tasks. The command returns when no process of theirs is alive.
A task that has ended stays as it is. Of several tasks of one name the one that has not
ended is taken, if it is only one. With --json one ID gives one object, several a list.`,
		Example:     `  cctask cancel 01JD3ZK4`,
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, -1, "the id of a task"),
		RunE: a.onTasks(task.ToCancel, &asJSON, func(ctx context.Context, svc engine.Service, tasks []task.Task) error {
			return a.cancelAll(ctx, svc, tasks, asJSON)
		}),
	}
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
			_, err = fmt.Fprintln(a.Stdout, summary(tasks[i]))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
