package engine

import (
	"maps"
	"slices"
	"time"

	"cctask/engine/task"
)

// schedule is what choose decides from: who waits, what is live, and what holds
// whom up. It is derived from the database when the owner starts, kept in memory
// and changed as things happen, each change in the logarithm of what waits.
// Guarded by Engine.mu.
type schedule struct {
	limits  limits
	waiters map[task.ID]*waiter
	ready   ordered[*waiter] // those that only wait for their turn
	timed   ordered[*waiter] // those whose time has not come, the soonest first
	needed  map[task.ID]map[*waiter]bool
	queues  map[class]*classQueue
	parked  map[obstacle]map[*waiter]bool // by a budget
	closed  map[obstacle]closure
	leases  leases

	live     map[task.ID]*slot
	slots    int            // taken by tasks that do not lend theirs
	starting int            // of them, how many are between their start and their first sign of life
	groups   map[string]int // the same of each group
	sites    map[string]int // the same of each site beside this machine; these take none of slots
}

// limits are the numbers of the settings.
type limits struct {
	jobs     int            // most live tasks
	startups int            // most that start up at once
	groups   map[string]int // most live tasks of a group; none: as many as jobs
	sites    map[string]int // most live tasks of a site; these take none of the jobs
}

// waiter is a queued task as the scheduler knows it.
type waiter struct {
	id       task.ID
	seq      uint64 // when it entered the queue, in the order of all entries
	priority int
	depth    int     // how many tasks stand above it
	parent   task.ID // the next one above it
	class    class
	held     bool
	// notBefore is the earliest start; zero once it has come, so that a clock which
	// is set back stops nothing. retries tells that it is the pause before a retry.
	notBefore time.Time
	retries   bool
	needs     map[task.ID]bool // tasks whose ends it waits for
	dir       string           // directory that it wants for itself, links resolved; "" for none
	labels    []string
	root      task.ID  // the task at the top of those that it is a part of; itself, where it is of none
	budgets   []string // scopes whose money it spends, beside the day's

	timed bool     // it is in schedule.timed
	ready bool     // it is in schedule.ready
	lane  *lane    // where it waits for its turn; nil before and while it is parked
	spent obstacle // the budget at which it is parked
}

// class is what a task shares with others that are held up together.
type class struct{ group, account, claude, site string }

// obstacle is something that holds up whom it concerns: an account's usage
// limit, a group's pause, a budget that is spent.
type obstacle struct {
	kind task.WaitingFor
	name string
}

// names is what waiting_on says of it.
func (o obstacle) names() []string {
	if o.name == "" {
		return nil
	}
	return []string{o.name}
}

// obstacles are all that can hold up a whole class but its group's number of slots.
func (c class) obstacles() [8]obstacle {
	return [...]obstacle{
		{task.WaitUsageLimit, c.account},
		{task.WaitBudget, task.ScopeDay},
		{task.WaitGroupPaused, ""}, // the whole queue
		{task.WaitGroupPaused, c.group},
		{task.WaitPolicy, ""},
		{task.WaitClaudeMissing, c.claude},
		{task.WaitSite, c.site},
		{task.WaitStartingUp, ""},
	}
}

// closure is an obstacle that stands: until somebody opens it, or until its time.
type closure struct {
	until   time.Time // zero: until somebody opens it
	probe   bool      // after its time one task goes first, and the rest when that opens it
	probing task.ID
	// One that comes back lets so many through one by one, a pace apart.
	pace time.Duration
	left int
}

type slot struct {
	waiter   *waiter
	starting bool
	lent     int     // for how many reasons others may have the slot: it waits for tasks below it, it has ended
	again    *waiter // queued once more before its last attempt has let go
}

// before is the order in which tasks start when nothing holds them up.
func (w *waiter) before(v *waiter) bool {
	if w.priority != v.priority {
		return w.priority > v.priority
	}
	// Of what is under way, the rest goes before what is not: else each of a hundred
	// tasks that share out their work would live until the last one has begun.
	if w.depth != v.depth {
		return w.depth > v.depth
	}
	return w.seq < v.seq
}

