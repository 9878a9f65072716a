package mcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// The pace of progress messages. A client that hears nothing for 30 minutes
// drops a call; some do after a minute.
const (
	progressEvery   = time.Second
	progressAtLeast = 15 * time.Second
)

// await waits until t has ended, at most limit (0: no limit), telling the
// client how it goes. When the limit passes, or the server stops, it returns
// the task as it is. It gives the task also with an error.
//
// Here and where it is called from a task is a pointer: a thousand calls may wait, and
// each has its stack.
func (s *Server) await(ctx context.Context, r *request, t *task.Task, limit time.Duration) (*task.Task, error) {
	if err := s.mayWait(t); err != nil {
		return t, err
	}
	ctx, done := r.untilEnding(ctx)
	defer done()
	defer engine.Lend(ctx, s.svc, string(t.ID))()
	wait, cancel := context.WithTimeout(ctx, cmp.Or(limit, math.MaxInt64))
	defer cancel()
	r.tellOf(t)
	for !t.Status.Ended() {
		next, err := s.step(wait, r, t)
		switch {
		case err == nil:
			t = next
		case stopping(ctx):
			return t, nil
		case ctx.Err() != nil:
			return t, fmt.Errorf("wait for task %s: %w", t.ID, context.Cause(ctx))
		case task.AsError(err).Code == task.CodeNotFound:
			return t, &task.Error{Code: task.CodeNotFound, Message: fmt.Sprintf("task %s was deleted while this call waited for it", t.ID)}
		case wait.Err() != nil:
			// t may be as old as the wait.
			if next, err = s.latest(ctx, string(t.ID)); err != nil {
				return t, err
			}
			return next, nil
		default:
			return t, fmt.Errorf("wait for task %s: %w", t.ID, err)
		}
	}
	return t, nil
}

func (s *Server) mayWait(t *task.Task) error { return s.within.MayWait(*t) }

func (s *Server) latest(ctx context.Context, ref string) (*task.Task, error) {
	now, err := s.svc.Get(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("read task %s: %w", clip(ref, 100), err)
	}
	return &now, nil
}

// step waits for the task's end or, if the client wants progress, for the next
// message that is due.
func (s *Server) step(ctx context.Context, r *request, t *task.Task) (*task.Task, error) {
	q := engine.WaitQuery{Refs: []string{string(t.ID)}, Seen: engine.UntilEnd}
	if r.token == nil {
		return first(s.svc.Wait(ctx, q))
	}
	// For a second only the end counts, so that a chatty task is not told of
	// more often.
	next, err := first(s.waitUpTo(ctx, progressEvery, q))
	if !errors.Is(err, errNothingNew) {
		return next, err
	}
	q.Seen = t.Version
	next, err = first(s.waitUpTo(ctx, progressAtLeast-2*progressEvery, q))
	if errors.Is(err, errNothingNew) {
		next, err = t, nil
	}
	if err == nil && !next.Status.Ended() {
		r.tellOf(next)
	}
	return next, err
}

func first(tasks []task.Task, err error) (*task.Task, error) {
	if err != nil {
		return nil, err
	}
	return &tasks[0], nil
}

func (r *request) tellOf(t *task.Task) { r.progress(progressText(*t, time.Now())) }

// awaitAll waits until as many of the tasks have ended as until says, at most limit,
// telling the client that it still waits.
func (s *Server) awaitAll(ctx context.Context, r *request, q engine.WaitQuery, limit time.Duration) ([]task.Task, error) {
	waits, done := r.untilEnding(ctx)
	defer done()
	defer engine.Lend(waits, s.svc, q.Refs...)()
	wait, cancel := context.WithTimeout(waits, cmp.Or(limit, math.MaxInt64))
	defer cancel()
	for {
		r.progress(fmt.Sprintf("waiting for %s of %d tasks", q.Until, len(q.Refs)))
		tasks, err := s.waitUpTo(wait, progressAtLeast-progressEvery, q)
		switch {
		case err == nil:
			return tasks, nil
		case errors.Is(err, errNothingNew):
		case ctx.Err() == nil && wait.Err() != nil:
			return s.readAll(ctx, q.Refs, true)
		default:
			return nil, fmt.Errorf("wait for %d tasks: %w", len(q.Refs), err)
		}
	}
}

// readAll gives tasks as they are. One that was there and is not any more has its ID alone.
func (s *Server) readAll(ctx context.Context, refs []string, were bool) ([]task.Task, error) {
	tasks := make([]task.Task, len(refs))
	for i, ref := range refs {
		t, err := s.latest(ctx, ref)
		switch {
		case were && errors.Is(err, task.ErrNotFound):
			tasks[i].ID = task.ID(ref)
		case err != nil:
			return nil, err
		default:
			tasks[i] = *t
		}
	}
	return tasks, nil
}

var errNothingNew = errors.New("nothing new")

func (s *Server) waitUpTo(ctx context.Context, d time.Duration, q engine.WaitQuery) ([]task.Task, error) {
	short, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	tasks, err := s.svc.Wait(short, q)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		return nil, errNothingNew
	}
	return tasks, err
}

// progressText says in a line what a task is doing, such as
// "turn 4 · Bash go test ./... · 1m32s · $0.12".
func progressText(t task.Task, now time.Time) string {
	v := task.NewView(t, now)
	if v.Status != task.Running {
		text := string(v.Status)
		if v.QueuePosition > 0 {
			text += fmt.Sprintf(" · position %d", v.QueuePosition)
		}
		if v.StatusMessage != "" {
			text += " · " + clip(v.StatusMessage, 200)
		}
		return text
	}
	parts := []string{"starting"}
	cost := t.CostUSD
	if p := t.Progress; p != nil {
		cost += p.CostUSD
		if p.Turns > 0 {
			parts[0] = fmt.Sprintf("turn %d", p.Turns)
		}
		switch {
		case p.Retrying != "":
			parts = append(parts, "retrying: "+clip(p.Retrying, 100))
		case p.Doing() != "":
			parts = append(parts, clip(p.Doing(), 100))
		}
	}
	if v.DurationMS != nil {
		parts = append(parts, (time.Duration(*v.DurationMS) * time.Millisecond).Round(time.Second).String())
	}
	if cost > 0 {
		parts = append(parts, fmt.Sprintf("$%.2f", cost))
	}
	return strings.Join(parts, " · ")
}
