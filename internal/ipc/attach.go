package ipc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"cctask/engine/task"
)

// attach returns the owner, looking for it or starting it if need be. One
// call looks; the others wait for what it finds.
func (c *Client) attach(ctx context.Context) (*attachment, error) {
	if a := c.att.Load(); a != nil {
		return a, nil
	}
	select {
	case c.finding <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.finding }()
	if a := c.att.Load(); a != nil {
		return a, nil
	}
	a, err := c.find(ctx, c.cfg.AutoStart, c.cfg.AutoStart)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	c.warn(a.hello)
	c.att.Store(a)
	return a, nil
}

func (c *Client) detach(a *attachment) {
	c.att.CompareAndSwap(a, nil)
	a.close()
}

// warn tells once what the owner has to say, and that it has other settings than
// were asked for.
func (c *Client) warn(h Hello) {
	d := c.cfg.Settings.differences(h.Settings, c.cfg.Explicit)
	if h.Notice == "" && d == "" || !c.warned.CompareAndSwap(false, true) {
		return
	}
	if h.Notice != "" {
		c.cfg.Warn(h.Notice)
	}
	if d != "" {
		c.cfg.Warn(fmt.Sprintf("the running owner (process %d) has %s; to change it: `cctask daemon stop`, then the same command again (running tasks go on)", h.PID, d))
	}
}

type state int

const (
	vacant   state = iota // nobody holds the lock
	changing              // somebody holds it but does not say yet who, or moved on meanwhile
	starting
	closing
	hung  // serves, and left two hellos unanswered
	older // serves in a language before ours, in which it can be told to leave
	served
)

// look finds out how things stand. The attachment is set for served only.
func (c *Client) look(ctx context.Context) (state, Lock, *attachment, error) {
	l, held, err := Inspect(c.cfg.Dir)
	switch {
	case err != nil:
		return vacant, l, nil, err
	case !held:
		return vacant, l, nil, nil
	case l.Phase != PhaseServing && !l.alive():
		return changing, l, nil, nil
	case l.Phase == PhaseEmbedded:
		return changing, l, nil, lockedBy(c.cfg.Dir, l)
	case l.older() && l.Phase == PhaseServing:
		return older, l, newAttachment(l), nil
	case l.Protocol != Protocol && !l.older():
		return changing, l, nil, versionError(l.Version, strconv.Itoa(l.Protocol), strconv.Itoa(Protocol))
	case l.Phase == PhaseStarting:
		return starting, l, nil, nil
	case l.Phase == PhaseClosing:
		return closing, l, nil, nil
	}
	a := newAttachment(l)
	a.hello, err = c.greet(ctx, a)
	if err == nil {
		return served, l, a, nil
	}
	a.close()
	switch {
	case errors.Is(err, task.ErrVersion):
		return changing, l, nil, err
	case errors.Is(err, errHung):
		return hung, l, nil, nil
	}
	return changing, l, nil, ctx.Err()
}