func (w *waiter) timeFor() task.WaitingFor {
	if w.retries {
		return task.WaitRetryAt
	}
	return task.WaitStartAt
}

// unmet are the ids of the tasks that it waits for.
func (w *waiter) unmet() (ids []string) {
	for _, id := range slices.Sorted(maps.Keys(w.needs)) {
		ids = append(ids, string(id))
	}
	return ids
}

func newSchedule(l limits) *schedule {
	if l.sites == nil {
		l.sites = map[string]int{}
	}
	return &schedule{
		limits: l, waiters: map[task.ID]*waiter{}, needed: map[task.ID]map[*waiter]bool{},
		ready: ordered[*waiter]{less: (*waiter).before},
		timed: ordered[*waiter]{less: func(w, v *waiter) bool {
			return w.notBefore.Before(v.notBefore) || w.notBefore.Equal(v.notBefore) && w.seq < v.seq
		}},
		queues: map[class]*classQueue{}, parked: map[obstacle]map[*waiter]bool{}, closed: map[obstacle]closure{},
		leases: newLeases(), live: map[task.ID]*slot{}, groups: map[string]int{}, sites: map[string]int{},
	}
}

// add takes a task that is queued, or that has changed while it was. One whose
// last attempt has not let go yet is kept back until then.
func (s *schedule) add(w *waiter) {
	if old := s.waiters[w.id]; old != nil {
		s.withdraw(old)
	}
	s.waiters[w.id] = w
	for id := range w.needs {
		if s.needed[id] == nil {
			s.needed[id] = map[*waiter]bool{}
		}
		s.needed[id][w] = true
	}
	if l := s.live[w.id]; l != nil {
		l.again = w
		return
	}
	s.advance(w)
}

// advance puts w where the first thing that it waits for will find it.
func (s *schedule) advance(w *waiter) {
	switch {
	case w.held:
	case !w.notBefore.IsZero():
		w.timed = true
		s.timed.insert(w)
	case len(w.needs) > 0:
	default:
		w.ready = true
		s.ready.insert(w)
		s.enqueue(w)
	}
}

// remove forgets a task that has left the queue without a start.
func (s *schedule) remove(id task.ID) {
	if w := s.waiters[id]; w != nil {
		s.withdraw(w)
		delete(s.waiters, id)
	}
}

// withdraw undoes advance.
func (s *schedule) withdraw(w *waiter) {
	if l := s.live[w.id]; l != nil && l.again == w {
		l.again = nil
	}
	if w.timed {
		s.timed.remove(w)
		w.timed = false
	}
	for id := range w.needs {
		s.forgetNeed(id, w)
	}
	if w.ready {
		s.ready.remove(w)
		w.ready = false
	}
	switch {
	case w.lane != nil:
		s.dequeue(w)
	case w.spent != obstacle{}:
		delete(s.parked[w.spent], w)
		w.spent = obstacle{}
	}
}

func (s *schedule) forgetNeed(id task.ID, w *waiter) {
	delete(s.needed[id], w)
	if len(s.needed[id]) == 0 {
		delete(s.needed, id)
	}
}

// meet takes from w a task for whose end it waited.
func (s *schedule) meet(w *waiter, id task.ID) {
	if !w.needs[id] {
		return
	}
	s.forgetNeed(id, w)
	delete(w.needs, id)
	if len(w.needs) == 0 && !w.timed && s.live[w.id] == nil {
		s.advance(w)
	}
}

// start makes a waiting task live.
func (s *schedule) start(w *waiter, now time.Time) {
	s.remove(w.id)
	s.occupy(w, true)
	for _, o := range w.concerned() {
		c, ok := s.closed[o]
		switch {
		case !ok:
		case c.probe:
			c.probing = w.id
			s.closed[o] = c
		case c.left > 1:
			c.left, c.until = c.left-1, now.Add(c.pace)
			s.closed[o] = c
		case c.left == 1:
			delete(s.closed, o)
		}
	}
}

