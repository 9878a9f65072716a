package engine

import "cctask/engine/task"

// classQueue holds the tasks of one class, in lanes by the directory that they
// want for themselves: of those that want the same one, only the first matters.
type classQueue struct {
	class class
	lanes ordered[*lane] // those that are not parked, by their heads
	byDir map[laneKey]*lane
}

// laneKey is what the tasks of a lane share. To those of one parent a directory is lent
// that others wait for.
type laneKey struct {
	dir    string
	parent task.ID // of those that want a directory
}

func laneOf(w *waiter) laneKey {
	if w.dir == "" {
		return laneKey{}
	}
	return laneKey{w.dir, w.parent}
}

// lane holds the tasks of a class that want the same directory for themselves,
// or none.
type lane struct {
	laneKey
	queue   *classQueue
	waiters ordered[*waiter]
	head    *waiter // the first
	at      string  // the directory at which the lane is parked; "" if it is not
}

// enqueue puts a task into its lane.
func (s *schedule) enqueue(w *waiter) {
	q := s.queues[w.class]
	if q == nil {
		q = &classQueue{class: w.class, byDir: map[laneKey]*lane{}, lanes: ordered[*lane]{less: func(a, b *lane) bool { return a.head.before(b.head) }}}
		s.queues[w.class] = q
	}
	key := laneOf(w)
	l := q.byDir[key]
	if l == nil {
		l = &lane{queue: q, laneKey: key, waiters: ordered[*waiter]{less: (*waiter).before}}
		q.byDir[key] = l
	}
	s.unlist(l)
	l.waiters.insert(w)
	w.lane = l
	s.list(l)
}

// dequeue takes a task out of its lane.
func (s *schedule) dequeue(w *waiter) {
	l := w.lane
	s.unlist(l)
	l.waiters.remove(w)
	w.lane = nil
	s.list(l)
}

// unlist takes a lane out of its queue, from where choose sees it or from where
// it is parked: its first task is about to change.
func (s *schedule) unlist(l *lane) {
	if l.at != "" {
		s.leases.forget(l)
	} else if l.head != nil {
		l.queue.lanes.remove(l)
	}
	l.head = nil
}

// list puts a lane where choose sees it, and forgets it if nobody is in it.
func (s *schedule) list(l *lane) {
	head, ok := l.waiters.first()
	if ok {
		l.head = head
		l.queue.lanes.insert(l)
		return
	}
	delete(l.queue.byDir, l.laneKey)
	if len(l.queue.byDir) == 0 {
		delete(s.queues, l.queue.class)
	}
}
