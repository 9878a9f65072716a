package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cctask/engine/task"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// startsOf says what choose starts.
func startsOf(t *testing.T, s *schedule, now time.Time) string {
	t.Helper()
	ids, _ := choose(now, s)
	return fmt.Sprint(ids)
}

type chooseCase struct {
	name   string
	limits limits
	queue  []waiter // seq and id are given by the place, from 1
	before func(s *schedule)
	want   string
	why    map[task.ID]task.Waiting // of those that stay
}

func chooseCases() []chooseCase {
	wide := limits{jobs: 10, startups: 10}
	return []chooseCase{
		{
			name: "first in, first out", limits: limits{jobs: 2, startups: 10}, queue: make([]waiter, 3), want: "[t1 t2]",
			why: map[task.ID]task.Waiting{"t3": {For: task.WaitSlot}},
		},
		{name: "what is part of a task that runs before what is not", limits: limits{jobs: 3, startups: 10}, queue: []waiter{{}, {depth: 1}, {depth: 2}, {priority: 1}}, want: "[t4 t3 t2]"},
		{name: "higher priority first", limits: limits{jobs: 2, startups: 10}, queue: []waiter{{priority: -1}, {}, {priority: 5}}, want: "[t3 t2]"},
		{
			name: "start-ups are bounded", limits: limits{jobs: 9, startups: 1}, queue: make([]waiter, 2), want: "[t1]",
			why: map[task.ID]task.Waiting{"t2": {For: task.WaitStartingUp}},
		},
		{
			name: "held", limits: wide, queue: []waiter{{held: true}, {}}, want: "[t2]",
			why: map[task.ID]task.Waiting{"t1": {For: task.WaitHeld}},
		},
		{
			name: "start time", limits: wide, queue: []waiter{{notBefore: noon.Add(time.Hour)}, {notBefore: noon}}, want: "[t2]",
			why: map[task.ID]task.Waiting{"t1": {For: task.WaitStartAt, Until: noon.Add(time.Hour)}},
		},
		{
			name: "pause before a retry", limits: wide, queue: []waiter{{notBefore: noon.Add(time.Minute), retries: true}}, want: "[]",
			why: map[task.ID]task.Waiting{"t1": {For: task.WaitRetryAt, Until: noon.Add(time.Minute)}},
		},
		{
			name: "dependency", limits: wide, queue: []waiter{{needs: map[task.ID]bool{"x": true, "a": true}}, {}}, want: "[t2]",
			why: map[task.ID]task.Waiting{"t1": {For: task.WaitDependency, On: []string{"a", "x"}}},
		},
		{
			name: "a dependency that was met", limits: wide, queue: []waiter{{needs: map[task.ID]bool{"x": true}}},
			before: func(s *schedule) { s.met("x") }, want: "[t1]",
		},
		{
			name: "met before the time has come", limits: wide, queue: []waiter{{needs: map[task.ID]bool{"x": true}, notBefore: noon}},
			before: func(s *schedule) { s.met("x") }, want: "[t1]",
		},
		{
			name: "an account's gate", limits: wide, queue: []waiter{{class: class{account: "a"}}, {class: class{account: "b"}}},
			before: func(s *schedule) {
				s.close(obstacle{task.WaitUsageLimit, "a"}, closure{until: noon.Add(time.Hour), probe: true})
			}, want: "[t2]",
			why: map[task.ID]task.Waiting{"t1": {For: task.WaitUsageLimit, Until: noon.Add(time.Hour), On: []string{"a"}}},
		},
		{
			name: "a gate whose time has come lets one through", limits: wide, queue: []waiter{{class: class{account: "a"}}, {class: class{account: "a"}}},
			before: func(s *schedule) { s.close(obstacle{task.WaitUsageLimit, "a"}, closure{until: noon, probe: true}) }, want: "[t1]",
			why: map[task.ID]task.Waiting{"t2": {For: task.WaitUsageLimit, Until: noon, On: []string{"a"}}},
		},
		{
			name: "a group that is full holds up no other", limits: limits{jobs: 9, startups: 9, groups: map[string]int{"g": 1}},
			queue: []waiter{{class: class{group: "g"}}, {class: class{group: "g"}}, {}}, want: "[t1 t3]",
			why: map[task.ID]task.Waiting{"t2": {For: task.WaitGroupSlot, On: []string{"g"}}},
		},
		{
			name: "a group that is paused", limits: wide, queue: []waiter{{class: class{group: "g"}}, {}},
			before: func(s *schedule) { s.close(obstacle{task.WaitGroupPaused, "g"}, closure{}) }, want: "[t2]",
			why: map[task.ID]task.Waiting{"t1": {For: task.WaitGroupPaused, On: []string{"g"}}},
		},
		{
			name: "settings that cannot be read", limits: wide, queue: make([]waiter, 1),
			before: func(s *schedule) { s.close(obstacle{task.WaitPolicy, ""}, closure{}) }, want: "[]",
			why: map[task.ID]task.Waiting{"t1": {For: task.WaitPolicy}},
		},
		{
			name: "claude is not there", limits: wide, queue: []waiter{{class: class{claude: "/c"}}, {class: class{claude: "/d"}}},
			before: func(s *schedule) { s.close(obstacle{task.WaitClaudeMissing, "/c"}, closure{until: noon.Add(1)}) }, want: "[t2]",
			why: map[task.ID]task.Waiting{"t1": {For: task.WaitClaudeMissing, Until: noon.Add(1), On: []string{"/c"}}},
		},
		{
			name: "a site that is full", limits: wide, queue: []waiter{{class: class{site: "s"}}, {}},
			before: func(s *schedule) { s.close(obstacle{task.WaitSite, "s"}, closure{}) }, want: "[t2]",
			why: map[task.ID]task.Waiting{"t1": {For: task.WaitSite, On: []string{"s"}}},
		},
		{
			name: "a budget that is spent", limits: wide, queue: []waiter{{budgets: []string{"day", "x"}}, {budgets: []string{"day"}}},
			before: func(s *schedule) { s.close(obstacle{task.WaitBudget, "x"}, closure{}) }, want: "[t2]",
			why: map[task.ID]task.Waiting{"t1": {For: task.WaitBudget, On: []string{"x"}}},
		},
		{
			name: "one directory, two tasks", limits: wide, queue: []waiter{{dir: "/a"}, {dir: "/a"}, {dir: "/ab"}}, want: "[t1 t3]",
			why: map[task.ID]task.Waiting{"t2": {For: task.WaitDirectory, On: []string{"t1"}}},
		},
		{
			name: "parents and children", limits: wide, queue: []waiter{{dir: "/a/b"}, {dir: "/a"}, {dir: "/a/b/c"}, {}}, want: "[t1 t4]",
			why: map[task.ID]task.Waiting{"t2": {For: task.WaitDirectory, On: []string{"/a"}}, "t3": {For: task.WaitDirectory, On: []string{"t1"}}},
		},
		{
			name: "who waits for a directory is not overtaken in it", limits: wide, queue: []waiter{{dir: "/a/b"}, {dir: "/a"}, {dir: "/a/c"}}, want: "[t1]",
			why: map[task.ID]task.Waiting{"t3": {For: task.WaitDirectory, On: []string{"t2"}}},
		},
		{
			name: "but is overtaken while something else holds it up", limits: wide,
			queue:  []waiter{{dir: "/a/b"}, {dir: "/a", class: class{group: "g"}}, {dir: "/a/c"}},
			before: func(s *schedule) { s.close(obstacle{task.WaitGroupPaused, "g"}, closure{}) }, want: "[t1 t3]",
		},
		{
			name: "who waits lends its directory to those below it, one after the other", limits: wide,
			queue: []waiter{
				{dir: "/a", priority: 1},
				{dir: "/a", depth: 1, parent: "top"},
				{dir: "/a", depth: 1, parent: "top"},
				{dir: "/", depth: 2, parent: "mid"},
				{dir: "/a", depth: 1, parent: "other"},
			},
			before: func(s *schedule) { top(s, 1) }, want: "[t4]",
			why: map[task.ID]task.Waiting{
				"t1": {For: task.WaitDirectory, On: []string{"top"}}, "t2": {For: task.WaitDirectory, On: []string{"t4"}},
				"t5": {For: task.WaitDirectory, On: []string{"top"}},
			},
		},
		{
			name: "and to nobody while it works", limits: wide,
			queue:  []waiter{{dir: "/a", depth: 1, parent: "top"}, {dir: "/a/b", depth: 2, parent: "mid"}},
			before: func(s *schedule) { top(s, 0) }, want: "[]",
			why: map[task.ID]task.Waiting{"t2": {For: task.WaitDirectory, On: []string{"top"}}},
		},
	}
}

