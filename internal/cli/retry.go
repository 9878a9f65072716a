package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
)

func newRetry(a *app) *cobra.Command {
	var asJSON, dependants bool
	var options task.Draft
	cmd := &cobra.Command{
		Use: "retry ID", Short: "Start an ended task again from its prompt",
		Long: `Start a new attempt of a task that failed, was interrupted, cancelled or ran out of
time, with its original prompt in a new claude session. The attempt gets the
environment of this command. What an option gives holds for it and those after it.`,
		Example:     "  cctask retry 01JD3ZK4\n  cctask retry --with-dependants 01JD3ZK4",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, 1, "the id of a task"),
		RunE: func(cmd *cobra.Command, args []string) error {
			call := engine.Service.Retry
			if dependants {
				call = a.withDependants
			}
			return a.again(cmd.Context(), asJSON, call, engine.Again{Ref: args[0], Options: options})
		},
	}
	cmd.Flags().BoolVar(&dependants, "with-dependants", false, "also those that were skipped because this one, or one of them, did not end as they needed")
	jsonFlag(cmd, &asJSON)
	registerOptions(cmd.Flags(), task.Changeable(), &options)
	return cmd
}

// withDependants retries a task and then what was skipped for it, the ones that
// wait for it first: each finds what it waits for queued again.
func (a *app) withDependants(svc engine.Service, ctx context.Context, again engine.Again) (task.Task, error) {
	first, err := svc.Retry(ctx, again)
	if err != nil {
		return first, err
	}
	skipped, err := all(ctx, svc, task.Filter{Statuses: []task.Status{task.Skipped}})
	if err != nil {
		return first, err
	}
	again.Options = task.Draft{}
	for _, t := range dependants(first.ID, skipped) {
		again.Ref = string(t.ID)
		t, err = svc.Retry(ctx, again)
		if errors.Is(err, task.ErrConflict) { // what it waits for has failed again already
			fmt.Fprintf(a.Stderr, "%s stays skipped: %s\n", again.Ref, claude.Visible(err.Error()))
			continue
		}
		if err != nil {
			return first, fmt.Errorf("task %s is queued again, and this one is not: %w", first.ID, err)
		}
		fmt.Fprintf(a.Stderr, "%s %s as attempt %d\n", t.ID, t.Status.Public(), t.Attempt)
	}
	return first, nil
}

// dependants are those of the skipped tasks that wait for a task, or for one of them,
// each behind all of them that it waits for.
func dependants(of task.ID, skipped []task.Task) (list []task.Task) {
	among := map[task.ID]bool{of: true}
	waits := func(t task.Task) bool {
		return slices.ContainsFunc(t.Spec.After, func(ref string) bool { return among[task.ID(task.ParseNeed(ref).Ref)] })
	}
	for grown := true; grown; {
		grown = false
		for _, t := range skipped {
			if !among[t.ID] && waits(t) {
				among[t.ID], grown = true, true
			}
		}
	}
	delete(among, of)
	for grown := true; grown; {
		grown = false
		for _, t := range skipped {
			if among[t.ID] && !waits(t) {
				list, grown = append(list, t), true
				delete(among, t.ID)
			}
		}
	}
	return list
}
