package cli

import "github.com/spf13/cobra"

func newRelease(a *app) *cobra.Command {
	return a.holding(false, &cobra.Command{
		Use: "release ID...", Short: "Let held tasks start",
		Long: `Let tasks that are held start when it is their turn. They keep the places that they took
when they were submitted.`,
		Example: "  cctask release 01JD3ZK4",
	})
}
