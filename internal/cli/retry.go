package cli

import (
	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

func newRetry(a *app) *cobra.Command {
	var asJSON bool
	var options task.Draft
	cmd := &cobra.Command{
		Use: "retry ID", Short: "Start an ended task again from its prompt",
		Long: `Start a new attempt of a task that failed, was interrupted, cancelled or ran out of
time, with its original prompt in a new claude session. The attempt gets the
environment of this command. What an option gives holds for it and those after it.`,
		Example:     `  cctask retry 01JD3ZK4`,
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, 1, "the id of a task"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.again(cmd.Context(), asJSON, engine.Service.Retry, engine.Again{Ref: args[0], Options: options})
		},
	}
	jsonFlag(cmd, &asJSON)
	registerOptions(cmd.Flags(), task.Changeable(), &options)
	return cmd
}
