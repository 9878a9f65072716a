package engine

import (
	"time"

	"cctask/engine/task"
)

// gateTime bounds how long an attempt counts as starting up: claude's start is
// bound by the processor, so only as many as there are cores may start at once.
const gateTime = 2 * time.Second

// The pool rests after a launch that failed for a reason of the machine's (disk
// full, no more processes) before it tries again: for stallTime, and twice as
// long after each further one, since each try is two lines of a task's history.
const (
	stallTime = 2 * time.Second
	stallMax  = time.Minute
)

// dispatch takes tasks off the queue, first in, first out, as slots and
// start-ups come free.
func (e *Engine) dispatch() {
	// Each attempt waits with its running status for the one before, so that
	// start times are in the queue's order though launches overlap.
	turn := make(chan struct{})
	close(turn)
	for e.acquireGate() {
		a := e.next()
		if a == nil {
			return
		}
		a.before, a.started = turn, make(chan struct{})
		turn = a.started
		e.wg.Go(func() { e.run(a) })
	}
}

func (e *Engine) acquireGate() bool {
	select {
	case e.gate <- struct{}{}:
		return true
	case <-e.ctx.Done():
		return false
	}
}

// next waits for a slot and a task; nil when the engine closes.
func (e *Engine) next() *attempt {
	for {
		if a := e.tryNext(); a != nil {
			return a
		}
		select {
		case <-e.wake:
		case <-e.ctx.Done():
			return nil
		}
	}
}

func (e *Engine) tryNext() *attempt {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining || e.busy >= e.cfg.Jobs || e.ctx.Err() != nil || time.Now().Before(e.rest) {
		return nil
	}
	id, ok := e.queue.pop()
	if !ok {
		return nil
	}
	e.busy++
	// Registered before the claim is durable, so that a cancel that comes
	// between finds whom to tell.
	a := &attempt{e: e, id: id, gated: true}
	e.live[id] = a
	return a
}

// release gives the attempt's slot back.
func (e *Engine) release(a *attempt) {
	a.openGate()
	e.mu.Lock()
	e.busy--
	if e.live[a.id] == a {
		delete(e.live, a.id)
	}
	e.mu.Unlock()
	e.poke()
}

// stall rests after a failed launch. The queue is not taken further meanwhile:
// the next task would meet the same machine.
func (e *Engine) stall() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Now().Before(e.rest) {
		return // launches that failed together are one failure
	}
	wait := min(stallTime<<min(e.failures, 10), stallMax)
	e.failures++
	e.rest = time.Now().Add(wait)
	time.AfterFunc(wait, e.poke)
}

// claims tells whether a is the attempt that may claim its task, and takes the
// task off the queue: one that was cancelled and retried since a was made may
// have another one by now.
func (e *Engine) claims(a *attempt) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.live[a.id] != a {
		return false
	}
	e.queue.remove(a.id)
	return true
}

// persist repeats a write that must not be given up, an outcome above all: a
// full disk keeps the task live, and its run directory keeps what it printed.
func (e *Engine) persist(id task.ID, f func(t *task.Task, w *task.Write) error) (task.Task, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		t, err := e.change(id, f)
		if err == nil || !transient(err) {
			return t, err
		}
		e.log.Error().Err(err).Str("task", string(id)).Msg("cannot record; trying again")
		select {
		case <-time.After(wait):
		case <-e.ctx.Done():
			return t, e.ctx.Err()
		}
	}
}
