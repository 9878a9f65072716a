package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/statedir"
)

type Config struct {
	Dir      string   // state directory, absolute
	Settings Settings // of an owner that the client starts
	// Explicit names the settings ("jobs", "log-level", "keep-age", "keep-count",
	// "keep-size") that the user gave: Warn tells once if the running owner's differ.
	Explicit []string
	Exe      string // the cctask binary; "": this one
	// AutoStart lets calls start an owner, replace one that hangs, and ask one
	// of an older version to hand over. Without it they fail with
	// task.CodeOwnerGone where no owner answers.
	AutoStart bool
	// Within are the tasks of which this process bears the marks.
	Within  task.Within
	Warn    func(line string) // a line for stderr; nil: none
	Version string
	// StartWait is how long a call waits for an owner that starts or leaves;
	// 0: 30 s.
	StartWait time.Duration
}

// Client is a front's side of the socket. It is safe for concurrent use and
// does nothing before the first call.
type Client struct {
	cfg Config
	// helloWait is how long an owner may take for one hello.
	helloWait time.Duration
	// silence ends an event stream without heartbeats.
	silence time.Duration

	att     atomic.Pointer[attachment]
	finding chan struct{} // held by the one call that looks for the owner
	warned  atomic.Bool
	waits   waits
}

var _ engine.Service = (*Client)(nil)

func New(c Config) *Client {
	if c.StartWait == 0 {
		c.StartWait = 30 * time.Second
	}
	if c.Warn == nil {
		c.Warn = func(string) {}
	}
	cl := &Client{cfg: c, helloWait: 2 * time.Second, silence: heartbeat + 5*time.Second, finding: make(chan struct{}, 1)}
	cl.waits.init()
	return cl
}

// Close ends waits and idle connections; tasks go on.
func (c *Client) Close() {
	c.waits.cancel()
	if a := c.att.Load(); a != nil {
		c.detach(a)
	}
}

// Hello asks the owner about itself. Without AutoStart it says of an owner that
// starts or leaves what owner.lock says.
func (c *Client) Hello(ctx context.Context) (Hello, error) {
	if !c.cfg.AutoStart {
		l, held, err := Inspect(c.cfg.Dir)
		if err == nil && held && l.alive() && (l.Phase == PhaseStarting || l.Phase == PhaseClosing) {
			return Hello{Lock: l}, nil
		}
	}
	return call(ctx, c, helloVerb, none{})
}

func (c *Client) Submit(ctx context.Context, s engine.Submission) (task.Task, error) {
	// JSON would turn what is not UTF-8 into something else, unseen.
	if err := s.Spec.Check(); err != nil {
		return task.Task{}, err
	}
	s.Key = keyOr(s.Key)
	return call(ctx, c, submitVerb, requestOf(s))
}

func (c *Client) SubmitAll(ctx context.Context, b engine.Batch) ([]task.Task, error) {
	if err := b.Check(); err != nil {
		return nil, err // before it is too large for a frame
	}
	b.Tasks = slices.Clone(b.Tasks)
	for i := range b.Tasks {
		if err := b.Tasks[i].Spec.Check(); err != nil {
			return nil, b.About(i, err)
		}
		if b.Key == "" {
			b.Tasks[i].Key = keyOr(b.Tasks[i].Key)
		}
	}
	out, err := call(ctx, c, batchVerb, batchOf(b))
	return out.Tasks, err
}

// keyOr makes a key where the caller gave none, so that a call that is repeated
// over an owner's death does nothing twice.
func keyOr(key string) string {
	if key == "" {
		return string(task.NewID(time.Now()))
	}
	return key
}

func (c *Client) Get(ctx context.Context, ref string) (task.Task, error) {
	s, err := c.Show(ctx, task.Look{Ref: ref, Attempts: true})
	if err != nil {
		return task.Task{}, err
	}
	return s.Task()
}

func (c *Client) Show(ctx context.Context, l task.Look) (task.Shown, error) {
	return call(ctx, c, showVerb, l)
}

