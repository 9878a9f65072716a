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
	Prompt         string `json:"prompt"`
	IdempotencyKey string `json:"idempotency_key"`

	MaxWaitSeconds *float64 `json:"max_wait_seconds"` // nil: the client decides, by patience
	outputArgs
}

// submit records the task that the request asks for.
func (s *Server) submit(ctx context.Context, r *request) (*task.Task, runArgs, error) {
	var a runArgs
	sub, err := s.submission(r, &a)
	if err != nil {
		return nil, a, err
	}
	r.taken()
	// A cancel by the client does not tear off a submission that is under way:
	// we would not know whether the task is recorded, and could not stop it.
	t, err := s.svc.Submit(r.conn.base, sub)
	if err != nil {
		return nil, a, fmt.Errorf("submit: %w", err)
	}
	if t.Status.Ended() {
		// The task of an earlier call with the same key: with its answer, please.
		now, err := s.latest(ctx, string(t.ID))
		return now, a, err
	}
	return &t, a, nil
}

// submission checks the arguments and everything else that can be checked
// without an owner.
func (s *Server) submission(r *request, a *runArgs) (engine.Submission, error) {
	given, err := runInput().decode(r.args, a)
	if err != nil {
		return engine.Submission{}, err
	}
	if err := task.CheckPrompt(a.Prompt); err != nil {
		return engine.Submission{}, err
	}
	client, err := s.defaults()
	if err != nil {
		return engine.Submission{}, err
	}
	spec, err := specOf(given, client)
	if err != nil {
		return engine.Submission{}, err
	}
	key := a.IdempotencyKey
	if key == "" {
		// So that a call repeated over an owner's death starts nothing twice.
		key = "mcp-" + rand.Text()
	}
	env := spec.TakeEnv(client.Env)
	return engine.Submission{Spec: spec, Prompt: a.Prompt, Env: env, Limits: client.Limits, Key: key, Policy: client.Policy}, nil
}

// specOf is the specification of arguments that fit, over the client's defaults,
// as the owner, which works elsewhere, needs it.
func specOf(given map[string]json.RawMessage, client Client) (task.Spec, error) {
	var options task.Draft
	for _, o := range task.Options {
		if raw, ok := given[o.Name]; ok {
			if err := options.Take(o, raw); err != nil {
				return task.Spec{}, err
			}
		}
	}
	s := options.Over(client.Defaults).Spec
	s.Claude = client.Claude
	if err := s.Anchor(client.resolve); err != nil {
		return s, err
	}
	return s, s.Check()
}

// resolve makes the path of a parameter absolute, from where the client works.
func (c Client) resolve(option, path string) (string, error) {
	if c.Homed != nil {
		path = c.Homed(path)
	}
	return task.Abs(option, path, c.WorkingDir, c.Nowhere)
}

func (s *Server) startAsync(ctx context.Context, r *request) (any, error) {
	t, a, err := s.submit(ctx, r)
	s.abandon(ctx, t, a)
	if err != nil {
		return nil, err
	}
	v, err := s.show(ctx, t, outputArgs{Output: "none", Detail: a.Detail})
	if err == nil && !a.Detail && !t.Status.Ended() {
		// The caller has just said how it is called. A message says why it waits.
		v.Name, v.Progress, v.PollAfterMS, v.StatusMessage = "", nil, 0, clip(v.StatusMessage, 60)
	}
	return v, err
}

// abandon stops a task whose call was to answer at once, but was cancelled: then
// nobody will ever know the id. With a key of the client's own it may be the
// task of an earlier call, and calling again gives it.
func (s *Server) abandon(ctx context.Context, t *task.Task, a runArgs) {
	if t != nil && a.IdempotencyKey == "" && wantsTaskStopped(ctx) {
		s.cancelFor(ctx, t.ID)
	}
}

func (s *Server) execute(ctx context.Context, r *request) (any, error) {
	t, a, err := s.submit(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.answersWithTask(t.Status, a) {
		s.abandon(ctx, t, a)
		return s.promise(*t), nil
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
