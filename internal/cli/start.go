package cli

import (
	"context"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

func newStart(a *app) *cobra.Command {
	var f taskFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "start [PROMPT | -]", Short: "Start a task and print its id",
		Long: `Record a task, print its id and leave. The task runs as soon as the pool has room,
also when this terminal is closed. Without PROMPT, or with -, it is read from stdin.
With --embedded the command stays until the task has ended, as nobody else would run it.`,
		Example: `  cctask start "Fix the failing test"
  cctask start --working-dir ~/project --timeout 30m - < prompt.txt
  id=$(cctask start "Write the release notes") && cctask wait "$id"`,
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			sub, err := a.submission(&f, args)
			if err != nil {
				return err
			}
			return a.recordAndTell(cmd.Context(), asJSON,
				func(ctx context.Context, svc engine.Service) (task.Task, error) { return svc.Submit(ctx, sub) },
				func(t task.Task) string { return string(t.ID) })
		},
	}
	f.register(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}
