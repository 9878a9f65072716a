package cli

import (
	"context"
	"strings"
	"testing"

	"cctask/engine"
	"cctask/engine/task"
)

// ends is a service that knows how some tasks end. Every other is removed, and
// then only do these end.
type ends struct {
	engine.Service
	tasks   map[string]task.Task
	removed chan struct{}
}

func (e ends) Wait(ctx context.Context, ref string, _ uint64) (task.Task, error) {
	t, known := e.tasks[ref]
	if !known {
		close(e.removed)
		return task.Task{}, &task.Error{Code: task.CodeNotFound, Message: "no task"}
	}
	select {
	case <-e.removed:
		return t, nil
	case <-ctx.Done():
		return task.Task{}, ctx.Err()
	}
}

func TestWaitOutlivesRemovedTasks(t *testing.T) {
	t.Parallel()
	a, b := task.Task{ID: "A", Status: task.Running}, task.Task{ID: "B", Status: task.Running}
	done := b
	done.Status = task.Completed
	var out, errs strings.Builder
	env := envOf(nil)
	env.Stdout, env.Stderr = &out, &errs
	w := waiter{
		app: &app{Env: env},
		svc: ends{tasks: map[string]task.Task{"B": done}, removed: make(chan struct{})}, ends: &out,
	}
	err := w.await(t.Context(), []task.Task{a, b})
	if exitCode(err) != exitEnded || !strings.HasPrefix(out.String(), "B completed") || !strings.HasPrefix(errs.String(), "cctask: task A was removed while it was waited for\nhint: ") {
		t.Errorf("%v, %q, %q", err, out.String(), errs.String())
	}
}

func TestRunOfARemovedTask(t *testing.T) {
	t.Parallel()
	var errs strings.Builder
	a := &app{Env: envOf(nil)}
	a.Stderr = &errs
	_, err := a.watch(t.Context(), ends{removed: make(chan struct{}), Service: nil}, task.Task{ID: "A", Status: task.Completed}, nil)
	if exitCode(err) != exitEnded || !strings.Contains(err.Error(), "task A was removed") || task.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}