// concerned are all obstacles that can hold w up.
func (w *waiter) concerned() []obstacle {
	of := w.class.obstacles()
	list := of[:]
	for _, b := range w.budgets {
		list = append(list, obstacle{task.WaitBudget, b})
	}
	return list
}

// occupy gives a slot to w, which starts, or ran before this owner did.
func (s *schedule) occupy(w *waiter, starting bool) {
	starting = starting && w.class.site == "" // whoever starts elsewhere takes no time of this machine
	s.live[w.id] = &slot{waiter: w, starting: starting}
	if starting {
		s.starting++
	}
	s.count(w, 1)
	if w.dir != "" {
		s.leases.acquire(w.dir, w.id)
	}
}

// count adds to the slots that are taken, of the queue or a site, and of the task's group.
func (s *schedule) count(w *waiter, by int) {
	if site := w.class.site; site != "" {
		s.sites[site] += by
		s.leases.disturbed = s.leases.disturbed || by > 0 && s.siteFull(site)
	} else {
		s.slots += by
	}
	group := w.class.group
	if s.groups[group] += by; s.groups[group] == 0 {
		delete(s.groups, group)
	}
	s.leases.disturbed = s.leases.disturbed || by > 0 && s.groupFull(group)
}

// started lets the next start-up in; false if id had done so before.
func (s *schedule) started(id task.ID) bool {
	l := s.live[id]
	if l == nil || !l.starting {
		return false
	}
	l.starting = false
	s.starting--
	return true
}

// lend lets others have the slot of a task for one reason more, or for one less: then
// there may for a time be more live tasks than slots. A site's are taken until nothing
// is left there.
func (s *schedule) lend(l *slot, by int) {
	if l.waiter.class.site != "" {
		return
	}
	lent := l.lent > 0
	l.lent += by
	switch {
	case !lent && l.lent > 0:
		s.count(l.waiter, -1)
		if dir := l.waiter.dir; dir != "" { // those below it may have that too
			s.lookAgain(dir)
		}
	case lent && l.lent == 0:
		s.count(l.waiter, 1)
	}
}

// release takes back the slot of a task whose attempt has let go of everything.
func (s *schedule) release(id task.ID) {
	l := s.live[id]
	if l == nil {
		return
	}
	s.started(id)
	delete(s.live, id)
	if l.lent == 0 {
		s.count(l.waiter, -1)
	}
	for _, o := range l.waiter.concerned() {
		if c, ok := s.closed[o]; ok && c.probing == id {
			c.probing = ""
			s.closed[o] = c
		}
	}
	if l.waiter.dir != "" {
		s.leases.release(l.waiter.dir, id)
		s.lookAgain(l.waiter.dir)
	}
	if l.again != nil {
		s.advance(l.again)
	}
}

// close lets an obstacle stand, in place of what stood there before.
func (s *schedule) close(o obstacle, c closure) {
	s.closed[o] = c
	s.leases.disturbed = true
	if o.kind == task.WaitBudget {
		s.giveWay(o.name)
	}
}

// open takes an obstacle away.
func (s *schedule) open(o obstacle) {
	if _, ok := s.closed[o]; ok {
		delete(s.closed, o)
		s.reopened(o)
	}
}

// reopened lets in those that were parked by a budget that is not spent any more.
func (s *schedule) reopened(o obstacle) {
	parked := s.parked[o]
	delete(s.parked, o)
	for w := range parked {
		w.spent = obstacle{}
		s.enqueue(w)
	}
}

// parkAtBudget keeps w back until the budget has money again. Others of its lane
// may draw on other budgets.
func (s *schedule) parkAtBudget(w *waiter, o obstacle) {
	s.dequeue(w)
	w.spent = o
	if s.parked[o] == nil {
		s.parked[o] = map[*waiter]bool{}
	}
	s.parked[o][w] = true
}
