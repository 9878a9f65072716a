package cli

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
)

func newHold(a *app) *cobra.Command {
	return a.holding(true, &cobra.Command{
		Use: "hold ID...", Short: "Keep queued tasks from starting",
		Long: `Keep queued tasks where they are until they are released. A task is submitted held with
--hold. One that runs already is refused: cancel ends it.`,
		Example: "  cctask hold 01JD3ZK4",
	})
}

// stillQueued says of a task that was changed in the queue what it waits for.
func stillQueued(t task.Task) string {
	return fmt.Sprintf("%s %s", t.ID, claude.Visible(cmp.Or(t.Waiting.Words(time.Now()), string(t.Status.Public()))))
}

// holding is hold and release.
func (a *app) holding(on bool, cmd *cobra.Command) *cobra.Command {
	var asJSON bool
	cmd.Annotations = exits(exitDone, exitFault, exitInput)
	cmd.Args = arguments(1, -1, "the id of a task")
	cmd.RunE = a.onTasks(task.ToCancel, &asJSON, func(ctx context.Context, svc engine.Service, tasks []task.Task) (err error) {
		var options task.Draft
		o, _ := task.Find("hold")
		if err := options.Set(o, on); err != nil {
			return err
		}
		for i := range tasks {
			if tasks[i], err = svc.Edit(ctx, engine.Edit{Ref: string(tasks[i].ID), Options: options}); err != nil {
				return err
			}
			if !asJSON {
				if _, err := fmt.Fprintln(a.Stdout, stillQueued(tasks[i])); err != nil {
					return err
				}
			}
		}
		return nil
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newRelease(a *app) *cobra.Command {
	return a.holding(false, &cobra.Command{
		Use: "release ID...", Short: "Let held tasks start",
		Long: `Let tasks that are held start when it is their turn. They keep the places that they took
when they were submitted.`,
		Example: "  cctask release 01JD3ZK4",
	})
}
