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
A task that has ended stays as it is. With --json one ID gives one object, several a list.`,
		Example:     `  cctask cancel 01JD3ZK4`,
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, -1, "the id of a task"),
		RunE: a.interruptible(func(cmd *cobra.Command, args []string) error {
			svc, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer svc.close()
			tasks, err := lookup(cmd.Context(), svc, args)
			if err != nil {
				return err
			}
			if err := a.cancelAll(cmd.Context(), svc, tasks, asJSON); err != nil {
				return err
			}
			switch {
			case !asJSON:
				return nil
			case len(args) == 1:
				return a.printJSON(view(tasks[0]))
			}
			return a.printJSON(listJSON{Tasks: views(tasks)})
		}),
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// cancelAll stops the tasks side by side: each may take its grace period.
func (a *app) cancelAll(ctx context.Context, svc engine.Service, tasks []task.Task, quiet bool) error {
	ends := make([]chan ended, len(tasks))
	for i, t := range tasks {
		ends[i] = make(chan ended, 1)
		go func() {
			t, err := svc.Cancel(ctx, string(t.ID))
			ends[i] <- ended{t, err}
		}()
	}
	for i := range tasks {
		e := <-ends[i]
		if e.err != nil {
			return e.err
		}
		tasks[i] = e.t
		if !quiet {
			fmt.Fprintln(a.Stdout, summary(e.t))
		}
	}
	return nil
}
