package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"cctask/engine/task"
	"cctask/mcp"
)

func newMCP(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "mcp", Short: "Serve MCP on stdin and stdout",
		Long: `Be an MCP server on stdin and stdout, with five tools for tasks; log to stderr. A client
starts it. Tasks outlive it: it owns none. An owner is started by the first tool call
that needs one.`,
		Example:     "  claude mcp add --scope user cctask -- /usr/local/bin/cctask mcp",
		Annotations: exits(exitDone, exitFault, exitInput),
		Args:        arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A client kills its server half a second after it asked it to leave.
			ctx, stop := notify().until(cmd.Context())
			defer stop()
			return a.mcp(ctx)
		},
	}
}

// frontMemory is where the collector begins to work harder: a line of 16 MiB
// would otherwise take a front over 100 MB, and every session has one.
const frontMemory = 48 << 20

func (a *app) mcp(ctx context.Context) error {
	debug.SetMemoryLimit(frontMemory)
	s, err := a.settings()
	if err != nil {
		return err
	}
	svc, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer svc.close()
	server := mcp.New(mcp.Config{
		Service: svc, Version: version(), Defaults: a.defaults, Log: a.stderrLog(s, s.owner.LogLevel),
		KeepAge: s.owner.KeepAge,
	})
	if err := server.Serve(ctx, a.Stdin, a.Stdout); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// defaults is what this front knows about its client.
func (a *app) defaults() (mcp.Client, error) {
	dir, err := os.Getwd()
	if err != nil {
		return mcp.Client{}, &task.Error{
			Code: task.CodeInvalid, Message: fmt.Sprintf("working_dir: the server's own directory is gone: %v", err),
			Hint: "Give working_dir as an absolute path.",
		}
	}
	s, err := a.settings()
	if err != nil {
		return mcp.Client{}, err
	}
	claude, err := a.findClaude(s.claude)
	if err != nil {
		return mcp.Client{}, err
	}
	return mcp.Client{WorkingDir: dir, Env: a.Environ(), Claude: claude, Defaults: s.config.defaults}, nil
}