// top has /a for itself and lends that for so many reasons; mid is a part of it and live too.
func top(s *schedule, lent int) {
	s.occupy(&waiter{id: "top", dir: "/a"}, false)
	s.occupy(&waiter{id: "mid", parent: "top", depth: 1}, false)
	s.lend(s.live["top"], lent)
}

func TestChoose(t *testing.T) {
	t.Parallel()
	for _, tt := range chooseCases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSchedule(tt.limits)
			for i := range tt.queue {
				tt.queue[i].id, tt.queue[i].seq = task.ID(fmt.Sprint("t", i+1)), uint64(i+1)
				s.add(&tt.queue[i])
			}
			if tt.before != nil {
				tt.before(s)
			}
			if got := startsOf(t, s, noon); got != tt.want {
				t.Errorf("starts %s, want %s", got, tt.want)
			}
			for id, want := range tt.why {
				if got := s.waiting(id, noon); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s waits for %v, want %v", id, got, want)
				}
			}
		})
	}
}

// Every reason to wait is that of some row.
func TestEveryReasonIsChosen(t *testing.T) {
	t.Parallel()
	seen := map[task.WaitingFor]bool{}
	for _, c := range chooseCases() {
		for _, w := range c.why {
			seen[w.For] = true
		}
	}
	for _, w := range task.WaitingFors {
		if !seen[w] {
			t.Errorf("no row of TestChoose has a task that waits for %s", w)
		}
	}
}

