package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

func newResume(a *app) *cobra.Command {
	var asJSON bool
	var options task.Draft
	cmd := &cobra.Command{
		Use: "resume ID [PROMPT | -]", Short: "Go on with an ended task in its session",
		Long: `Start a new attempt of a task that failed, was interrupted, cancelled or ran out of
time, in the same claude session. Without PROMPT claude is told that it was interrupted
and to verify what its last tool did; with - the prompt is read from stdin, and what is
piped in follows a PROMPT. The attempt gets the environment of this command. What an option
gives holds for it and those after it.`,
		Example: `  cctask resume 01JD3ZK4
  cctask resume 01JD3ZK4 "Go on, but leave the tests alone"
  make test 2>&1 | cctask resume 01JD3ZK4 "The tests say this now"`,
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, 2, "the id of a task"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var prompt string
			if len(args) == 2 {
				var err error
				if prompt, err = a.promptWithStdin("", args[1:]); err != nil {
					return err
				}
				if err := task.CheckPrompt(prompt); err != nil {
					return err
				}
			}
			return a.again(cmd.Context(), asJSON, engine.Service.Resume, engine.Again{Ref: args[0], Prompt: prompt, Options: options})
		},
	}
	jsonFlag(cmd, &asJSON)
	registerOptions(cmd.Flags(), task.Changeable(), &options)
	return cmd
}

type againCall func(engine.Service, context.Context, engine.Again) (task.Task, error)

// again asks for another attempt and says that it is queued.
func (a *app) again(ctx context.Context, asJSON bool, call againCall, again engine.Again) error {
	front, err := a.ofThisFront()
	if err != nil {
		return err
	}
	front.Ref, front.Prompt, front.Options = again.Ref, again.Prompt, again.Options
	return a.recordAndTell(ctx, asJSON,
		func(ctx context.Context, svc engine.Service) (task.Task, error) { return call(svc, ctx, front) },
		func(t task.Task) string {
			return fmt.Sprintf("%s %s as attempt %d", t.ID, t.Status.Public(), t.Attempt)
		})
}
