package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/internal/cli/settings"
	"cctask/internal/show"
	"cctask/mcp"
)

func newMCP(a *app) *cobra.Command {
	var f httpFlags
	cmd := &cobra.Command{
		Use: "mcp", Short: "Serve MCP on stdin and stdout, or over HTTP",
		Long: `Be an MCP server on stdin and stdout, with five tools for tasks; log to stderr. A client
starts it. Tasks outlive it: it owns none. An owner is started by the first tool call
that needs one.

With --http it serves any number of clients over streamable HTTP at http://ADDR/mcp,
until a signal ends it. They bear the token in the file http.token of the state
directory, which the first start makes; remove the file and start again for a new one.
Tasks get this server's environment, and working_dir must be absolute: the server does
not know where a client works. A client of protocol 2026-07-28 that closes the
connection of an execute_cc_task call cancels the task.`,
		Example: `  claude mcp add --scope user cctask -- /usr/local/bin/cctask mcp
  cctask mcp --http 127.0.0.1:7433`,
		Annotations: exits(exitDone, exitFault, exitInput),
		Args:        arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(f.hosts) > 0 && f.addr == "" {
				return badInput("--http-host needs --http", "See `cctask mcp --help`.")
			}
			// A client kills its server half a second after it asked it to leave.
			ctx, stop := notify().until(cmd.Context())
			defer stop()
			return a.mcp(ctx, f)
		},
	}
	cmd.Flags().StringVar(&f.addr, "http", "", "serve over HTTP at `ADDR`, HOST:PORT on loopback; port 0 takes any that is free")
	cmd.Flags().StringSliceVar(&f.hosts, "http-host", nil, "allow other machines in: the `NAMES` by which they reach this one")
	return cmd
}

// frontMemory is where the collector begins to work harder: a line of 16 MiB
// would otherwise take a front over 100 MB, and every session has one.
const frontMemory = 48 << 20

func (a *app) mcp(ctx context.Context, f httpFlags) error {
	debug.SetMemoryLimit(frontMemory)
	if os.Getpid() == 1 { // in a container: what is orphaned falls to us
		if err := runner.Become(); err != nil {
			return fmt.Errorf("reap what is orphaned: %w", err)
		}
	}
	callerLimits() // before there are files that the limit of its look could refuse
	s, err := a.settings()
	if err != nil {
		return err
	}
	svc, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer svc.close()
	c := mcp.Config{
		Service: svc, Version: version(), Defaults: a.defaults, Log: a.stderrLog(s, s.Owner.LogLevel),
		KeepAge: s.Owner.KeepAge, Within: a.within(),
	}
	if f.addr == "" {
		if show.IsTerminal(a.Stdin) {
			fmt.Fprintln(a.Stderr, "cctask mcp is a server for MCP clients: it reads JSON-RPC here, which nobody types. `cctask setup` registers it, `cctask --help` shows what is for people; Ctrl-D ends it.")
		}
		err = mcp.New(c).Serve(ctx, a.Stdin, a.Stdout)
	} else {
		c.Defaults, c.Within = a.remoteDefaults, nil // its clients run elsewhere
		err = a.serveHTTP(ctx, mcp.New(c), f)
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// remoteDefaults is what this front knows about a client that is not its parent:
// not where it works.
func (a *app) remoteDefaults() (engine.Caller, error) {
	s, err := a.settings()
	if err != nil {
		return engine.Caller{}, err
	}
	c := engine.Caller{Homed: a.homed, Env: a.Environ(), Limits: callerLimits(), Defaults: s.File.Defaults, Policy: s.File.Policy, Nowhere: "over HTTP this server does not know your directory"}
	c.Claude, c.NoClaude = a.source().FindClaude(s.Claude)
	return c, nil
}

func (a *app) defaults() (engine.Caller, error) {
	c, err := a.remoteDefaults()
	c.WorkingDir, c.Nowhere = settings.WorkingDir()
	return c, err
}
