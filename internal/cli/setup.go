package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/cli/settings"
	"cctask/internal/show"
)

// serverName is the name under which clients know this server; it is part of
// the names of its tools there.
const serverName = "cctask"

var setupScopes = []string{"user", "project", "local"}

type setupFlags struct {
	scope, client     string
	hook, remove, yes bool
}

func newSetup(a *app) *cobra.Command {
	var f setupFlags
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
			s, err := a.settings()
			if err != nil {
				return err
			}
			if f.client != "" {
				return a.showClient(s, f.client)
			}
			return a.setup(ctx, s, f)
		}),
	}
	fs := cmd.Flags()
	fs.StringVar(&f.scope, "scope", "user", "`SCOPE` of the registration: user, project or local")
	fs.StringVar(&f.client, "client", "", "print the settings for a `CLIENT`: "+strings.Join(mcpClientNames(), ", "))
	fs.BoolVar(&f.hook, "hook", false, "also tell a waiting session when a task of its has ended")
	fs.BoolVar(&f.remove, "remove", false, "undo the registration and the hook")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	return cmd
}

// command is how a client starts this program, with the state directory if the
// person named one.
func command(s settings.Settings, verb string) ([]string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	words := []string{exe, verb}
	if slices.Contains(s.Explicit, "dir") {
		words = append(words, "--dir", s.Dir)
	}
	return words, nil
}

func (a *app) showClient(s settings.Settings, name string) error {
	c, err := findMCPClient(name)
	if err != nil {
		return err
	}
	words, err := command(s, "mcp")
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Stderr, "for %s:\n", c.file)
	_, err = fmt.Fprint(a.Stdout, c.text(words))
	return err
}

// change is one thing that setup does, as the person sees it beforehand.
type change struct {
	what string
	do   func(ctx context.Context) error
}

func (a *app) setup(ctx context.Context, s settings.Settings, f setupFlags) error {
	if !slices.Contains(setupScopes, f.scope) {
		return badInput(fmt.Sprintf("--scope: %q is unknown", f.scope), "Use one of "+strings.Join(setupScopes, ", ")+".")
	}
	places, err := a.claudeFiles(f.scope)
	if err != nil {
		return err
	}
	changes, err := a.changes(s, f, places)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		_, err := fmt.Fprintf(a.Stdout, "nothing to change: %s\n", map[bool]string{false: "the server is registered", true: "there is no registration"}[f.remove])
		return err
	}
	for _, c := range changes {
		if _, err := fmt.Fprintln(a.Stdout, claude.Visible(c.what)); err != nil {
			return err
		}
	}
	if err := a.agreed(f.yes, "setup", "Add --yes."); err != nil {
		return err
	}
	for _, c := range changes {
		if err := c.do(ctx); err != nil {
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

func (a *app) changes(s settings.Settings, f setupFlags, places claudeFiles) ([]change, error) {
	server, err := command(s, "mcp")
	if err != nil {
		return nil, err
	}
	hook, err := command(s, hookVerb)
	if err != nil {
		return nil, err
	}
	there, err := places.server()
	if err != nil {
		return nil, err
	}
	var changes []change
	run := func(args ...string) {
		changes = append(changes, change{"run: " + task.ShellWords(append([]string{"claude"}, args...)), func(ctx context.Context) error {
			return a.runClaude(ctx, s, args)
		}})
	}
	if wanted := !f.remove; there != nil && (!wanted || !slices.Equal(there, server)) {
		run("mcp", "remove", "--scope", f.scope, serverName)
		there = nil
	}
	if !f.remove && there == nil {
		run(append([]string{"mcp", "add", "--scope", f.scope, serverName, "--"}, server...)...)
	}
	wanted := ""
	if f.hook {
		wanted = task.ShellWords(hook)
	}
	// Without --hook a hook that is there stays, unless all is undone.
	if f.hook || f.remove {
		c, err := places.hookChange(wanted, f.remove)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c...)
	}
	return changes, nil
}

// runClaude lets Claude Code change its own files.
func (a *app) runClaude(ctx context.Context, s settings.Settings, args []string) error {
	path, err := a.source().FindClaude(s.Claude)
	if err != nil {
		return err
	}
	out, err := a.claudeCommand(ctx, path, args...).CombinedOutput()
	if err != nil {
		return &task.Error{
			Code: task.CodeInternal, Message: fmt.Sprintf("claude %s: %v: %s", strings.Join(args[:2], " "), err, show.OneLine(string(out))),
			Hint: "Run that command by hand to see what keeps it; nothing after it was changed.",
		}
	}
	return nil
}
