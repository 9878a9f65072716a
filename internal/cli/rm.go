package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newRemove(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm ID...", Short: "Delete tasks with all they have",
		Long: `Delete tasks with their prompts, answers and outputs. A queued or running task is
deleted only with --force, which cancels it first.`,
		Example:     "  cctask rm 01JD3ZK4\n  cctask rm --force 01JD3ZK4",
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
			for _, t := range tasks {
				if err := svc.Remove(cmd.Context(), string(t.ID), force); err != nil {
					return err
				}
				fmt.Fprintf(a.Stdout, "%s removed\n", t.ID)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "cancel a task that has not ended, then delete it")
	return cmd
}
