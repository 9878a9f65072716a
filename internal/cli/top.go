package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/internal/show"
	"cctask/internal/top"
)

func newTop(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "top", Short: "Watch and steer the tasks on the whole screen",
		Long: `Show the running tasks, the queue and what ended last on the whole screen, as they
change, with the log of the selected one. Keys select, filter, cancel, resume and retry;
? explains them. q or Ctrl-C leaves; all tasks go on.`,
		Example:     "  cctask top",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !show.IsTerminal(a.Stdin) || !show.IsTerminal(a.Stdout) {
				return badInput("top needs a terminal", "`cctask list` shows the tasks anywhere, with --json for programs.")
			}
			if kind := a.Getenv("TERM"); kind == "dumb" || kind == "" {
				return badInput(fmt.Sprintf("top cannot draw on a terminal of the type %q", kind), "Use `cctask list`, or set TERM to what the terminal is.")
			}
			// A warning would stand in the middle of the screen.
			later := &heldWriter{to: a.Stderr}
			a.Stderr = later
			defer func() { a.Stderr = later.release() }()
			return a.connected(a.top)(cmd, args)
		},
	}
}

func (a *app) top(ctx context.Context, svc engine.Service, _ []string) error {
	again, err := a.ofThisFront()
	if err != nil {
		return err
	}
	err = top.Run(ctx, top.Config{
		Service: svc, Again: again,
		In: a.Stdin, Out: a.Stdout, Env: a.Environ(), Colour: a.coloured(a.Stdout),
	})
	if errors.Is(err, context.Canceled) {
		return &stop{code: exitInterrupted}
	}
	return err
}

// heldWriter keeps what is written until it is released.
type heldWriter struct {
	to  io.Writer
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *heldWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *heldWriter) release() io.Writer {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = w.buf.WriteTo(w.to)
	return w.to
}
