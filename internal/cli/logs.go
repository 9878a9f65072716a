package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
)

type logFlags struct {
	raw, stderr, follow bool
	attempt             int
}

func newLogs(a *app) *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use: "logs ID", Short: "Show what claude said and did",
		Long: `Show what claude said and did, rendered for people; --raw gives claude's own bytes
(stream-json on stdout). Of a task with several attempts the last one is shown.`,
		Example:     "  cctask logs -f 01JD3ZK4\n  cctask logs --raw 01JD3ZK4 | jq -r .type\n  cctask logs --stderr --attempt 1 01JD3ZK4",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, 1, "the id of a task"),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
			if f.attempt < 0 {
				return badInput(fmt.Sprintf("--attempt: %d is not a number of an attempt", f.attempt), "Attempts count from 1; 0 is the last one.")
			}
			return a.logs(ctx, svc, args[0], f)
		}),
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.raw, "raw", false, "claude's bytes exactly as it wrote them")
	fl.BoolVar(&f.stderr, "stderr", false, "stderr instead of stdout")
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on until the task ends")
	fl.IntVar(&f.attempt, "attempt", 0, "`NUMBER` of the attempt; 0 is the last one")
	return cmd
}

func (a *app) logs(ctx context.Context, svc engine.Service, ref string, f logFlags) error {
	t, err := svc.Get(ctx, ref)
	if err != nil {
		return err
	}
	// The attempt is pinned: a resume meanwhile must not move the reader.
	q := engine.OutputQuery{Ref: string(t.ID), Attempt: f.attempt, Stream: task.Stdout}
	if q.Attempt == 0 {
		q.Attempt = t.Attempt
	}
	if f.stderr {
		q.Stream = task.Stderr
	}
	out := a.logWriter(f)
	for {
		piece, err := svc.Output(ctx, q)
		if err != nil {
			return err
		}
		if _, err := out.Write(piece.Data); err != nil {
			return fmt.Errorf("print the logs: %w", err)
		}
		q.Offset = piece.Offset + int64(len(piece.Data))
		switch {
		case len(piece.Data) > 0 && q.Offset < piece.Size:
		case piece.Done:
			return out.Close()
		case !f.follow:
			return nil // a live claude has not finished its last line yet
		default:
			// t was looked at before the piece was read: whatever came since
			// has a higher version.
			if t, err = svc.Wait(ctx, string(t.ID), t.Version); err != nil {
				return err
			}
		}
	}
}

// logWriter shows a stream as the flags ask for it. Close ends a torn last line.
func (a *app) logWriter(f logFlags) io.WriteCloser {
	switch {
	case f.raw:
		return struct {
			io.Writer
			io.Closer
		}{a.Stdout, io.NopCloser(nil)}
	case f.stderr:
		return &lineWriter{line: func(line []byte) error {
			_, err := fmt.Fprintln(a.Stdout, claude.Visible(string(line)))
			return err
		}}
	}
	paint := a.logPainter()
	return &lineWriter{line: func(line []byte) error {
		for _, l := range claude.Render(line) {
			if _, err := fmt.Fprintln(a.Stdout, paint(l)); err != nil {
				return err
			}
		}
		return nil
	}}
}

// lineWriter calls line for each line, without its newline.
type lineWriter struct {
	line func([]byte) error
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.rest = append(w.rest, p...)
			return n, nil
		}
		line := p[:i]
		if len(w.rest) > 0 {
			line = append(w.rest, line...)
			w.rest = w.rest[:0]
		}
		if err := w.line(line); err != nil {
			return 0, err
		}
		p = p[i+1:]
	}
}

func (w *lineWriter) Close() error {
	if len(w.rest) == 0 {
		return nil
	}
	return w.line(w.rest)
}
