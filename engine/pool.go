package engine

import (
	"cmp"
	"time"

	"cctask/engine/task"
)

// gateTime bounds how long an attempt counts as starting up: claude's start is
// bound by the processor, so only two a core may start at once. One a core would leave it
// idle while they wait for their first answer, and have fewer claims share a commit.
const gateTime = 2 * time.Second

// dispatch starts what choose picks, whenever something has changed or a time has come.
func (e *Engine) dispatch() {
	// Each attempt waits with its running status for the one before, so that
	// start times are in the order of the choice though launches overlap.
	turn := make(chan struct{})
	close(turn)
	for {
		e.rereadBudgets()
		chosen, at := e.choose()
		for _, a := range chosen {
			a.before, a.started = turn, make(chan struct{})
			turn = a.started
			e.wg.Go(func() { e.run(a) })
		}
		if !e.sleep(at) {
			return
		}
	}
}

// choose gives a slot to each task that may start, and tells when to ask again.
func (e *Engine) choose() (chosen []*attempt, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining || e.ctx.Err() != nil {
		return nil, time.Time{}
	}
	for name, p := range e.posts {
		if name != "" { // hosts come and go
			e.sched.limits.sites[name] = p.Where().Slots
		}
	}
	ids, at := choose(time.Now(), e.sched)
	if soon := time.Now().Add(rereadEvery); e.spentAny() && (at.IsZero() || at.After(soon)) {
		at = soon
	}
	for _, id := range ids {
		// Registered before the claim is durable, so that a cancel that comes
		// between finds whom to tell.
		a := &attempt{e: e, id: id}
		e.live[id] = a
		chosen = append(chosen, a)
	}
	return chosen, at
}

// sleep returns when something has changed, or at the given time if there is one;
// false when the engine closes.
func (e *Engine) sleep(until time.Time) bool {
	var alarm <-chan time.Time
	if !until.IsZero() {
		// A timer knows nothing of a clock that is set, and stands still while the
		// machine sleeps.
		const most = time.Minute
		t := time.NewTimer(min(time.Until(until), most))
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-e.wake:
	case <-alarm:
	case <-e.ctx.Done():
		return false
	}
	return true
}

// sleepFor is false when the engine closes.
func (e *Engine) sleepFor(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-e.ctx.Done():
		return false
	}
}

// vacate lets another task start while the end of this one is recorded.
func (e *Engine) vacate(id task.ID) {
	e.mu.Lock()
	if l := e.sched.live[id]; l != nil {
		e.sched.lend(l, 1)
	}
	e.mu.Unlock()
	e.poke()
}

// release gives the attempt's slot back.
func (e *Engine) release(a *attempt) {
	e.mu.Lock()
	delete(e.live, a.id)
	delete(e.startups.pending, a.id)
	e.ledger.fly(a.id, nil, 0) // it may have come to nothing
	if l := e.sched.live[a.id]; l != nil {
		e.forgetRoot(l.waiter.root)
	}
	e.sched.release(a.id)
	e.mu.Unlock()
	e.poke()
}

func waiterOf(p task.Place) *waiter {
	var needs map[task.ID]bool
	for _, text := range p.After {
		if needs == nil {
			needs = map[task.ID]bool{}
		}
		needs[task.ID(task.ParseNeed(text).Ref)] = true
	}
	return &waiter{
		needs: needs,
		id:    p.ID, labels: p.Labels, root: cmp.Or(p.Root, p.ID), seq: p.Seq, priority: p.Priority, depth: p.Depth, parent: p.Parent, held: p.Held, notBefore: p.NotBefore, retries: p.Retries, dir: p.Dir,
		class: class{group: cmp.Or(p.Group, task.DefaultGroup), account: accountOf(p.Account), claude: p.Claude, site: p.Site},
	}
}

// claim takes the task off the queue, where a retry may have put it again since
// it was chosen.
func (e *Engine) claim(id task.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sched.remove(id)
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
		if !e.sleepFor(wait) {
			return t, e.ctx.Err()
		}
	}
}