func TestChooseWakes(t *testing.T) {
	t.Parallel()
	s := newSchedule(limits{jobs: 1, startups: 1})
	if _, wake := choose(noon, s); !wake.IsZero() {
		t.Errorf("wakes at %v though nothing waits", wake)
	}
	s.add(&waiter{id: "a", seq: 1, notBefore: noon.Add(2 * time.Hour)})
	s.close(obstacle{task.WaitSite, "s"}, closure{until: noon.Add(time.Hour)})
	if _, wake := choose(noon, s); !wake.Equal(noon.Add(time.Hour)) {
		t.Errorf("wakes at %v, want the site's time", wake)
	}
	if _, wake := choose(noon.Add(time.Hour), s); !wake.Equal(noon.Add(2 * time.Hour)) {
		t.Errorf("wakes at %v, want the task's time", wake)
	}
	// Once due, always due: the clock is set back.
	s.limits.jobs = 0
	choose(noon.Add(2*time.Hour), s)
	s.limits.jobs = 1
	if got := startsOf(t, s, noon); got != "[a]" {
		t.Errorf("starts %s after the clock was set back, want [a]", got)
	}
}

func TestLentSlot(t *testing.T) {
	t.Parallel()
	s := newSchedule(limits{jobs: 1, startups: 9})
	s.add(&waiter{id: "parent", seq: 1})
	startsOf(t, s, noon)
	s.add(&waiter{id: "child", seq: 2})
	if got := startsOf(t, s, noon); got != "[]" {
		t.Fatalf("starts %s without a slot", got)
	}
	s.lend(s.live["parent"], 1)
	if got := startsOf(t, s, noon); got != "[child]" {
		t.Fatalf("starts %s with a lent slot, want [child]", got)
	}
	s.lend(s.live["parent"], 1) // for another reason as well
	s.lend(s.live["parent"], -1)
	s.add(&waiter{id: "second", seq: 3})
	if got := startsOf(t, s, noon); got != "[]" {
		t.Fatalf("starts %s beside the child", got)
	}
	s.remove("second")
	s.lend(s.live["parent"], -1)
	s.release("child")
	s.add(&waiter{id: "next", seq: 3})
	if got := startsOf(t, s, noon); got != "[]" {
		t.Fatalf("starts %s though the slot was taken back", got)
	}
	s.release("parent")
	if got := startsOf(t, s, noon); got != "[next]" {
		t.Fatalf("starts %s, want [next]", got)
	}
}

