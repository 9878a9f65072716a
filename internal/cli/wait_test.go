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

func (e ends) Wait(ctx context.Context, q engine.WaitQuery) ([]task.Task, error) {
	t, known := e.tasks[q.Refs[0]]
	if !known {
		close(e.removed)
		return nil, &task.Error{Code: task.CodeNotFound, Message: "no task"}
	}
	select {
	case <-e.removed:
		return []task.Task{t}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
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

// A wait for the first end, or the first that went wrong, leaves the others waiting.
func TestWaitEndsEarly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		until engine.Until
		known map[string]task.Status
		want  string
	}{
		{engine.Any, map[string]task.Status{"A": task.Completed}, "A completed"},
		{engine.FirstFailure, map[string]task.Status{"A": task.Failed}, "A failed"},
		{engine.FirstFailure, map[string]task.Status{"A": task.Completed, "B": task.Completed}, "B completed"},
	} {
		svc := some{ends: map[string]task.Task{}}
		for id, st := range c.known {
			svc.ends[id] = task.Task{ID: task.ID(id), Status: st}
		}
		var out strings.Builder
		env := envOf(nil)
		env.Stdout, env.Stderr = &out, &out
		w := waiter{app: &app{Env: env}, svc: svc, ends: &out, until: c.until}
		err := w.await(t.Context(), []task.Task{{ID: "A", Status: task.Running}, {ID: "B", Status: task.Running}})
		if failed := c.known["A"] == task.Failed; !strings.Contains(out.String(), c.want) || (exitCode(err) == exitEnded) != failed {
			t.Errorf("%s of %v: %v, %q", c.until, c.known, err, out.String())
		}
	}
}

// some is a service in which some tasks have ended, and the others never do.
type some struct {
	engine.Service
	ends map[string]task.Task
}

func (s some) Wait(ctx context.Context, q engine.WaitQuery) ([]task.Task, error) {
	if t, ok := s.ends[q.Refs[0]]; ok {
		return []task.Task{t}, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}