func (c *Client) List(ctx context.Context, f task.Filter) (task.Page, error) {
	return call(ctx, c, listVerb, f)
}

func (c *Client) Output(ctx context.Context, q engine.OutputQuery) (task.Output, error) {
	return call(ctx, c, outputVerb, q)
}

func (c *Client) Cancel(ctx context.Context, ref string) (task.Task, error) {
	id, err := c.meant(ctx, ref, task.ToCancel)
	if err != nil {
		return task.Task{}, err
	}
	return call(ctx, c, cancelVerb, refRequest{Ref: string(id)})
}

func (c *Client) Resume(ctx context.Context, a engine.Again) (task.Task, error) {
	return c.again(ctx, resumeVerb, a)
}

func (c *Client) Retry(ctx context.Context, a engine.Again) (task.Task, error) {
	return c.again(ctx, retryVerb, a)
}

func (c *Client) again(ctx context.Context, v verb[againRequest, task.Task], a engine.Again) (task.Task, error) {
	id, err := c.meant(ctx, a.Ref, task.ToChange)
	if err != nil {
		return task.Task{}, err
	}
	a.Ref, a.Key = string(id), keyOr(a.Key)
	return call(ctx, c, v, againRequest{a, []byte(a.Prompt), convert[[]byte](a.Env)})
}

func (c *Client) Edit(ctx context.Context, e engine.Edit) (task.Task, error) {
	id, err := c.meant(ctx, e.Ref, task.ToCancel)
	if err != nil {
		return task.Task{}, err
	}
	e.Ref = string(id)
	return call(ctx, c, editVerb, e)
}

func (c *Client) Groups(ctx context.Context, change *task.GroupChange) ([]task.Group, error) {
	out, err := call(ctx, c, groupsVerb, groupsRequest{change})
	return out.Groups, err
}

// Gates returns the accounts that are closed, after it has opened one.
func (c *Client) Gates(ctx context.Context, open string) ([]task.Gate, error) {
	out, err := call(ctx, c, gatesVerb, gatesRequest{open})
	return out.Gates, err
}

func (c *Client) Budgets(ctx context.Context) ([]task.Budget, error) {
	out, err := call(ctx, c, budgetVerb, none{})
	return out.Budgets, err
}

func (c *Client) Remove(ctx context.Context, ref string, force bool) error {
	id, err := c.meant(ctx, ref, task.ToChange)
	if err != nil {
		return err
	}
	lost, err := c.repeat(ctx, func(a *attachment) error {
		return c.ask(ctx, a, removeVerb.name, refRequest{Ref: string(id), Force: force}, &none{})
	})
	// The owner died after it had removed the task and before it could say so.
	if lost > 0 && errors.Is(err, task.ErrNotFound) {
		return nil
	}
	return err
}

// meant turns a ref into an id before anything is changed: what it fits need not
// be the same when a call is repeated.
func (c *Client) meant(ctx context.Context, ref string, use task.Use) (task.ID, error) {
	m, err := c.Resolve(ctx, ref)
	if err != nil {
		return "", err
	}
	id, _, err := m.Choose(use, time.Now())
	return id, err
}