// find loops over looks until an owner answers. start: one may be started, or
// asked to hand over. kill: one that hangs may be killed.
func (c *Client) find(ctx context.Context, start, kill bool) (*attachment, error) {
	deadline := time.Now().Add(c.cfg.StartWait)
	nap, handedOver, silent := newBackoff(), false, 0
	for {
		st, l, a, err := c.look(ctx)
		if err != nil {
			return nil, err
		}
		late := time.Now().After(deadline)
		done := false // something that the next look shows at once
		switch {
		case st == served && (!start || handedOver || late || !newer(c.cfg.Version, l.Version)):
			return a, nil
		case st == older && !start && kill: // to stop it
			return a, nil
		case st == older && (!start || handedOver || late):
			return nil, versionError(l.Version, strconv.Itoa(l.Protocol), strconv.Itoa(Protocol))
		case st == served || st == older:
			done, err = c.handOver(ctx, a, deadline)
			handedOver = done
			a.close()
		case st == vacant && !start:
			return nil, goneError(c.cfg.Dir)
		case st == hung && !kill:
			return nil, hungError(l)
		case st == hung:
			err = c.kill(l)
		case late && st == closing && kill:
			// It took its time, and holds up every front. No task notices.
			err, deadline = c.kill(l), time.Now().Add(c.cfg.StartWait)
		case late:
			return nil, lateError(c.cfg.Dir, st, l)
		case st == vacant:
			done, err = c.start(ctx, deadline)
		}
		// Whoever kills owners may kill one that starts. One that dies of itself
		// does so again, and then it is an error.
		if errors.Is(err, errSilent) && silent < maxSilent && !late {
			silent, done, err = silent+1, false, nil
		}
		if err != nil {
			return nil, err
		}
		if !done {
			err = nap.sleep(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
}

// maxSilent bounds how many owners a call starts after one that ended while it
// started. Of kills at random, one in 0.4 s on average, three in a row hit a
// start of 0.15 s once in a hundred calls, and eleven never.
const maxSilent = 10

func goneError(dir string) error {
	return &task.Error{Code: task.CodeOwnerGone, Message: "no owner runs on " + dir, Hint: "`cctask list` and most other commands start one."}
}

func hungError(l Lock) error {
	return task.Errorf(task.CodeOwnerGone, "`cctask list` and most other commands replace it; running tasks go on.", "the owner (process %d) does not answer", l.PID)
}

func lateError(dir string, st state, l Lock) error {
	if st == starting {
		return task.Errorf(task.CodeOwnerStarting, "Try again in a minute; owner.log in the state directory says what it does.",
			"the owner (process %d) still starts: it migrates or recovers the database", l.PID)
	}
	if st == vacant {
		return &task.Error{Code: task.CodeOwnerGone, Message: "no owner came to serve " + dir, Hint: "See owner.log in the state directory."}
	}
	return lockedBy(dir, l)
}

var errHung = errors.New("the owner does not answer")

// greet says hello, twice if need be. errHung: the owner was there and silent.
func (c *Client) greet(ctx context.Context, a *attachment) (Hello, error) {
	for range 2 {
		h, err := c.helloOnce(ctx, a)
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return h, err
		}
	}
	return Hello{}, errHung
}

func (c *Client) helloOnce(ctx context.Context, a *attachment) (h Hello, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.helloWait)
	defer cancel()
	for {
		err := a.roundTrip(ctx, helloVerb.name, none{}, &h)
		// A hung owner's queue of connections is full: that is silence too.
		if !errors.Is(err, syscall.EAGAIN) {
			return h, err
		}
		if !pause(ctx, 10*time.Millisecond) {
			return h, ctx.Err()
		}
	}
}

// guard watches the owner from the moment that a request takes longer than a
// hello may. A request that waits for a process tree's death takes long and proves
// nothing, so guard says hello beside it. An owner that hangs is killed: the
// request fails at once and is repeated. Without AutoStart the request's context
// ends with the reason.
func (c *Client) guard(ctx context.Context, a *attachment) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := time.AfterFunc(c.helloWait, func() {
		for ctx.Err() == nil {
			switch _, err := c.greet(ctx, a); {
			case !errors.Is(err, errHung):
			case !c.cfg.AutoStart:
				cancel(hungError(a.lock))
			default:
				_ = c.kill(a.lock)
			}
			pause(ctx, 2*c.helloWait)
		}
	})
	return ctx, func() {
		t.Stop()
		cancel(nil)
	}
}

// ask is a guarded round trip.
func (c *Client) ask(ctx context.Context, a *attachment, verb string, in, out any) error {
	guarded, stop := c.guard(ctx, a)
	defer stop()
	err := a.roundTrip(guarded, verb, in, out)
	if err != nil && errors.Is(context.Cause(guarded), task.ErrOwnerGone) {
		return context.Cause(guarded)
	}
	return err
}
