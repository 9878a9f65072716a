package engine_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cctask/engine"
	"cctask/engine/task"
)

// node is a task of a random fleet, and what the model says of it.
type node struct {
	group    string
	priority int
	held     bool
	fails    bool
	needs    []task.Need // by positions
	end      task.Status // that it must come to
}

// fleet draws n tasks, each of which waits only for some before it.
func fleet(n int) *rapid.Generator[[]node] {
	return rapid.Custom(func(t *rapid.T) []node {
		nodes := make([]node, n)
		for i := range nodes {
			m := &nodes[i]
			m.group = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "group")
			m.priority = rapid.IntRange(-2, 2).Draw(t, "priority")
			m.held = rapid.IntRange(0, 5).Draw(t, "held") == 0
			m.fails = rapid.IntRange(0, 4).Draw(t, "fails") == 0
			seen := map[int]bool{}
			for range rapid.IntRange(0, min(i, 3)).Draw(t, "needs") {
				j := rapid.IntRange(0, i-1).Draw(t, "need")
				if seen[j] {
					continue
				}
				seen[j] = true
				want := rapid.SampledFrom([]string{task.NeedCompleted, task.NeedCompleted, task.NeedAny, task.NeedFailed}).Draw(t, "want")
				m.needs = append(m.needs, task.Need{Ref: strconv.Itoa(j + 1), Want: want})
			}
			m.model(nodes)
		}
		return nodes
	})
}

// at is the position of the task that a need names.
func at(n task.Need) int {
	i, _ := strconv.Atoi(n.Ref)
	return i - 1
}

func (m *node) model(before []node) {
	m.end = task.Completed
	if m.fails {
		m.end = task.Failed
	}
	for _, n := range m.needs {
		if !n.Met(before[at(n)].end) {
			m.end = task.Skipped
		}
	}
}

// TestFleetAgainstAModel: however tasks wait for each other, in groups, by priority, held,
// with failures and with owners that come and go: each ends as it must, once, none before
// what it waits for, no more at a time than may, the more urgent first.
// CCTASK_FLEET=1000 makes it large.
func TestFleetAgainstAModel(t *testing.T) {
	t.Parallel()
	n, _ := strconv.Atoi(os.Getenv("CCTASK_FLEET"))
	for seed := range 3 {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			f := &fleetRun{world: newWorld(t, 3), nodes: fleet(max(n, 40)).Example(seed), released: map[int]time.Time{}}
			f.submit()
			f.live(seed)
			f.judge()
		})
	}
}

type fleetRun struct {
	*world
	nodes    []node
	ids      []task.ID
	released map[int]time.Time // when the test was about to
}

// The slots of each group; the others have what the pool has.
var fleetJobs = map[string]int{"a": 1, "b": 2, "c": 3}

func (f *fleetRun) submit() {
	yes := true
	_, err := f.Groups(f.ctx, &task.GroupChange{Paused: &yes})
	f.must(err)
	for name, jobs := range fleetJobs {
		_, err := f.Groups(f.ctx, &task.GroupChange{Name: name, Jobs: &jobs})
		f.must(err)
	}
	var b engine.Batch
	for i, m := range f.nodes {
		s := f.submission("", fmt.Sprintf("[[text %d]]", i))
		if m.fails {
			s.Prompt = "[[fail]]"
		}
		s.Spec.Group, s.Spec.Priority, s.Spec.Hold = m.group, m.priority, m.held
		for _, need := range m.needs {
			s.Spec.After = append(s.Spec.After, need.String())
		}
		b.Tasks = append(b.Tasks, s)
	}
	for len(b.Tasks) > 0 {
		rest := b.Tasks[engine.Fits(b.Tasks):]
		b.Tasks = b.Tasks[:len(b.Tasks)-len(rest)]
		tasks, err := f.SubmitAll(f.ctx, b)
		f.must(err)
		for _, one := range tasks {
			f.ids = append(f.ids, one.ID)
			b.Before = append(b.Before, engine.Named{ID: one.ID})
		}
		b.Tasks = rest
	}
}