// A task that is queued again before its last attempt has let go waits for that.
func TestQueuedAgainWhileLive(t *testing.T) {
	t.Parallel()
	s := newSchedule(limits{jobs: 9, startups: 9})
	s.add(&waiter{id: "a", seq: 1})
	startsOf(t, s, noon)
	s.add(&waiter{id: "a", seq: 2})
	if got := startsOf(t, s, noon); got != "[]" {
		t.Fatalf("starts %s beside itself", got)
	}
	s.release("a")
	if got := startsOf(t, s, noon); got != "[a]" {
		t.Fatalf("starts %s, want [a]", got)
	}
}

// slow is choose as a person would write it: it looks at everything each time.
type slow struct {
	waiters []*waiter
	live    []*waiter
	lent    map[task.ID]bool
	closed  map[obstacle]closure
	limits  limits
}

func (m *slow) heldUp(c class) bool {
	for _, o := range c.obstacles() {
		if _, ok := m.closed[o]; ok {
			return true
		}
	}
	n := 0
	for _, l := range m.live {
		if l.class.group == c.group && !m.lent[l.id] {
			n++
		}
	}
	return m.limits.groups[c.group] > 0 && n >= m.limits.groups[c.group]
}

// slots are those that are taken.
func (m *slow) slots() int { return len(m.live) - len(m.lent) }

