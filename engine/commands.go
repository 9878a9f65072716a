package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cctask/engine/claude"
	"cctask/engine/task"
)

// continuePrompt is what a resumed session is told when nobody says otherwise.
const continuePrompt = "Continue. The run was interrupted; verify what the last tool did before you repeat it."

// Cancel persists the wish before it tells the runner, and returns when the
// task has ended.
func (e *Engine) Cancel(ctx context.Context, ref string) (task.Task, error) {
	if err := e.MayChange(); err != nil {
		return task.Task{}, err
	}
	id, err := e.meant(ref, task.ToCancel)
	if err != nil {
		return task.Task{}, err
	}
	t, err := e.change(id, func(t *task.Task, w *task.Write) error {
		switch {
		case t.Status.Ended():
			return errNothingToDo
		case t.Status == task.Queued:
			return e.cancelQueued(t, w)
		}
		t.CancelRequested = true
		return nil
	})
	if errors.Is(err, errNothingToDo) {
		return e.get(id)
	}
	e.mu.Lock()
	a := e.live[id]
	e.mu.Unlock()
	// On a full disk the runner is told all the same, and writes the wish into
	// its own record: what fills the disk may be the task itself.
	full := errors.Is(err, task.ErrNoSpace) && t.Status.Live() && a != nil
	switch {
	case err != nil && !full:
		return task.Task{}, err
	case t.Status.Ended():
		return e.get(id)
	case a != nil:
		a.stop(task.StopCancel)
	}
	return WaitFor(ctx, e, string(id), UntilEnd)
}

var errNothingToDo = errors.New("nothing to do")

func (e *Engine) cancelQueued(t *task.Task, w *task.Write) error {
	a, err := e.store.Attempt(t.ID, t.Attempt)
	if err != nil {
		return err
	}
	a.Status, a.Reason, a.Message, a.FinishedAt = task.Cancelled, task.ReasonCancelled, "cancelled before it started", w.At
	t.Reason, t.Message = a.Reason, a.Message
	w.Attempts, w.DropEnv = []task.Attempt{a}, true
	return t.Become(task.Cancelled, w.At, "cancelled")
}

// CancelAll cancels every queued and live task and waits for the ends.
func (e *Engine) CancelAll(ctx context.Context) error {
	e.mu.Lock()
	queued := slices.Collect(maps.Keys(e.sched.waiters))
	live := slices.Collect(maps.Keys(e.live))
	e.mu.Unlock()
	// The queued ones first, so that no slot that frees is taken again.
	return errors.Join(e.cancelEach(ctx, queued), e.cancelEach(ctx, live))
}

func (e *Engine) cancelEach(ctx context.Context, ids []task.ID) error {
	errs := make(chan error, len(ids))
	for _, id := range ids {
		go func() {
			_, err := e.Cancel(ctx, string(id))
			errs <- err
		}()
	}
	var all error
	for range ids {
		if err := <-errs; err != nil && !errors.Is(err, task.ErrNotFound) {
			all = errors.Join(all, err)
		}
	}
	return all
}

func (e *Engine) Remove(ctx context.Context, ref string, force bool) error {
	if err := e.MayChange(); err != nil {
		return err
	}
	id, err := e.meant(ref, task.ToChange)
	if err != nil {
		return err
	}
	t, err := e.store.Task(id)
	if err != nil {
		return err
	}
	if !t.Status.Ended() {
		if !force {
			return task.Errorf(task.CodeConflict, "Cancel it first, or remove it with --force, which stops it.", "task %s is %s", t.ID, t.Status.Public())
		}
		// Who waits for the task sees its end before its record goes.
		e.removing.Store(id, true)
		defer e.removing.Delete(id)
		if _, err := e.Cancel(ctx, string(id)); err != nil {
			return err
		}
	}
	return e.remove(id, task.ByRequest)
}

// remove deletes an ended task. It looks again under the lock: a resume may
// have come between.
func (e *Engine) remove(id task.ID, by task.Remover) error {
	e.naming.Lock()
	defer e.naming.Unlock()
	if err := e.settleDependants(id); err != nil {
		return err
	}
	unlock := e.locks.lock(id)
	defer unlock()
	t, err := e.store.Task(id)
	if err != nil {
		return err
	}
	if !t.Status.Ended() {
		return &task.Error{Code: task.CodeConflict, Message: fmt.Sprintf("task %s was started again", id), Hint: "Cancel it first."}
	}
	if err := e.removeTree(e.ctx, &t); err != nil {
		return err
	}
	if err := e.store.Remove(id, by, time.Now()); err != nil {
		return fmt.Errorf("remove task %s: %w", id, err)
	}
	e.hub.Publish(Event{ID: id, Version: uint64(time.Now().UnixMicro()), Ended: true})
	return nil
}

func (e *Engine) Resume(_ context.Context, a Again) (task.Task, error) {
	own := a.Prompt != ""
	if !own {
		a.Prompt = continuePrompt
	}
	if err := task.CheckPrompt(a.Prompt); err != nil {
		return task.Task{}, err
	}
	return e.again(a, func(t *task.Task, all []task.Attempt) (task.Attempt, error) {
		last := all[len(all)-1]
		next := task.Attempt{Kind: task.Resume, SessionID: t.SessionID, Resumes: true, PromptN: t.Attempt + 1}
		// A session that no attempt ever opened cannot be resumed: begin it.
		if last.StartedAt.IsZero() && !last.Resumes {
			next.Resumes, next.ForkOf, next.PromptN = false, last.ForkOf, last.PromptN
			if own {
				return next, &task.Error{Code: task.CodeConflict, Message: fmt.Sprintf("task %s never started, so it has no session to go on in", t.ID), Hint: "Resume it without a prompt, or retry it."}
			}
		}
		return next, nil
	})
}

