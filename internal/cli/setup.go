package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cctask/engine/claude"
	"cctask/internal/cli/settings"
	"cctask/internal/cli/setup"
	"cctask/internal/show"
)

func newSetup(a *app) *cobra.Command {
	var s setup.Setup
	var client string
	var yes bool
	cmd := &cobra.Command{
		Use: "setup", Short: "Register the MCP server with Claude Code",
		Long: `Register this binary as an MCP server with Claude Code (by its own "claude mcp add"), for
you in every project (--scope user), for all who work on this project (project: .mcp.json),
or for you in this project (local). With --hook a session that waits for its person is told
when a task that it started has ended. What is going to change is shown first; nothing is
changed twice. --remove undoes it, the hook too.

For another client --client prints what has to stand in its settings.`,
		Example:     "  cctask setup\n  cctask setup --hook --yes\n  cctask setup --client cursor\n  cctask setup --remove",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 0, ""),
		RunE: a.interruptible(func(ctx context.Context, _ []string) error {
			var err error
			s.Source, s.Environ = a.source(), a.Environ()
			if s.Settings, err = a.settings(); err != nil {
				return err
			}
			if client != "" {
				return a.showClient(s.Settings, client)
			}
			return a.setup(ctx, s, yes)
		}),
	}
	fs := cmd.Flags()
	fs.StringVar(&s.Scope, "scope", "user", "`SCOPE` of the registration: user, project or local")
	fs.StringVar(&client, "client", "", "print the settings for a `CLIENT`: "+strings.Join(setup.ClientNames(), ", "))
	fs.BoolVar(&s.Hook, "hook", false, "also tell a waiting session when a task of its has ended")
	fs.BoolVar(&s.Remove, "remove", false, "undo the registration and the hook")
	fs.BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *app) showClient(s settings.Settings, name string) error {
	c, err := setup.FindClient(name)
	if err != nil {
		return err
	}
	words, err := setup.Command(s, "mcp")
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Stderr, "for %s:\n", c.File)
	_, err = fmt.Fprint(a.Stdout, c.Text(words))
	return err
}

func (a *app) setup(ctx context.Context, s setup.Setup, yes bool) error {
	changes, err := s.Changes()
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		_, err := fmt.Fprintf(a.Stdout, "nothing to change: %s\n", map[bool]string{false: "the server is registered", true: "there is no registration"}[s.Remove])
		return err
	}
	for _, c := range changes {
		if _, err := fmt.Fprintln(a.Stdout, claude.Visible(c.What)); err != nil {
			return err
		}
	}
	if err := a.agreed(yes, "setup", "Add --yes."); err != nil {
		return err
	}
	for _, c := range changes {
		if err := c.Do(ctx); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(a.Stdout, "done; a session that runs already sees it after its restart")
	return err
}

// agreed asks before the first change.
func (a *app) agreed(yes bool, who, hint string) error {
	if yes {
		return nil
	}
	if !show.IsTerminal(a.Stdin) {
		return badInput(who+" asks before it changes anything, and here is nobody to ask", hint)
	}
	fmt.Fprint(a.Stderr, "Go on? [y/N] ")
	line, err := bufio.NewReader(a.Stdin).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return badInput("nothing was changed", "Answer y to go on, or give --yes.")
}