func related(a, b string) bool {
	return a != "" && b != "" && (a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/"))
}

func (m *slow) choose(now time.Time) (start []task.ID) {
	slices.SortFunc(m.waiters, func(a, b *waiter) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for m.slots() < m.limits.jobs {
		var wanted []string
		found := -1
		for i, w := range m.waiters {
			_, spent := m.closed[obstacle{task.WaitBudget, strings.Join(w.budgets, "")}]
			inTheWay := func(dir string) bool { return related(dir, w.dir) }
			switch {
			case w.held, now.Before(w.notBefore), len(w.needs) > 0, m.heldUp(w.class), spent:
			case slices.ContainsFunc(wanted, inTheWay), slices.ContainsFunc(m.live, func(l *waiter) bool { return inTheWay(l.dir) }):
				wanted = append(wanted, w.dir)
			default:
				found = i
			}
			if found >= 0 {
				break
			}
		}
		if found < 0 {
			return start
		}
		w := m.waiters[found]
		m.waiters = slices.Delete(m.waiters, found, found+1)
		m.live = append(m.live, w)
		start = append(start, w.id)
	}
	return start
}

// TestChooseIsTheModel holds that the indexes of the schedule change nothing:
// after any history it starts exactly what the slow one starts, so that order,
// limits and directories hold and no slot is idle while a task could run.
func TestChooseIsTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := limits{jobs: rapid.IntRange(1, 6).Draw(t, "jobs"), startups: 1000, groups: map[string]int{"g1": 1, "g2": 2}}
		s, m := newSchedule(l), &slow{limits: l, closed: map[obstacle]closure{}, lent: map[task.ID]bool{}}
		now, seq := noon, uint64(0)
		groups := rapid.SampledFrom([]string{"", "g1", "g2"})
		obstacles := rapid.SampledFrom([]obstacle{{task.WaitGroupPaused, "g1"}, {task.WaitGroupPaused, "g2"}, {task.WaitUsageLimit, "a1"}, {task.WaitBudget, "b1"}, {task.WaitPolicy, ""}})
		actions := map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				seq++
				w := waiter{
					id: task.ID(fmt.Sprint("t", seq)), seq: seq, priority: rapid.IntRange(-1, 1).Draw(t, "priority"),
					depth: rapid.IntRange(0, 1).Draw(t, "depth"),
					class: class{group: groups.Draw(t, "group"), account: rapid.SampledFrom([]string{"", "a1"}).Draw(t, "account")},
					held:  rapid.IntRange(0, 9).Draw(t, "held") == 0,
					dir:   rapid.SampledFrom([]string{"", "", "/a", "/a/b", "/a/b/c", "/a/d", "/e"}).Draw(t, "dir"),
				}
				if rapid.Bool().Draw(t, "timed") {
					w.notBefore = now.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "minutes")) * time.Minute)
				}
				if rapid.IntRange(0, 3).Draw(t, "spends") == 0 {
					w.budgets = []string{"b1"}
				}
				if len(m.waiters) > 0 && rapid.IntRange(0, 4).Draw(t, "depends") == 0 {
					w.needs = map[task.ID]bool{rapid.SampledFrom(m.waiters).Draw(t, "on").id: true}
				}
				ours, theirs := w, w
				ours.needs = map[task.ID]bool{}
				for id := range w.needs {
					ours.needs[id] = true
				}
				s.add(&ours)
				m.waiters = append(m.waiters, &theirs)
			},
			"cancel": func(t *rapid.T) {
				if len(m.waiters) == 0 {
					t.Skip("nothing waits")
				}
				i := rapid.IntRange(0, len(m.waiters)-1).Draw(t, "which")
				s.remove(m.waiters[i].id)
				m.waiters = slices.Delete(m.waiters, i, i+1)
			},
			"end": func(t *rapid.T) {
				if len(m.live) == 0 {
					t.Skip("nothing lives")
				}
				i := rapid.IntRange(0, len(m.live)-1).Draw(t, "which")
				id := m.live[i].id
				s.release(id)
				delete(m.lent, id)
				s.met(id)
				m.live = slices.Delete(m.live, i, i+1)
				for _, w := range m.waiters {
					delete(w.needs, id)
				}
			},
			"lend": func(t *rapid.T) {
				if len(m.live) == 0 {
					t.Skip("nothing lives")
				}
				id := rapid.SampledFrom(m.live).Draw(t, "who").id
				if m.lent[id] {
					delete(m.lent, id)
					s.lend(s.live[id], -1)
					return
				}
				m.lent[id] = true
				s.lend(s.live[id], 1)
			},
			"close": func(t *rapid.T) {
				o := obstacles.Draw(t, "what")
				s.close(o, closure{})
				m.closed[o] = closure{}
			},
			"open": func(t *rapid.T) {
				o := obstacles.Draw(t, "what")
				s.open(o)
				delete(m.closed, o)
			},
			"later": func(t *rapid.T) { now = now.Add(time.Minute) },
			"": func(t *rapid.T) {
				want := fmt.Sprint(m.choose(now))
				if got, _ := choose(now, s); fmt.Sprint(got) != want {
					t.Fatalf("starts %v, the model starts %s", got, want)
				}
				place := 0
				for _, w := range m.waiters { // sorted by choose
					want := 0
					if !w.held && !now.Before(w.notBefore) && len(w.needs) == 0 {
						place++
						want = place
					}
					if got := s.position(w.id); got != want {
						t.Fatalf("%s is at %d, the model has it at %d", w.id, got, want)
					}
					if why := s.waiting(w.id, now); why.For == "" {
						t.Fatalf("%s waits for nothing", w.id)
					}
				}
				if s.slots != m.slots() || len(s.waiters) != len(m.waiters) {
					t.Fatalf("%d slots and %d waiters, the model has %d and %d", s.slots, len(s.waiters), m.slots(), len(m.waiters))
				}
			},
		}
		actions["add another"] = actions["add"]
		for range 10 { // one round has about 35 steps
			t.Repeat(actions)
		}
	})
}