// Retry starts a new attempt with the original prompt in a new session, or in
// the one that the task was to go on with.
func (e *Engine) Retry(_ context.Context, a Again) (task.Task, error) {
	a.Prompt = ""
	return e.again(a, func(_ *task.Task, all []task.Attempt) (task.Attempt, error) {
		return anew(task.Retry, all[0]), nil
	})
}

// newSession is a session id for anything but a task's first attempt.
func newSession() string { return task.NewID(time.Now()).UUID() }

// again queues another attempt of an ended task.
func (e *Engine) again(a Again, next func(*task.Task, []task.Attempt) (task.Attempt, error)) (task.Task, error) {
	id, err := e.meant(a.Ref, task.ToChange)
	if err != nil {
		return task.Task{}, err
	}
	seq, err := e.nextSeq()
	if err != nil {
		return task.Task{}, err
	}
	e.sessions.Lock()
	defer e.sessions.Unlock()
	if a.Options.Has("after") {
		e.naming.RLock()
		defer e.naming.RUnlock()
	}
	t, err := e.change(id, func(t *task.Task, w *task.Write) error {
		all, err := e.store.Attempts(id)
		if err != nil {
			return err
		}
		// The answer to the first call was lost; others may have come since.
		if a.Key != "" && slices.ContainsFunc(all, func(n task.Attempt) bool { return n.Key == a.Key }) {
			return errNothingToDo
		}
		if err := vary(t, &a); err != nil {
			return err
		}
		if t.Spec.Site != "" {
			a.Claude = "" // the front's is one of this machine
		}
		if err := e.mayRunAgain(t, a); err != nil {
			return err
		}
		if a.Options.Has("after") {
			err := e.needs(&t.Spec, id, nil)
			if err == nil {
				err = needRefs(t)
			}
			if err != nil {
				return err
			}
		}
		if err := e.mayMeet(t); err != nil {
			return err
		}
		if err := e.rebound(t, a); err != nil {
			return err
		}
		if _, err := left(*t, all); err != nil {
			return err
		}
		rec, err := next(t, all)
		if err == nil {
			err = e.sessionFree(rec.SessionID, id)
		}
		if err != nil {
			return err
		}
		rec.Key = a.Key
		if rec.PromptN == t.Attempt+1 {
			w.Prompt = &task.Blob{ID: id, Attempt: rec.PromptN, Data: []byte(a.Prompt)}
		}
		t.Seq, t.Limits, t.Account, w.Env = seq, a.Limits, claude.Account(a.Env), environment(a.Env)
		if a.Claude != "" {
			t.Spec.Claude = a.Claude
		}
		if err := requeue(t, w, rec, string(rec.Kind)); err != nil || !a.Options.Has("start_at") {
			return err
		}
		t.NotBefore, err = task.StartOf(t.Spec.StartAt, w.At)
		return err
	})
	if errors.Is(err, errNothingToDo) {
		return e.get(id)
	}
	if err != nil {
		return task.Task{}, err
	}
	e.knock(t.Account)
	return e.fill(t), nil
}

// vary gives the next attempt the options that are asked for. The task's own
// variables went with the environment of the last one.
func vary(t *task.Task, a *Again) error {
	s, err := a.Options.Change(t.Spec)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(slices.Clone(s.EnvNames), func(name string) bool { _, again := s.Env[name]; return again })
	if len(gone) > 0 {
		return task.Errorf(task.CodeInvalid, fmt.Sprintf("Give each again, as --env %s=VALUE.", gone[0]),
			"env: the values of %s, which task %s had for itself, are kept only until it runs", strings.Join(gone, ", "), t.ID)
	}
	a.Env = s.TakeEnv(a.Env)
	t.Spec = s
	return checkNames(s.EnvNames)
}

// requeue puts an ended task back into the queue with a new attempt.
func requeue(t *task.Task, w *task.Write, rec task.Attempt, why string) error {
	t.Attempt++
	rec.N, rec.Status, rec.CreatedAt = t.Attempt, task.Queued, w.At
	rec.Unfilled = rec.PromptN == 1 && t.Template != ""
	w.Attempts = append(w.Attempts, rec)
	t.SessionID, t.ExitCode, t.Reason, t.StopReason, t.Message, t.CancelRequested = rec.SessionID, nil, "", "", "", false
	t.ResultBytes, t.StdoutBytes, t.StderrBytes, t.RetryAt, t.NotBefore = 0, 0, 0, time.Time{}, time.Time{}
	return t.Become(task.Queued, w.At, why)
}

func (e *Engine) mayRunAgain(t *task.Task, a Again) error {
	switch {
	case t.Status == task.Completed:
		return &task.Error{Code: task.CodeConflict, Message: fmt.Sprintf("task %s is completed, which is final", t.ID), Hint: "Start a new task; with resume_task_id (in a shell: --resume-task-id) it goes on in the same session."}
	case !t.Status.Ended():
		return &task.Error{Code: task.CodeConflict, Message: fmt.Sprintf("task %s is %s", t.ID, t.Status.Public()), Hint: "Wait for its end, or cancel it first."}
	}
	return ifItAnswers(e.at(t.Spec.Site), func(at Asker) error {
		if err := checkDir(at, "working_dir", t.Spec.WorkingDir); err != nil {
			return err
		}
		return CheckClaude(at, cmp.Or(a.Claude, t.Spec.Claude), a.Env)
	})
}
