package engine

import (
	"cmp"
	"time"

	"cctask/engine/task"
)

// choose decides which of the waiting tasks start now, and when to ask again
// though nothing has happened. It is a function of its arguments alone: no
// clock, no lock, no database. What it starts is live in s when it returns.
//
// Of those that may start, the one of the highest priority goes first, then the
// one that has waited longest. Whatever holds one task up holds up no other one:
// a group that is full, a gate that is closed, a directory that is taken.
func choose(now time.Time, s *schedule) (start []task.ID, wake time.Time) {
	s.comeDue(now)
	for s.room("") == "" || len(s.limits.sites) > 0 {
		w := s.next(now)
		if w == nil {
			break
		}
		s.start(w, now)
		start = append(start, w.id)
	}
	return start, s.wake(now)
}

// comeDue lets in what waited for a moment that has come.
func (s *schedule) comeDue(now time.Time) {
	for w, ok := s.timed.first(); ok && !now.Before(w.notBefore); w, ok = s.timed.first() {
		s.timed.remove(w)
		w.timed, w.notBefore = false, time.Time{}
		s.advance(w)
	}
	for o, c := range s.closed {
		if s.closes(o, now) {
			continue
		}
		if !c.probe && c.left == 0 {
			delete(s.closed, o)
		}
		s.reopened(o)
	}
}

// next is the first task that nothing holds up; nil if there is none. What it
// finds held up by a budget or a directory is parked there, so that no later
// call looks at it again before that has changed.
func (s *schedule) next(now time.Time) *waiter {
	for {
		s.lookBehind()
		var l *lane
		for _, q := range s.queues {
			first, ok := q.lanes.first()
			if ok && (l == nil || first.head.before(l.head)) && s.classObstacle(q.class, now) == "" {
				l = first
			}
		}
		if l == nil {
			return nil
		}
		if o, spent := s.spentBudget(l.head, now); spent {
			s.parkAtBudget(l.head, o)
		} else if at, _, reserved := s.taken(l); at != "" {
			s.park(l, at, reserved)
		} else {
			return l.head
		}
	}
}

// closes tells whether o holds up whom it concerns. A gate whose time has come
// lets one task through as a probe, and the others when somebody opens it.
func (s *schedule) closes(o obstacle, now time.Time) bool {
	c, ok := s.closed[o]
	switch {
	case !ok:
		return false
	case c.until.IsZero() || now.Before(c.until):
		return true
	default:
		return c.probe && c.probing != ""
	}
}

// classObstacle is what holds up all of a class; "" if nothing does.
func (s *schedule) classObstacle(c class, now time.Time) task.WaitingFor {
	if len(s.closed) > 0 {
		for _, o := range c.obstacles() {
			if s.closes(o, now) {
				return o.kind
			}
		}
	}
	if s.groupFull(c.group) {
		return task.WaitGroupSlot
	}
	return s.room(c.site)
}

// room is what a task waits for where it is to run; "" if there is room.
func (s *schedule) room(site string) task.WaitingFor {
	switch {
	case site != "" && s.siteFull(site):
		return task.WaitSite
	case site != "":
		return ""
	case s.slots >= s.limits.jobs:
		return task.WaitSlot
	case s.starting >= s.limits.startups:
		return task.WaitStartingUp
	}
	return ""
}

func (s *schedule) siteFull(site string) bool { return s.sites[site] >= s.limits.sites[site] }

func (s *schedule) groupFull(group string) bool {
	most := s.limits.groups[group]
	return most > 0 && s.groups[group] >= most
}

func (s *schedule) spentBudget(w *waiter, now time.Time) (obstacle, bool) {
	for _, b := range w.budgets {
		if o := (obstacle{task.WaitBudget, b}); s.closes(o, now) {
			return o, true
		}
	}
	return obstacle{}, false
}

// wake is when something changes by time alone; zero: never.
func (s *schedule) wake(now time.Time) (at time.Time) {
	sooner := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if w, ok := s.timed.first(); ok {
		sooner(w.notBefore)
	}
	for _, c := range s.closed {
		sooner(c.until)
	}
	return at
}

// position is a task's place from 1 among those that only wait for their turn;
// 0 for any other.
func (s *schedule) position(id task.ID) int {
	w := s.waiters[id]
	if w == nil || !w.ready {
		return 0
	}
	return s.ready.rank(w) + 1
}

// waiting is why a task does not run yet; the zero Waiting for one that does not wait.
func (s *schedule) waiting(id task.ID, now time.Time) task.Waiting {
	w := s.waiters[id]
	switch {
	case w == nil && s.live[id] != nil: // chosen, and not recorded yet
		return task.Waiting{For: task.WaitStartingUp}
	case w == nil:
		return task.Waiting{}
	case w.held:
		return task.Waiting{For: task.WaitHeld}
	case now.Before(w.notBefore):
		return task.Waiting{For: w.timeFor(), Until: w.notBefore}
	case len(w.needs) > 0:
		return task.Waiting{For: task.WaitDependency, On: w.unmet()}
	case s.live[id] != nil:
		return task.Waiting{For: task.WaitStartingUp}
	}
	if first, ok := s.firstObstacle(w, now); ok {
		return task.Waiting{For: first.kind, Until: s.closed[first].until, On: first.names()}
	}
	if w.class.site == "" && s.slots >= s.limits.jobs {
		return task.Waiting{For: task.WaitSlot}
	}
	return task.Waiting{For: task.WaitStartingUp}
}

// firstObstacle is the first, in the order of task.WaitingFors, of those that
// hold up a task which has nothing of its own to wait for.
func (s *schedule) firstObstacle(w *waiter, now time.Time) (obstacle, bool) {
	directory := func() (obstacle, bool) {
		at, holder, _ := s.taken(&lane{laneKey: laneOf(w), head: w})
		return obstacle{task.WaitDirectory, cmp.Or(string(holder), at)}, at != ""
	}
	var found []obstacle
	for _, o := range w.class.obstacles() {
		if s.closes(o, now) {
			found = append(found, o)
		}
	}
	if o, spent := s.spentBudget(w, now); spent {
		found = append(found, o)
	}
	if o, taken := directory(); taken {
		found = append(found, o)
	}
	if site := w.class.site; site != "" && s.siteFull(site) {
		found = append(found, obstacle{task.WaitSite, site})
	}
	if s.groupFull(w.class.group) {
		found = append(found, obstacle{task.WaitGroupSlot, w.class.group})
	}
	for _, kind := range task.WaitingFors {
		for _, o := range found {
			if o.kind == kind {
				return o, true
			}
		}
	}
	return obstacle{}, false
}
