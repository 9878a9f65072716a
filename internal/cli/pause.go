package cli

import (
	"context"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

func newPause(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "pause [GROUP]", Short: "Start no more tasks, of a group or at all",
		Long: `Start nothing more of the whole queue, or of one group, until it is unpaused. What runs
goes on, new tasks are queued. It holds over the death of the owner and of this machine.`,
		Example:     "  cctask pause\n  cctask pause docs",
		Annotations: exits(exitDone, exitFault, exitInput),
		Args:        arguments(0, 1, ""),
		RunE:        a.pausing(true),
	}
}

// pausing is pause and unpause.
func (a *app) pausing(on bool) func(*cobra.Command, []string) error {
	return a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
		c := task.GroupChange{Paused: &on}
		if len(args) == 1 {
			if c.Name = args[0]; c.Name == "" { // of a variable that was not set
				return badInput("the name of a group is empty", "Give one, or none for the whole queue.")
			}
		}
		return a.changeGroup(ctx, svc, c)
	})
}

func newUnpause(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "unpause [GROUP]", Short: "Let paused tasks start again",
		Long: `End the pause of the whole queue, or that of one group. A group that was paused by its
name stays so until it is unpaused by its name.`,
		Example:     "  cctask unpause\n  cctask unpause docs",
		Annotations: exits(exitDone, exitFault, exitInput),
		Args:        arguments(0, 1, ""),
		RunE:        a.pausing(false),
	}
}