// live lets the queue go, and releases one held task after the other, with another owner
// between.
func (f *fleetRun) live(seed int) {
	f.restart() // while everything waits
	no := false
	_, err := f.Groups(f.ctx, &task.GroupChange{Paused: &no})
	f.must(err)
	for i, m := range f.nodes {
		if !m.held {
			continue
		}
		if (i+seed)%3 == 0 {
			f.restart()
		}
		// What can end before the release has, so that the steps are spread over the run.
		if j := f.ends(i); j >= 0 && i%2 == 0 {
			_, err := engine.WaitFor(f.ctx, f, string(f.ids[j]), engine.UntilEnd)
			f.must(err)
		}
		f.released[i] = time.Now()
		var free task.Draft
		hold, _ := task.Find("hold")
		f.must(free.Set(hold, false))
		if _, err := f.Edit(f.ctx, engine.Edit{Ref: string(f.ids[i]), Options: free}); err != nil && !errors.Is(err, task.ErrConflict) {
			f.must(err) // a conflict: it was skipped already
		}
	}
	f.restart()
}

func (f *fleetRun) restart() {
	f.Close()
	f.open()
}

// ends is the last task before i that ends without another release; -1: there is none.
func (f *fleetRun) ends(i int) (last int) {
	last = -1
	blocked := make([]bool, i)
	for j, m := range f.nodes[:i] {
		_, free := f.released[j]
		blocked[j] = m.held && !free || slices.ContainsFunc(m.needs, func(n task.Need) bool { return blocked[at(n)] })
		if !blocked[j] {
			last = j
		}
	}
	return last
}

// judge compares what happened with the model.
func (f *fleetRun) judge() {
	ran := make([]task.Task, len(f.nodes))
	starts := 0
	for i, m := range f.nodes {
		ran[i] = f.end(f.ids[i], m.end)
		if m.end == task.Skipped {
			continue
		}
		starts++
		if len(ran[i].Attempts) != 1 {
			f.Errorf("task %d had %d attempts", i+1, len(ran[i].Attempts))
		}
		for _, n := range m.needs {
			if began, ended := claimed(ran[i]), ran[at(n)].FinishedAt; began.Before(ended) {
				f.Errorf("task %d began at %v, and task %s, for which it waits, ended at %v", i+1, began, n, ended)
			}
		}
		if m.held && claimed(ran[i]).Before(f.released[i]) {
			f.Errorf("task %d began before it was released", i+1)
		}
	}
	f.starts(starts)
	f.limits(ran)
	f.order(ran)
}

// claimed is when a task left the queue; zero: it never ran.
func claimed(t task.Task) time.Time {
	for _, c := range t.History {
		if c.To == task.Starting {
			return c.At
		}
	}
	return time.Time{}
}

// limits looks how many ran at the moment of each start.
func (f *fleetRun) limits(ran []task.Task) {
	for i, one := range ran {
		now := claimed(one)
		if now.IsZero() {
			continue
		}
		all, group := 0, 0
		for j, other := range ran {
			if began := claimed(other); began.IsZero() || began.After(now) || !other.FinishedAt.After(now) {
				continue
			}
			all++
			if f.nodes[j].group == f.nodes[i].group {
				group++
			}
		}
		if all > 3 || group > fleetJobs[f.nodes[i].group] {
			f.Errorf("when task %d began, %d ran, and %d of group %s", i+1, all, group, f.nodes[i].group)
		}
	}
}

// order looks at tasks that only waited for their turn: of two in one group the less
// urgent one has not ended before the other one began.
func (f *fleetRun) order(ran []task.Task) {
	waited := func(i int) bool { return !f.nodes[i].held && len(f.nodes[i].needs) == 0 }
	for i, m := range f.nodes {
		for j, other := range f.nodes {
			first := m.priority > other.priority || m.priority == other.priority && i < j
			if waited(i) && waited(j) && m.group == other.group && first && ran[j].FinishedAt.Before(claimed(ran[i])) {
				f.Errorf("task %d (priority %d) ended before task %d (priority %d) began", j+1, other.priority, i+1, m.priority)
			}
		}
	}
}
