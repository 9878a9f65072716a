package storage_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/storagetest"
	"cctask/storage"
)

// model is what the database should hold, kept in plain maps.
type model struct {
	r     *rand.Rand
	seq   uint64
	now   time.Time
	tasks map[task.ID]*modelTask
	costs map[string]float64
}

type modelTask struct {
	task     task.Task
	attempts []task.Attempt
	streams  map[string]string // "<n> <stream>"
	env      bool
}

func streamKey(n int, s task.Stream) string { return fmt.Sprint(n, " ", s) }

func (m *model) pick() *modelTask {
	ids := slices.Sorted(maps.Keys(m.tasks))
	if len(ids) == 0 {
		return nil
	}
	return m.tasks[ids[m.r.IntN(len(ids))]]
}

// submit makes a new task.
func (m *model) submit(db *storage.DB) error {
	m.seq++
	w := queued(int(m.seq), strings.ToValidUTF8("prompt "+lines(m.r.IntN(3000)), ""))
	w.At, w.Task.Seq = m.now, m.seq
	w.Task.Spec.Name = []string{"", "a", "b"}[m.r.IntN(3)]
	w.Task.Spec.Priority, w.Task.Spec.Group, w.Task.Spec.Hold = m.r.IntN(3)-1, []string{"", "docs"}[m.r.IntN(2)], m.r.IntN(2) == 0
	if mt := m.pick(); mt != nil && m.r.IntN(2) == 0 {
		w.Task.ParentID, w.Task.RootID, w.Task.Depth = mt.task.ID, mt.task.ID, 1
		w.Task.Spec.After = []string{string(mt.task.ID) + ":any"}
	}
	m.tasks[w.Task.ID] = &modelTask{
		task: *w.Task, attempts: w.Attempts, env: true,
		streams: map[string]string{streamKey(1, task.Prompt): string(w.Prompt.Data)},
	}
	return db.Apply(w)
}

// move takes a task one legal step further, with a new attempt when it is
// queued again, and at an end with a cost and an answer.
func (m *model) move(db *storage.DB, mt *modelTask) error {
	var may []task.Status
	for _, s := range task.Statuses {
		if task.May(mt.task.Status, s) {
			may = append(may, s)
		}
	}
	if len(may) == 0 {
		return nil
	}
	to := may[m.r.IntN(len(may))]
	last := mt.attempts[len(mt.attempts)-1]
	w := task.Write{At: m.now}
	if to == task.Queued {
		m.seq++
		mt.task.Seq = m.seq
		if mt.task.Status != task.Starting {
			mt.task.Attempt++
			last = task.Attempt{N: mt.task.Attempt, Kind: task.Retry, SessionID: fmt.Sprint("session-", m.r.IntN(5)), PromptN: 1}
			mt.attempts = append(mt.attempts, last)
			mt.task.SessionID = last.SessionID
			w.Env, mt.env = []string{"B=2"}, true
		}
	}
	if to.Ended() && m.r.IntN(2) == 0 {
		answer := lines(m.r.IntN(600 << 10))
		w.Result = &task.Blob{ID: mt.task.ID, Attempt: last.N, Data: []byte(answer)}
		mt.streams[streamKey(last.N, task.Result)] = answer
		w.SessionID, w.SessionCost = mt.task.SessionID, m.r.Float64()
		m.costs[w.SessionID] = w.SessionCost
	}
	last.StdoutBytes = int64(len(mt.streams[streamKey(last.N, task.Stdout)]))
	last.StderrBytes = int64(len(mt.streams[streamKey(last.N, task.Stderr)]))
	last.ResultBytes = int64(len(mt.streams[streamKey(last.N, task.Result)]))
	s := step(mt.task, last, m.now, to)
	w.Task, w.Attempts, w.DropEnv = s.Task, s.Attempts, s.DropEnv
	mt.task, mt.attempts[len(mt.attempts)-1] = *w.Task, w.Attempts[0]
	mt.env = mt.env && !w.DropEnv
	return db.Apply(w)
}

// print appends to a stream of a live task, from some point before its end.
func (m *model) print(db *storage.DB, mt *modelTask) error {
	if !mt.task.Status.Live() {
		return nil
	}
	n, s := len(mt.attempts), []task.Stream{task.Stdout, task.Stderr}[m.r.IntN(2)]
	had := mt.streams[streamKey(n, s)]
	more := noise(m.r, m.r.IntN(3<<10)) + lines(m.r.IntN(300<<10))
	mt.streams[streamKey(n, s)] = had + more
	from := max(0, len(had)-m.r.IntN(100))
	return db.Apply(chunk(mt.task.ID, n, s, from, (had + more)[from:]))
}

