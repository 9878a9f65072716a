package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"cctask/engine/task"
)

// Herald tells people that tasks have ended.
type Herald interface {
	// Channels are those that are to be told of the end of t.
	Channels(t task.Task) []task.Channel
	// Tell brings body, which is about t, to a channel, once. It may take its time, and
	// is called by several at once.
	Tell(ctx context.Context, c task.Channel, t task.Task, id string, body []byte) error
}

// atOnce is how many notices are told at the same time: one that hangs keeps few others waiting.
const atOnce = 8

// notice is the entry of the outbox about the end of t, for the commit of that end:
// an owner that dies before it has told anybody leaves it to the next one.
func (e *Engine) notice(t task.Task, at time.Time) *task.Notice {
	if e.cfg.Herald == nil {
		return nil
	}
	to := e.cfg.Herald.Channels(t)
	if len(to) == 0 {
		return nil
	}
	return &task.Notice{Task: t.ID, Attempt: t.Attempt, Status: t.Status, At: at, Left: to}
}

func (e *Engine) tellSoon() {
	select {
	case e.toTell <- struct{}{}:
	default:
	}
}

// outbox tells of ends, and tries again what failed when its time has come.
func (e *Engine) outbox() {
	for {
		next, err := e.tellAll(time.Now())
		if err != nil && e.ctx.Err() == nil {
			e.log.Warn().Err(err).Msg("outbox")
			next = time.Now().Add(time.Minute)
		}
		var alarm <-chan time.Time
		if !next.IsZero() {
			// A timer stands still while the machine sleeps.
			alarm = time.After(min(time.Until(next), time.Minute))
		}
		select {
		case <-e.toTell:
		case <-alarm:
		case <-e.ctx.Done():
			return
		}
	}
}

// tellAll tells of what is due and says when the next try is; zero: none is to come.
func (e *Engine) tellAll(now time.Time) (next time.Time, _ error) {
	list, err := e.store.Outbox()
	if err != nil {
		return next, fmt.Errorf("read the outbox: %w", err)
	}
	e.setUntold(list)
	slots := make(chan struct{}, atOnce)
	errs := make([]error, len(list))
	var told sync.WaitGroup
	for i := range list {
		if n := list[i]; due(n, now) {
			slots <- struct{}{}
			told.Go(func() {
				defer func() { <-slots }()
				errs[i] = e.tell(n)
			})
		}
	}
	told.Wait()
	list, err = e.store.Outbox() // tasks may have been removed, and others have ended
	if err != nil {
		return next, fmt.Errorf("read the outbox: %w", err)
	}
	e.setUntold(list)
	return soonest(list), errors.Join(errs...)
}

func (e *Engine) setUntold(list []task.Notice) {
	e.mu.Lock()
	e.untold = list
	e.mu.Unlock()
}

// due tells whether a notice is to be told now.
func due(n task.Notice, now time.Time) bool {
	return n.Tries == 0 || !n.Next.IsZero() && !now.Before(n.Next)
}

// soonest is when the first of them is tried again; zero: none is.
func soonest(list []task.Notice) (at time.Time) {
	for _, n := range list {
		if n.Tries == 0 { // came while others were told
			return n.At
		}
		if !n.Next.IsZero() && (at.IsZero() || n.Next.Before(at)) {
			at = n.Next
		}
	}
	return at
}

// message is what is told of an end. ID is the same however often it is told.
type message struct {
	ID      string      `json:"id"`
	Status  task.Status `json:"status"`
	Attempt int         `json:"attempt"`
	At      time.Time   `json:"at"`
	Task    task.View   `json:"task"`
}

// tell brings a notice to the channels that it has left, and records what came of
// that only then: a death between the two tells it twice, never not at all.
func (e *Engine) tell(n task.Notice) error {
	t, err := e.get(n.Task)
	if errors.Is(err, task.ErrNotFound) {
		return nil // removed, and its notices with it
	}
	if err != nil {
		return err
	}
	body, err := json.Marshal(message{n.ID(), n.Status, n.Attempt, n.At, task.NewView(t, time.Now())})
	if err != nil {
		return err
	}
	var left []task.Channel
	var faults []error
	for _, c := range n.Left {
		if err := e.cfg.Herald.Tell(e.ctx, c, t, n.ID(), body); err != nil {
			left, faults = append(left, c), append(faults, fmt.Errorf("%s: %w", c, err))
		}
	}
	if e.ctx.Err() != nil {
		return nil // cut short by this owner's end, which is no fault of theirs
	}
	if len(left) == 0 {
		n.Left = nil
		return e.store.Told(n)
	}
	fault := errors.Join(faults...)
	n = n.Tried(time.Now(), left, fault.Error())
	e.log.Warn().Err(fault).Str("task", string(n.Task)).Int("tries", n.Tries).Msg("tell of an end")
	return e.store.Told(n)
}
