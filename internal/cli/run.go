package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

func newRun(a *app) *cobra.Command {
	var f taskFlags
	var asJSON, bell bool
	cmd := &cobra.Command{
		Use: "run [PROMPT | -]", Short: "Run a task and print its answer",
		Long: `Start a task, show its progress on stderr and print claude's answer on stdout.
Without PROMPT, or with -, the prompt is read from stdin. With one, what a pipe or a file
at stdin holds follows it after a blank line, as with claude -p; a pipe that carries
nothing is given up after 3 seconds. A loop over a pipe needs </dev/null at each call.

The first Ctrl-C asks: Ctrl-C again cancels the task, d and Enter leaves it running in
the background, Enter alone goes on watching. SIGTERM, SIGHUP, or Ctrl-C where no
terminal is, leave the task running and print its id; cctask wait ID waits for it.`,
		Example: `  cctask run "Explain what main.go does"
  cat error.log | cctask run "Explain this"
  cctask run --model haiku - < prompt.txt > answer.md
  cctask run --json "Count the tests" | jq .cost_usd`,
		Annotations: exits(exitDone, exitFault, exitInput, exitEnded, exitInterrupted),
		Args:        arguments(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			sub, err := a.submission(&f, args)
			if err != nil {
				return err
			}
			defer a.ring(&bell)
			return a.run(cmd.Context(), sub, asJSON)
		},
	}
	f.register(cmd)
	bellFlag(cmd, &bell)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) run(ctx context.Context, sub engine.Submission, asJSON bool) error {
	submit := func(ctx context.Context, svc engine.Service) (task.Task, error) { return svc.Submit(ctx, sub) }
	return a.record(ctx, submit, func(svc *service, t task.Task, sigs signals) error {
		t, err := a.watch(ctx, svc, t, sigs)
		switch {
		case err != nil:
			return err
		case asJSON:
			err = a.printJSON(view(t))
		case t.Status == task.Completed:
			err = a.printAnswer(ctx, svc, t)
		}
		if err != nil {
			return err
		}
		return outcome(t)
	})
}

func (a *app) printAnswer(ctx context.Context, svc engine.Service, t task.Task) error {
	out := &lastByte{w: a.shown(a.Stdout)}
	var err error
	if t.ResultBytes <= task.MaxInlineResult && t.Result != nil {
		_, err = io.WriteString(out, *t.Result)
	} else {
		err = copyStream(ctx, svc, engine.OutputQuery{Ref: string(t.ID), Attempt: t.Attempt, Stream: task.Result}, out)
	}
	if err == nil && out.last != '\n' {
		_, err = fmt.Fprintln(a.Stdout)
	}
	if err != nil {
		return fmt.Errorf("print the answer of task %s: %w", t.ID, err)
	}
	return nil
}

type lastByte struct {
	w    io.Writer
	last byte
}

func (l *lastByte) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.last = p[len(p)-1]
	}
	return l.w.Write(p)
}
