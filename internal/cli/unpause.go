package cli

import "github.com/spf13/cobra"

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
