package engine

import (
	"iter"
	"maps"
	"path/filepath"
	"slices"

	"cctask/engine/task"
)

// leases are the directories that live tasks have for themselves, and the lanes
// that wait for some. Two directories are in each other's way if they are the same
// or one lies in the other. Tasks that want no directory for themselves neither
// have nor need a lease.
type leases struct {
	held   map[string][]task.ID      // the holders of each directory: one, and those below it to which it lends
	below  map[string]int            // how many held ones lie in a directory
	parked map[string]map[*lane]bool // lanes, by the directory whose release concerns them
	wanted map[string]map[*lane]bool // parked lanes, by the directory that they want
	// behind are the lanes that no live task holds up, but one that came earlier and
	// waits: else a directory whose children come and go would never be free. They
	// are looked at again when that one may have stopped to be in their way.
	behind    map[*lane]bool
	disturbed bool // time to look at those
}

func newLeases() leases {
	return leases{
		held: map[string][]task.ID{}, below: map[string]int{},
		parked: map[string]map[*lane]bool{}, wanted: map[string]map[*lane]bool{}, behind: map[*lane]bool{},
	}
}

// upwards are dir and the directories around it.
func upwards(dir string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for yield(dir) {
			up := filepath.Dir(dir)
			if up == dir {
				return
			}
			dir = up
		}
	}
}

func (s *leases) acquire(dir string, id task.ID) {
	s.held[dir] = append(s.held[dir], id)
	for up := range upwards(dir) {
		if up != dir {
			s.below[up]++
		}
	}
}

func (s *leases) release(dir string, id task.ID) {
	s.held[dir] = slices.DeleteFunc(s.held[dir], func(h task.ID) bool { return h == id })
	if len(s.held[dir]) == 0 {
		delete(s.held, dir)
	}
	for up := range upwards(dir) {
		if up != dir {
			if s.below[up]--; s.below[up] == 0 {
				delete(s.below, up)
			}
		}
	}
}

// lookAgain has choose look again at the lanes that may have waited for dir.
func (s *schedule) lookAgain(dir string) {
	for up := range upwards(dir) {
		for _, l := range slices.Collect(maps.Keys(s.leases.parked[up])) {
			s.unpark(l)
		}
	}
}

// taken tells at which directory l is to be parked, because a live task has it, or
// one in it, or because one that came earlier waits for it; "" if l may go. holder
// is the task in the way, where one lookup finds it.
func (s *schedule) taken(l *lane) (at string, holder task.ID, reserved bool) {
	if l.dir == "" {
		return "", "", false
	}
	lent := false
	for up := range upwards(l.dir) {
		for _, id := range s.leases.held[up] {
			if !s.lendsTo(id, l.head) {
				return up, id, false
			}
			lent = true
		}
	}
	if s.leases.below[l.dir] > 0 {
		if !s.lendAllBelow(l) {
			return l.dir, "", false
		}
		lent = true
	}
	if lent { // whoever came earlier waits for the one that lends
		return "", "", false
	}
	for up := range upwards(l.dir) {
		for other := range s.leases.wanted[up] {
			if other != l && other.head.before(l.head) && !s.heldUp(other.queue.class) {
				return up, other.head.id, true
			}
		}
	}
	return "", "", false
}

// lendsTo tells whether a live task waits for others and w is below it: then w may have
// its directory, as it may have its slot, or neither would ever end.
func (s *schedule) lendsTo(id task.ID, w *waiter) bool {
	if l := s.live[id]; l == nil || l.lent == 0 {
		return false
	}
	for up := w.parent; up != id; up = s.live[up].waiter.parent {
		if s.live[up] == nil {
			return false
		}
	}
	return true
}

// lendAllBelow tells it of all holders of what lies in the directory of l.
func (s *schedule) lendAllBelow(l *lane) bool {
	for dir, holders := range s.leases.held {
		for _, id := range holders {
			if slices.Contains(slices.Collect(upwards(dir)), l.dir) && !s.lendsTo(id, l.head) {
				return false
			}
		}
	}
	return true
}

// heldUp tells whether a class waits for something else than a directory.
func (s *schedule) heldUp(c class) bool {
	for _, o := range c.obstacles() {
		if _, closed := s.closed[o]; closed {
			return true
		}
	}
	return s.groupFull(c.group) || c.site != "" && s.siteFull(c.site)
}

// park takes a lane out of choose's sight until at is released.
func (s *schedule) park(l *lane, at string, behind bool) {
	l.queue.lanes.remove(l)
	l.at = at
	add := func(m map[string]map[*lane]bool, dir string) {
		if m[dir] == nil {
			m[dir] = map[*lane]bool{}
		}
		m[dir][l] = true
	}
	add(s.leases.parked, at)
	add(s.leases.wanted, l.dir)
	if behind {
		s.leases.behind[l] = true
	}
}

// unpark has choose look at a lane again.
func (s *schedule) unpark(l *lane) {
	s.leases.forget(l)
	s.list(l)
}

// forget takes a lane from where it is parked. It wants its directory no more, so
// those behind it are looked at again.
func (s *leases) forget(l *lane) {
	drop := func(m map[string]map[*lane]bool, dir string) {
		delete(m[dir], l)
		if len(m[dir]) == 0 {
			delete(m, dir)
		}
	}
	drop(s.parked, l.at)
	drop(s.wanted, l.dir)
	delete(s.behind, l)
	l.at = ""
	s.disturbed = s.disturbed || len(s.behind) > 0
}

// lookBehind has choose look again at what waited behind another, if that may have
// stopped to be in the way.
func (s *schedule) lookBehind() {
	if !s.leases.disturbed {
		return
	}
	for l := range s.leases.behind {
		s.unpark(l)
	}
	s.leases.disturbed = false // by that itself
}

// giveWay has choose look again at the lanes whose first task can spend nothing
// any more: that one must keep no directory from others.
func (s *schedule) giveWay(budget string) {
	for _, lanes := range s.leases.wanted {
		for l := range lanes {
			if slices.Contains(l.head.budgets, budget) {
				s.unpark(l)
			}
		}
	}
}
