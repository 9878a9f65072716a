package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

func newWait(a *app) *cobra.Command {
	var timeout span
	var asJSON bool
	cmd := &cobra.Command{
		Use: "wait [ID...]", Short: "Wait for tasks to end",
		Long: `Wait until the named tasks have ended, or without an ID all that are queued or running
now, and print a line for each end. An interrupted task has ended too.
With --json one ID gives one object; none or several give a list, printed at the end.`,
		Example:     "  cctask wait 01JD3ZK4 && cctask logs 01JD3ZK4\n  cctask wait --timeout 10m",
		Annotations: exits(exitDone, exitFault, exitInput, exitEnded, exitTimeout, exitInterrupted),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
			w := waiter{app: a, svc: svc, timeout: time.Duration(timeout), asJSON: asJSON, one: len(args) == 1}
			return w.run(ctx, args)
		}),
	}
	cmd.Flags().Var(&timeout, "timeout", "give up after seconds, or a `TIME` like 90s or 2h; 0 waits for ever")
	jsonFlag(cmd, &asJSON)
	return cmd
}

type waiter struct {
	*app
	svc     engine.Service
	timeout time.Duration
	asJSON  bool
	one     bool // a single task was named
}

func (w *waiter) run(ctx context.Context, refs []string) error {
	tasks, err := w.tasks(ctx, refs)
	if err != nil {
		return err
	}
	limited, cancel := ctx, context.CancelFunc(func() {})
	if w.timeout > 0 {
		limited, cancel = context.WithTimeout(ctx, w.timeout)
	}
	defer cancel()
	ends := make(chan ended, len(tasks))
	for _, t := range tasks {
		go func() {
			e, err := w.svc.Wait(limited, string(t.ID), engine.UntilEnd)
			if err != nil {
				e = t
			}
			ends <- ended{e, err}
		}()
	}
	last := map[task.ID]task.Task{}
	code, late := exitDone, 0
	for range tasks {
		e := <-ends
		switch {
		case e.err == nil:
			if err := w.tell(e.t); err != nil {
				return err
			}
			if e.t.Status != task.Completed {
				code = exitEnded
			}
		// A client may turn the end of its context into an error of its own.
		case limited.Err() != nil && ctx.Err() == nil:
			late++
		default:
			return fmt.Errorf("wait for task %s: %w", e.t.ID, e.err)
		}
		last[e.t.ID] = e.t
	}
	if err := w.print(ctx, tasks, last, late); err != nil {
		return err
	}
	if late > 0 {
		return &stop{exitTimeout, &task.Error{
			Code: task.CodeConflict, Message: fmt.Sprintf("%d of %s had not ended after %s", late, plural(len(tasks), "task"), w.timeout),
			Hint: "They go on: `cctask wait` waits again, `cctask list` shows them.",
		}}
	}
	if code != exitDone {
		return &stop{code: code}
	}
	return nil
}

// tasks are the named ones, or all that have not ended.
func (w *waiter) tasks(ctx context.Context, refs []string) ([]task.Task, error) {
	if len(refs) > 0 {
		return lookup(ctx, w.svc, refs)
	}
	var tasks []task.Task
	f := task.Filter{Statuses: unended, Limit: maxListed}
	for {
		page, err := w.svc.List(ctx, f)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, page.Tasks...)
		if f.Cursor = page.NextCursor; f.Cursor == "" {
			break
		}
	}
	if len(tasks) == 0 && !w.asJSON {
		fmt.Fprintln(w.Stderr, "No task is queued or running.")
	}
	return tasks, nil
}

// tell says how a task ended, as soon as it did.
func (w *waiter) tell(t task.Task) error {
	w.report(outcome(t))
	if w.asJSON {
		return nil
	}
	_, err := fmt.Fprintln(w.Stdout, summary(t))
	return err
}

// print writes the JSON of all, with the late ones as they are now.
func (w *waiter) print(ctx context.Context, tasks []task.Task, last map[task.ID]task.Task, late int) error {
	if !w.asJSON {
		return nil
	}
	for i, t := range tasks {
		tasks[i] = last[t.ID]
		if late == 0 || tasks[i].Status.Ended() {
			continue
		}
		now, err := w.svc.Get(ctx, string(t.ID))
		switch {
		case err == nil:
			tasks[i] = now
		case !errors.Is(err, task.ErrNotFound):
			return err
		}
	}
	return w.printTasks(tasks, w.one)
}

// summary is one line about a task.
func summary(t task.Task) string {
	return fmt.Sprintf("%s %s %s %s", t.ID, t.Status.Public(), duration(spent(t)), costText(t))
}
