package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/engine/worktree"
)

// discard removes a task with a worktree that holds what is nowhere else. The owner
// removes no such worktree, whoever asks.
func discard(ctx context.Context, svc engine.Service, id task.ID) error {
	t, err := svc.Get(ctx, string(id))
	if err == nil {
		err = worktree.Remove(ctx, *t.Worktree, true)
	}
	if err != nil {
		return err
	}
	return svc.Remove(ctx, string(id), true)
}

func newRemove(a *app) *cobra.Command {
	var force, asJSON bool
	cmd := &cobra.Command{
		Use: "rm ID...", Short: "Delete tasks with all they have",
		Long: `Delete tasks with their prompts, answers and outputs. A queued or running task is
deleted only with --force, which cancels it first. So is one whose worktree holds what is
nowhere else: --force discards that, with its branch. With --json one ID gives one object, several a list: what was deleted.`,
		Example:     "  cctask rm 01JD3ZK4\n  cctask rm --force 01JD3ZK4",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, -1, "the id of a task"),
		RunE: a.onTasks(task.ToChange, &asJSON, func(ctx context.Context, svc engine.Service, tasks []task.Task) error {
			// A live one comes first: if it is refused, then before anything is deleted.
			live := slices.IndexFunc(tasks, func(t task.Task) bool { return !t.Status.Ended() })
			if live > 0 {
				tasks[0], tasks[live] = tasks[live], tasks[0]
			}
			for _, t := range tasks {
				err := svc.Remove(ctx, string(t.ID), force)
				if force && errors.Is(err, task.ErrUnmerged) {
					err = discard(ctx, svc, t.ID)
				}
				if err != nil {
					return err
				}
				if asJSON {
					continue
				}
				if _, err := fmt.Fprintf(a.Stdout, "%s removed\n", t.ID); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "cancel a task that has not ended, and discard what its worktree holds")
	jsonFlag(cmd, &asJSON)
	return cmd
}
