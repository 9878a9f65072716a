package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/show"
)

func newWait(a *app) *cobra.Command {
	var timeout task.Seconds
	var asJSON, bell, first, firstFailure bool
	cmd := &cobra.Command{
		Use: "wait [ID...]", Short: "Wait for tasks to end",
		Long: `Wait until the named tasks have ended, or without an ID all that are queued or running
now, and print a line for each end. An interrupted task has ended too. Inside a task it and
the tasks that started it are left out. On a terminal a line counts how many have ended.
With --any it ends with the first of them, with --first-failure with the first that does
not complete; the others go on. With --json one ID gives one object; none or several give
a list, printed at the end.`,
		Example:     "  cctask wait 01JD3ZK4 && cctask logs 01JD3ZK4\n  cctask wait --timeout 10m\n  cctask wait --first-failure lint tests docs",
		Annotations: exits(exitDone, exitFault, exitInput, exitEnded, exitTimeout, exitInterrupted),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
			w := waiter{app: a, svc: svc, timeout: timeout.Duration(), asJSON: asJSON, one: len(args) == 1, ends: a.Stdout, until: engine.All}
			switch {
			case first && firstFailure:
				return badInput("--any and --first-failure are two different ends", "Give one of them.")
			case first:
				w.until = engine.Any
			case firstFailure:
				w.until = engine.FirstFailure
			}
			if asJSON {
				w.ends = io.Discard
			}
			defer a.ring(&bell)
			return w.run(ctx, args)
		}),
	}
	cmd.Flags().Var(&timeout, "timeout", "give up after seconds, or a `TIME` like 90s, 2h or 1d; 0 waits for ever")
	cmd.Flags().BoolVar(&first, "any", false, "end when one of them has ended")
	cmd.Flags().BoolVar(&firstFailure, "first-failure", false, "end when one of them has not completed")
	bellFlag(cmd, &bell)
	jsonFlag(cmd, &asJSON)
	return cmd
}

type waiter struct {
	*app
	svc     engine.Service
	until   engine.Until // "": All
	timeout time.Duration
	asJSON  bool
	one     bool      // a single task was named
	ends    io.Writer // gets a line for each end
	show    *tally    // nil: no count
}

func (w *waiter) run(ctx context.Context, refs []string) error {
	tasks, err := w.tasks(ctx, refs)
	if err != nil {
		return err
	}
	if show.IsTerminal(w.Stderr) && len(tasks) > 0 {
		w.show = newTally(ctx, w.app, w.svc, tasks)
	}
	return w.await(ctx, tasks)
}

// await puts each task as it ended into tasks.
func (w *waiter) await(ctx context.Context, tasks []task.Task) (err error) {
	refs := make([]string, len(tasks))
	for i, t := range tasks {
		if err := w.within().MayWait(t); err != nil {
			return err
		}
		refs[i] = string(t.ID)
	}
	defer engine.Lend(ctx, w.svc, refs...)()
	next := func(done <-chan int) int { return <-done }
	if w.show != nil {
		next = w.show.next
		defer w.show.Clear()
	}
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	if w.timeout > 0 {
		var stop context.CancelFunc
		limited, stop = context.WithTimeout(limited, w.timeout)
		defer stop()
	}
	errs := make([]error, len(tasks))
	done := make(chan int, len(tasks))
	for i, t := range tasks {
		go func() {
			if t, errs[i] = engine.WaitFor(limited, w.svc, string(t.ID), engine.UntilEnd); errs[i] == nil {
				tasks[i] = t
			}
			done <- i
		}()
	}
	code, late, enough := exitDone, 0, false
	for range tasks {
		i := next(done)
		switch {
		case enough && errs[i] != nil: // not waited for any more
			if tasks[i], err = w.now(ctx, tasks[i]); err != nil {
				return err
			}
		case gone(tasks[i], errs[i]):
			code, tasks[i].Message = exitEnded, "removed"
			if w.show != nil {
				w.show.end(tasks[i])
			}
			w.report(removed(tasks[i].ID))
		case errs[i] == nil:
			if err := w.tell(tasks[i]); err != nil {
				return err
			}
			if tasks[i].Status != task.Completed {
				code = exitEnded
			}
			if w.until == engine.Any || w.until == engine.FirstFailure && code != exitDone {
				enough = true
				cancel()
			}
		// A client may turn the end of its context into an error of its own.
		case limited.Err() != nil && ctx.Err() == nil:
			late++
			if tasks[i], err = w.now(ctx, tasks[i]); err != nil {
				return err
			}
		default:
			return fmt.Errorf("wait for task %s: %w", tasks[i].ID, errs[i])
		}
	}
	if w.asJSON {
		if err := w.printTasks(tasks, w.one); err != nil {
			return err
		}
	}
	if late > 0 {
		return &stop{exitTimeout, task.Errorf(task.CodeConflict, "They go on: `cctask wait` waits again, `cctask list` shows them.", "%d of %s had not ended after %s", late, show.Plural(len(tasks), "task"), w.timeout)}
	}
	if code != exitDone {
		return &stop{code: code}
	}
	return nil
}

// now is a task that has not ended, as it is; one that was removed stays as it was.
func (w *waiter) now(ctx context.Context, t task.Task) (task.Task, error) {
	if !w.asJSON {
		return t, nil
	}
	now, err := w.svc.Get(ctx, string(t.ID))
	if errors.Is(err, task.ErrNotFound) {
		return t, nil
	}
	return now, err
}

// tasks are the named ones, or all that have not ended.
func (w *waiter) tasks(ctx context.Context, refs []string) ([]task.Task, error) {
	if len(refs) > 0 {
		return w.lookup(ctx, w.svc, refs, task.ToRead)
	}
	tasks, err := all(ctx, w.svc, task.Filter{Statuses: unended})
	if err != nil {
		return nil, err
	}
	tasks = slices.DeleteFunc(tasks, func(t task.Task) bool { return w.within().Has(t.ID) })
	if len(tasks) == 0 && !w.asJSON {
		fmt.Fprintln(w.Stderr, "No task is queued or running.")
	}
	return tasks, nil
}

// tell says how a task ended, as soon as it did.
func (w *waiter) tell(t task.Task) error {
	if w.show != nil {
		w.show.end(t)
	}
	w.report(outcome(t))
	_, err := fmt.Fprintln(w.ends, endLine(t))
	return err
}

// endLine is one line about a task.
func endLine(t task.Task) string {
	return fmt.Sprintf("%s %s %s %s", t.ID, t.Status.Public(), show.Duration(t.Elapsed(time.Now())), cmp.Or(show.Row{Task: t}.Spent(), "-"))
}
