package mcp

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// runArgs are the arguments of the two tools that start a task, beside the options.
type runArgs struct {
	Prompt         string            `json:"prompt"`
	Tasks          []json.RawMessage `json:"tasks"` // of start_cc_task_async, in place of Prompt
	IdempotencyKey string            `json:"idempotency_key"`

	MaxWaitSeconds *float64 `json:"max_wait_seconds"` // nil: the client decides, by patience
	outputArgs
}

func (s *Server) submit(ctx context.Context, r *request, sub engine.Submission) (*task.Task, error) {
	r.taken()
	// A cancel by the client does not tear off a submission that is under way:
	// we would not know whether the task is recorded, and could not stop it.
	t, err := s.svc.Submit(r.conn.base, sub)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	if t.Status.Ended() {
		// The task of an earlier call with the same key: with its answer, please.
		return s.latest(ctx, string(t.ID))
	}
	return &t, nil
}

// asked checks the arguments of a call that starts tasks, and gives who calls, with the
// options of all of them.
func (s *Server) asked(r *request, as inputs, a *runArgs) (engine.Caller, error) {
	given, err := as.decode(r.args, a)
	if err != nil {
		return engine.Caller{}, err
	}
	c, err := s.defaults()
	if err != nil {
		return c, err
	}
	options, err := draftOf(given)
	c.Defaults = options.Over(c.Defaults)
	return c, err
}

// key is the caller's, or one by which a call that is repeated over an owner's death
// starts nothing twice.
func (a runArgs) key() string { return cmp.Or(a.IdempotencyKey, "mcp-"+rand.Text()) }

// draftOf is what arguments that fit give of the options.
func draftOf(given map[string]json.RawMessage) (d task.Draft, err error) {
	for _, o := range task.Options {
		if raw, ok := given[o.Name]; ok && err == nil {
			err = d.Take(o, raw)
		}
	}
	return d, err
}

func (s *Server) startAsync(ctx context.Context, r *request) (any, error) {
	var a runArgs
	c, err := s.asked(r, startInput(), &a)
	if err != nil {
		return nil, err
	}
	switch {
	case a.Tasks != nil && a.Prompt != "":
		return nil, badArguments([]string{"prompt: stands beside tasks, which have their own"})
	case a.Tasks != nil:
		return s.startAll(ctx, r, c, a)
	case a.Prompt == "":
		return nil, badArguments([]string{"prompt: missing, required is that, or tasks"})
	}
	sub, err := c.Submission(a.Prompt, a.key(), task.Draft{})
	if err != nil {
		return nil, err
	}
	t, err := s.submit(ctx, r, sub)
	if err != nil {
		return nil, err
	}
	s.abandon(ctx, a, *t)
	v, err := s.show(ctx, t, outputArgs{Output: "none", Detail: a.Detail})
	if err == nil && !a.Detail && !t.Status.Ended() {
		// The caller has just said how it is called. A message says why it waits.
		v.Name, v.Progress, v.PollAfterMS, v.StatusMessage = "", nil, 0, clip(v.StatusMessage, 60)
	}
	return v, err
}

func (s *Server) startAll(ctx context.Context, r *request, c engine.Caller, a runArgs) (any, error) {
	b := engine.Batch{Key: a.key()}
	for i, raw := range a.Tasks {
		var one struct {
			Prompt string `json:"prompt"`
		}
		given, err := memberInput().decode(raw, &one)
		var own task.Draft
		if err == nil {
			own, err = draftOf(given)
		}
		var sub engine.Submission
		if err == nil {
			sub, err = c.Submission(one.Prompt, "", own)
		}
		if err != nil {
			return nil, fmt.Errorf("task %d of tasks: %w", i+1, err)
		}
		b.Tasks = append(b.Tasks, sub)
	}
	r.taken()
	tasks, err := s.svc.SubmitAll(r.conn.base, b)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	s.abandon(ctx, a, tasks...)
	return started(tasks), nil
}

// abandon stops a task whose call was to answer at once, but was cancelled: then
// nobody will ever know the id. With a key of the client's own it may be the
// task of an earlier call, and calling again gives it.
func (s *Server) abandon(ctx context.Context, a runArgs, tasks ...task.Task) {
	if a.IdempotencyKey == "" && wantsTaskStopped(ctx) {
		for _, t := range tasks {
			s.cancelFor(ctx, t.ID)
		}
	}
}

func (s *Server) execute(ctx context.Context, r *request) (any, error) {
	var a runArgs
	c, err := s.asked(r, runInput(), &a)
	if err != nil {
		return nil, err
	}
	sub, err := c.Submission(a.Prompt, a.key(), task.Draft{})
	if err != nil {
		return nil, err
	}
	t, err := s.submit(ctx, r, sub)
	if err != nil {
		return nil, err
	}
	if r.answersWithTask(t.Status, a) {
		s.abandon(ctx, a, *t)
		created := s.extTaskOf(*t)
		created.ResultType = "task"
		return created, nil
	}
	// Not all of a, whose prompt may be megabytes, is held while the call waits.
	shown := a.outputArgs
	shown.Output, shown.TailBytes = cmp.Or(shown.Output, "auto"), defaultTail
	limit := r.patience()
	if a.MaxWaitSeconds != nil {
		limit = seconds(*a.MaxWaitSeconds)
	}
	t, err = s.await(ctx, r, t, limit)
	if wantsTaskStopped(ctx) {
		s.cancelFor(ctx, t.ID)
	}
	if err != nil {
		return nil, err
	}
	return s.show(ctx, t, shown)
}

// usualPatience is shorter than the 60 s after which most clients drop a call.
const usualPatience = 50 * time.Second

// patience is how long execute_cc_task waits where max_wait_seconds is left out;
// 0: to the end. Claude Code lets a call take hours. Most other clients drop one
// after 60 s, some without a word, and the answer is lost: they get what there is
// after 50 s. A client that would have waited on pays with a check_task_status.
// So the long wait is for clients that are known by name.
func (r *request) patience() time.Duration {
	var name string
	if r.info.ClientInfo != nil {
		name = r.info.ClientInfo.Name
	} else if init := r.conn.clientName.Load(); init != nil {
		name = *init
	}
	if name == "claude-code" {
		return 0
	}
	return usualPatience
}

// cancelFor stops the task of a call that the client has cancelled. The wish
// outlives the request and, once it is on its way, this server.
func (s *Server) cancelFor(ctx context.Context, id task.ID) {
	if _, err := s.svc.Cancel(context.WithoutCancel(ctx), string(id)); err != nil {
		s.log.Error().Err(err).Str("task", string(id)).Msg("cancel the task of a cancelled call")
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