// Lend lends the slot of the task in which this process runs, if there is one, until back
// is called. An owner that goes away is followed by one that is told again.
func (c *Client) Lend(ctx context.Context, refs []string) (back func()) {
	if a := c.att.Load(); len(c.cfg.Within) == 0 && (a == nil || a.hello.Inside == "") {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var lending sync.WaitGroup
	lending.Go(func() {
		for again := true; again; again = pause(ctx, time.Second) {
			if _, err := call(ctx, c, lendVerb, lendRequest{refs, c.cfg.Within}); err == nil {
				return // nothing is to be lent
			}
		}
	})
	return func() {
		cancel()
		lending.Wait()
	}
}

// Ended reports the end of a run directory's attempt to the owner; it starts
// one if there is none, but never makes a state directory.
func (c *Client) Ended(ctx context.Context, run string) error {
	if err := statedir.Check(c.cfg.Dir); err != nil {
		return fmt.Errorf("report the end of an attempt: %w", err)
	}
	_, err := call(ctx, c, endedVerb, endedRequest{Run: run})
	return err
}

// Resolve finds what a ref fits; of a whole id it is the owner's to say whether
// there is such a task.
func (c *Client) Resolve(ctx context.Context, ref string) (task.Match, error) {
	if id, err := task.ParseID(ref); err == nil {
		return task.Only(id), nil
	}
	t, err := c.Get(ctx, ref)
	if err != nil {
		return task.Match{}, err
	}
	return t.Fits(), nil
}

func (c *Client) Policy(ctx context.Context) (task.Policy, error) {
	return call(ctx, c, policyVerb, none{})
}

func (c *Client) Page(ctx context.Context, q task.DumpQuery) (task.DumpPage, error) {
	return call(ctx, c, pageVerb, q)
}

func (c *Client) Stream(ctx context.Context, id task.ID, n int, s task.Stream, offset int64, limit int) ([]byte, error) {
	out, err := call(ctx, c, streamVerb, streamRequest{id, n, s, offset, limit})
	return out.Data, err
}

// Call asks in the owner's own words.
func (c *Client) Call(ctx context.Context, verb string, in json.RawMessage) (out json.RawMessage, err error) {
	var body []byte
	_, err = c.repeat(ctx, func(a *attachment) error { return c.ask(ctx, a, verb, in, &body) })
	if h, ok := (&server{}).serves()[verb]; ok && err == nil {
		return h.plain(body)
	}
	return body, err
}

// lostError says that a request was sent and that no whole answer came.
type lostError struct{ err error }

func (e *lostError) Error() string { return "the owner gave no answer: " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// dialError says that nothing was sent, because nobody took the connection.
type dialError struct{ err error }

func (e *dialError) Error() string { return "the owner cannot be reached: " + e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// call asks the owner, and asks again where that is safe and helps.
func call[In, Out any](ctx context.Context, c *Client, v verb[In, Out], in In) (out Out, err error) {
	_, err = c.repeat(ctx, func(a *attachment) error {
		var fresh Out // nothing of a torn answer stays
		err := c.ask(ctx, a, v.name, &in, &fresh)
		out = fresh
		return err
	})
	return out, err
}

// maxLost bounds how often a request is sent again after its answer was lost: it
// may be the request itself that ends the owner.
const maxLost = 3

// repeat runs f with the owner of the moment. Every request may be sent twice,
// so f runs again on a new dial: up to maxLost times when an answer was lost, for
// StartWait when the owner was gone before or is closing. lost counts the answers.
func (c *Client) repeat(ctx context.Context, f func(a *attachment) error) (lost int, err error) {
	deadline := time.Now().Add(c.cfg.StartWait)
	for nap := newBackoff(); ; {
		a, err := c.attach(ctx)
		if err != nil {
			return lost, err
		}
		err = f(a)
		if err == nil {
			return lost, nil
		}
		if ctx.Err() != nil {
			return lost, ctx.Err()
		}
		var dead *lostError
		var unreached *dialError
		switch {
		case errors.As(err, &dead):
			c.detach(a)
			if lost++; lost > maxLost {
				return lost, &task.Error{
					Code: task.CodeOwnerGone, Message: "one owner after the other ended without an answer", Err: err,
					Hint: "See owner.log in the state directory.",
				}
			}
		case errors.As(err, &unreached), errors.Is(err, task.ErrClosing):
			c.detach(a)
			if time.Now().After(deadline) {
				return lost, err
			}
			if err := nap.sleep(ctx); err != nil {
				return lost, err
			}
		default:
			return lost, err
		}
	}
}

// backoff makes pauses that grow from 1 to 20 ms.
type backoff struct{ d time.Duration }

func newBackoff() *backoff { return &backoff{time.Millisecond} }

func (b *backoff) sleep(ctx context.Context) error {
	if !pause(ctx, b.d) {
		return ctx.Err()
	}
	b.d = min(2*b.d, 20*time.Millisecond)
	return nil
}
