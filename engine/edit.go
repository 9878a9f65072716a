package engine

import (
	"context"
	"slices"
	"time"

	"cctask/engine/task"
)

type Edit struct {
	Ref     string     `json:"ref"`
	Prompt  string     `json:"prompt,omitempty"` // "" leaves it
	Options task.Draft `json:"options,omitzero"`
	Clear   []string   `json:"clear,omitempty"` // names of options that it is to have no more
	// Policy is the front's own: what it could not submit it cannot make of another task.
	Policy task.Policy `json:"policy,omitzero"`
}

func (c Edit) changes(option string) bool {
	return c.Options.Has(option) || slices.Contains(c.Clear, option)
}

// Edit changes what a task is to do while it waits. Its place among those of its
// priority stays.
func (e *Engine) Edit(_ context.Context, c Edit) (task.Task, error) {
	if err := e.MayChange(); err != nil {
		return task.Task{}, err
	}
	if c.Prompt != "" {
		if err := task.CheckPrompt(c.Prompt); err != nil {
			return task.Task{}, err
		}
	}
	if c.Options.Has("env") {
		return task.Task{}, task.Errorf(task.CodeInvalid, "Cancel the task, and give `cctask retry` the variables.", "env: cannot be changed while the task waits")
	}
	id, err := e.meant(c.Ref, task.ToCancel)
	if err != nil {
		return task.Task{}, err
	}
	if c.Options.Has("after") || c.Prompt != "" {
		e.sessions.Lock()
		defer e.sessions.Unlock()
		e.naming.RLock()
		defer e.naming.RUnlock()
	}
	t, err := e.change(id, func(t *task.Task, w *task.Write) error { return e.edit(t, w, c) })
	if err != nil {
		return task.Task{}, err
	}
	return e.fill(t), nil
}

func (e *Engine) edit(t *task.Task, w *task.Write, c Edit) (err error) {
	if t.Status != task.Queued {
		hint := "Cancel it, then resume or retry it with other options."
		switch {
		case t.Status == task.Completed:
			hint = "Start a new task; with resume_task_id (in a shell: --resume-task-id) it goes on in the same session."
		case t.Status.Ended():
			hint = "Retry it with other options."
		}
		return task.Errorf(task.CodeConflict, hint, "task %s is %s: only what is queued can be changed", t.ID, t.Status.Public())
	}
	if t.Spec, err = c.Options.Change(t.Spec.Without(c.Clear)); err != nil {
		return err
	}
	if err := e.rebound(t, Again{Policy: c.Policy}); err != nil {
		return err
	}
	if c.changes("after") {
		err := e.needs(&t.Spec, t.ID, nil)
		if err == nil {
			err = needRefs(t)
		}
		if err != nil {
			return err
		}
	}
	if c.changes("start_at") {
		if t.NotBefore, err = task.StartOf(t.Spec.StartAt, w.At); err != nil {
			return err
		}
	}
	if c.Prompt == "" {
		return nil
	}
	if err := e.refer(t, c.Prompt, nil); err != nil {
		return err
	}
	rec, err := e.store.Attempt(t.ID, t.Attempt)
	if err != nil {
		return err
	}
	if t.Attempt == 1 {
		t.PromptHead, t.PromptBytes = task.Head(c.Prompt), len(c.Prompt)
	}
	rec.Unfilled = t.Template != ""
	rec.PromptN = t.Attempt // an earlier attempt keeps the one that it had
	w.Attempts = []task.Attempt{rec}
	w.Prompt, w.NewPrompt = &task.Blob{ID: t.ID, Attempt: rec.PromptN, Data: []byte(c.Prompt)}, true
	return nil
}

// keptBack tells of a task that was chosen whether it may not start any more: it
// was changed between, and then it is in the queue again with what it waits for.
func (e *Engine) keptBack(t *task.Task) bool {
	w := waiterOf(task.PlaceOf(t))
	e.mu.Lock()
	defer e.mu.Unlock()
	changed := e.sched.waiters[t.ID]
	return w.held || w.notBefore.After(time.Now()) || changed != nil && len(changed.needs) > 0
}
