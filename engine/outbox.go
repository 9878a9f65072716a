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

// atOnce is how many notices are told at the same time: fewer that hang keep none of the others waiting.
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
	t := telling{slots: make(chan struct{}, atOnce), ids: map[string]bool{}}
	defer t.all.Wait()
	for e.ctx.Err() == nil {
		next, err := e.tellAll(&t, time.Now())
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

// telling is what is being told, so that a look at the outbox neither waits for it nor
// tells it twice.
type telling struct {
	all   sync.WaitGroup
	slots chan struct{}
	ids   map[string]bool // of notices that are being told, or were since the last look

	mu    sync.Mutex
	ended []string // of these, those that are told no more
}

// end notes that a notice is told no more, which the next look heeds.
func (t *telling) end(id string) {
	t.mu.Lock()
	t.ended = append(t.ended, id)
	t.mu.Unlock()
}

// forget lets what has ended be told again. What came of it is in the outbox by then, so
// this must come before the outbox is read.
func (t *telling) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range t.ended {
		delete(t.ids, id)
	}
	t.ended = nil
}

// tellAll begins to tell of what is due and says when the next try is; zero: none is to come.
func (e *Engine) tellAll(t *telling, now time.Time) (next time.Time, _ error) {
	t.forget()
	list, err := e.store.Outbox() // tasks may have been removed, and others have ended
	if err != nil {
		return next, fmt.Errorf("read the outbox: %w", err)
	}
	e.setUntold(list)
	for _, n := range list {
		switch {
		case t.ids[n.ID()]:
		case due(n, now):
			select {
			case t.slots <- struct{}{}:
			case <-e.ctx.Done():
				return next, nil
			}
			t.ids[n.ID()] = true
			t.all.Go(func() { e.tellOne(t, n) })
		case !n.Next.IsZero() && (next.IsZero() || n.Next.Before(next)):
			next = n.Next
		}
	}
	return next, nil
}

// tellOne tells a notice and has the outbox looked at again. What came of it could not be
// recorded where that fails: then it is told again, but not at once.
func (e *Engine) tellOne(t *telling, n task.Notice) {
	err := e.tell(n)
	<-t.slots
	if err != nil && e.ctx.Err() == nil {
		e.log.Warn().Err(err).Msg("outbox")
		select {
		case <-time.After(time.Minute):
		case <-e.ctx.Done():
		}
	}
	t.end(n.ID())
	e.tellSoon()
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
		err := e.mayTell(c, t)
		if errors.Is(err, task.ErrPolicy) {
			e.log.Warn().Err(err).Str("task", string(n.Task)).Msg("tell of an end")
			continue
		}
		if err == nil {
			err = e.cfg.Herald.Tell(e.ctx, c, t, n.ID(), body)
		}
		if err != nil {
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

// mayTell asks the policy of this moment about a task's own command: it may have come
// since the task was queued, and ended it itself.
func (e *Engine) mayTell(c task.Channel, t task.Task) error {
	if c != task.ChannelTask {
		return nil
	}
	p, err := e.Policy()
	if err == nil {
		err = p.MayNotify(t.Spec)
	}
	if err == nil {
		err = t.Policy.MayNotify(t.Spec)
	}
	return err
}
