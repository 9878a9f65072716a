package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

func newRemove(a *app) *cobra.Command {
	var force, asJSON bool
	cmd := &cobra.Command{
		Use: "rm ID...", Short: "Delete tasks with all they have",
		Long: `Delete tasks with their prompts, answers and outputs. A queued or running task is
deleted only with --force, which cancels it first. With --json one ID gives one object, several a list: what was deleted.`,
		Example:     "  cctask rm 01JD3ZK4\n  cctask rm --force 01JD3ZK4",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, -1, "the id of a task"),
		RunE: a.onTasks(task.ToChange, &asJSON, func(ctx context.Context, svc engine.Service, tasks []task.Task) error {
			// A live one comes first: if it is refused, then before anything is deleted.
			live := slices.IndexFunc(tasks, func(t task.Task) bool { return !t.Status.Ended() })
			if live > 0 {
				tasks[0], tasks[live] = tasks[live], tasks[0]
			}
			for _, t := range tasks {
				if err := svc.Remove(ctx, string(t.ID), force); err != nil {
					return err
				}
				if asJSON {
					continue
				}
				if _, err := fmt.Fprintf(a.Stdout, "%s removed\n", t.ID); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "cancel a task that has not ended, then delete it")
	jsonFlag(cmd, &asJSON)
	return cmd
}