// Whoever waits for its turn gets it, however many of the same priority come later.
func TestNothingStarves(t *testing.T) {
	t.Parallel()
	s := newSchedule(limits{jobs: 4, startups: 4})
	seq := uint64(0)
	add := func(dir string) task.ID {
		seq++
		id := task.ID(fmt.Sprint("t", seq))
		s.add(&waiter{id: id, seq: seq, dir: dir})
		return id
	}
	var live []task.ID
	for range 3 {
		add("/a/" + fmt.Sprint(seq))
	}
	whole := add("/a")
	for range 10 {
		add("/a/" + fmt.Sprint(seq))
		ids, _ := choose(noon, s)
		live = append(live, ids...)
		if slices.Contains(live, whole) {
			return
		}
		s.release(live[0])
		live = live[1:]
	}
	t.Error("the task that wants the whole directory never started: tasks in parts of it overtook it")
}

func BenchmarkChoose(b *testing.B) {
	const queued, groups = 100_000, 50
	s := newSchedule(limits{jobs: 8, startups: 8, groups: map[string]int{"g7": 1}})
	seq := uint64(0)
	add := func() task.ID {
		seq++
		w := &waiter{id: task.ID(fmt.Sprintf("t%d", seq)), seq: seq, priority: int(seq % 3), class: class{group: fmt.Sprint("g", seq%groups)}}
		if seq%5 == 0 {
			w.dir = fmt.Sprint("/src/", seq%1000)
		}
		s.add(w)
		return w.id
	}
	for range queued {
		add()
	}
	live, _ := choose(noon, s)
	b.Run("decision", func(b *testing.B) {
		for b.Loop() {
			s.release(live[0])
			ids, _ := choose(noon, s)
			live = append(live[1:], ids...)
			add()
		}
	})
	b.Run("page of 100", func(b *testing.B) {
		for b.Loop() {
			for i := range 100 {
				id := task.ID(fmt.Sprintf("t%d", seq-uint64(i)))
				_, _ = s.waiting(id, noon), s.position(id)
			}
		}
	})
}

// met lets go those that waited for the end of a task.
func (s *schedule) met(id task.ID) {
	for w := range s.needed[id] {
		s.meet(w, id)
	}
}

// An account that comes back lets its first tasks through one by one.
func TestAccountComesBackOneByOne(t *testing.T) {
	t.Parallel()
	s := newSchedule(limits{jobs: 10, startups: 10, groups: map[string]int{}})
	for n := range 6 {
		s.add(&waiter{id: task.ID(fmt.Sprintf("t%d", n)), seq: uint64(n), class: class{account: "a"}})
	}
	s.close(gateOf("a"), closure{until: noon, probe: true})
	for _, c := range []struct {
		at   time.Duration
		open bool
		want string
	}{
		{-time.Hour, false, "[]"}, // also of a clock that was set back
		{0, false, "[t0]"},
		{time.Hour, false, "[]"}, // until the probe has passed
		{time.Hour, true, "[t1]"},
		{time.Hour + time.Second, false, "[t2]"},
		{time.Hour + time.Second, false, "[]"},
		{time.Hour + 2*time.Second, false, "[t3 t4 t5]"},
	} {
		if c.open {
			s.close(gateOf("a"), closure{until: noon.Add(c.at), pace: time.Second, left: 3})
		}
		if got := startsOf(t, s, noon.Add(c.at)); got != c.want {
			t.Errorf("after %v %s start, want %s", c.at, got, c.want)
		}
	}
	if len(s.closed) != 0 {
		t.Errorf("closed are still %v", s.closed)
	}
}