func (m *model) remove(db *storage.DB, mt *modelTask) error {
	delete(m.tasks, mt.task.ID)
	for s := range m.costs {
		if !slices.ContainsFunc(slices.Collect(maps.Values(m.tasks)), func(t *modelTask) bool { return t.names(s) }) {
			delete(m.costs, s)
		}
	}
	return db.Remove(mt.task.ID, task.ByRequest, time.Now())
}

func (mt *modelTask) names(session string) bool {
	return slices.ContainsFunc(mt.attempts, func(a task.Attempt) bool { return a.SessionID == session })
}

// compare reads everything back.
func (m *model) compare(t *testing.T, db *storage.DB) {
	t.Helper()
	queue, counts := map[uint64]task.Place{}, map[task.Status]int{}
	for id, mt := range m.tasks {
		counts[mt.task.Status]++
		if mt.task.Status == task.Queued {
			place := task.PlaceOf(&mt.task)
			place.Parent = "" // from the record alone: the queue's index does not have it
			queue[mt.task.Seq] = place
		}
		got, err := db.Task(id)
		if err != nil || !reflect.DeepEqual(got, mt.task) {
			t.Fatalf("task %s is %+v, %v\nwant %+v", id, got, err, mt.task)
		}
		if list, err := db.Attempts(id); err != nil || !reflect.DeepEqual(list, mt.attempts) {
			t.Fatalf("attempts of %s are %+v, %v\nwant %+v", id, list, err, mt.attempts)
		}
		if _, err := db.Env(id); (err == nil) != mt.env || err != nil && !errors.Is(err, task.ErrNotFound) {
			t.Fatalf("environment of %s: %v, want %v", id, err, mt.env)
		}
		for key, want := range mt.streams {
			var n int
			var s task.Stream
			_, _ = fmt.Sscan(key, &n, &s)
			if got, err := db.Stream(id, n, s, 0, 1<<30); err != nil || string(got) != want {
				t.Fatalf("%s of %s: %d bytes, %v, want %d", key, id, len(got), err, len(want))
			}
		}
	}
	if got, err := db.Counts(); err != nil || !maps.Equal(got, counts) {
		t.Fatalf("Counts = %v, %v, want %v", got, err, counts)
	}
	var order []task.Place
	for _, s := range slices.Sorted(maps.Keys(queue)) {
		order = append(order, queue[s])
	}
	if got, err := db.Queue(); err != nil || !reflect.DeepEqual(got, order) {
		t.Fatalf("Queue = %v, %v, want %v", got, err, order)
	}
	for s, want := range m.costs {
		if got, known, err := db.SessionCost(s); err != nil || !known || got != want {
			t.Fatalf("SessionCost(%s) = %v, %v, %v, want %v", s, got, known, err, want)
		}
	}
	m.compareList(t, db)
}

func (m *model) compareList(t *testing.T, db *storage.DB) {
	t.Helper()
	f := task.Filter{Limit: 1 + m.r.IntN(5)}
	for _, s := range task.Statuses {
		if m.r.IntN(3) == 0 {
			f.Statuses = append(f.Statuses, s)
		}
	}
	if m.r.IntN(2) == 0 {
		f.WorkingDir = "/project/1"
	}
	var want, got []task.ID
	for id, mt := range m.tasks {
		if (len(f.Statuses) == 0 || slices.Contains(f.Statuses, mt.task.Status)) &&
			(f.WorkingDir == "" || mt.task.Spec.WorkingDir == f.WorkingDir) {
			want = append(want, id)
		}
	}
	slices.SortFunc(want, func(a, b task.ID) int { return strings.Compare(string(b), string(a)) })
	for {
		page, err := db.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Tasks {
			got = append(got, v.ID)
		}
		if f.Cursor = page.NextCursor; f.Cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("List(%+v) = %v, want %v", f, got, want)
	}
}

// Random writes do to the database what they do to plain maps, over restarts.
func TestRandomWritesEqualAModel(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := &model{r: rand.New(rand.NewPCG(seed, 0)), now: t0, tasks: map[task.ID]*modelTask{}, costs: map[string]float64{}}
	dir := filepath.Join(t.TempDir(), "state")
	db := storagetest.OpenIn(t, dir)
	for i := range 200 {
		m.now = m.now.Add(time.Second)
		mt, err := m.pick(), error(nil)
		switch k := m.r.IntN(20); {
		case mt == nil || k < 3 && len(m.tasks) < 20:
			err = m.submit(db)
		case k < 10:
			err = m.move(db, mt)
		case k < 19:
			err = m.print(db, mt)
		default:
			err = m.remove(db, mt)
		}
		if err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
		if i%20 != 0 {
			continue
		}
		if err := db.Check(); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
		m.compare(t, db)
		if i%60 == 0 {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = storagetest.OpenIn(t, dir)
		}
	}
	m.compare(t, db)
}
