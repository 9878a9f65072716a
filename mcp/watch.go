package mcp

import (
	"context"
	"errors"
	"fmt"
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

// watch waits until t has ended, at most limit (0: no limit), telling the
// client how it goes. When the limit passes, or the server stops, it returns
// the task as it is. It gives the task also with an error.
func (s *Server) watch(ctx context.Context, r *request, t task.Task, limit time.Duration) (task.Task, error) {
	if err := s.within.MayWait(t); err != nil {
		return t, err
	}
	ctx, done := r.untilEnding(ctx)
	defer done()
	wait, cancel := ctx, context.CancelFunc(func() {})
	if limit > 0 {
		wait, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	r.progress(progressText(t, time.Now()))
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
			return s.latest(ctx, t)
		default:
			return t, fmt.Errorf("wait for task %s: %w", t.ID, err)
		}
	}
	return t, nil
}

func (s *Server) latest(ctx context.Context, t task.Task) (task.Task, error) {
	now, err := s.svc.Get(ctx, string(t.ID))
	if err != nil {
		return t, fmt.Errorf("read task %s: %w", t.ID, err)
	}
	return now, nil
}

// step waits for the task's end or, if the client wants progress, for the next
// message that is due.
func (s *Server) step(ctx context.Context, r *request, t task.Task) (task.Task, error) {
	id := string(t.ID)
	if r.token == nil {
		return s.svc.Wait(ctx, id, engine.UntilEnd)
	}
	// For a second only the end counts, so that a chatty task is not told of
	// more often.
	next, err := s.waitUpTo(ctx, progressEvery, id, engine.UntilEnd)
	if !errors.Is(err, errNothingNew) {
		return next, err
	}
	next, err = s.waitUpTo(ctx, progressAtLeast-2*progressEvery, id, t.Version)
	if errors.Is(err, errNothingNew) {
		next, err = t, nil
	}
	if err == nil && !next.Status.Ended() {
		r.progress(progressText(next, time.Now()))
	}
	return next, err
}

var errNothingNew = errors.New("nothing new")

func (s *Server) waitUpTo(ctx context.Context, d time.Duration, id string, seen uint64) (task.Task, error) {
	short, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	t, err := s.svc.Wait(short, id, seen)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		return t, errNothingNew
	}
	return t, err
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
