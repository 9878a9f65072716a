package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"cctask/engine/task"
)

// The most of a batch: one commit and one frame hold it.
const (
	MaxBatch      = 1000     // tasks
	maxBatchBytes = 12 << 20 // of prompts, options and variables of the tasks' own
)

// Fits tells how many of tasks, from the first on, go into one batch.
func Fits(tasks []Submission) int {
	rest := maxBatchBytes
	for i, s := range tasks[:min(len(tasks), MaxBatch)] {
		spec, _ := json.Marshal(s.Spec)
		rest -= len(s.Prompt) + len(spec)
		for _, v := range s.Env[max(0, len(s.Env)-len(s.Spec.EnvNames)):] {
			rest -= len(v)
		}
		if rest < 0 && i > 0 {
			return i
		}
	}
	return min(len(tasks), MaxBatch)
}

// Batch are new tasks that are recorded together, or not at all. They may name each
// other: by a name that one of them alone has, or by their positions, 1 being the first.
type Batch struct {
	Tasks []Submission `json:"tasks"`
	// Key makes a repeated batch return the first one's tasks, if it is the same to the
	// letter. "": each task has a key of its own, and those that are taken are returned.
	Key string `json:"key,omitempty"`
	// Before are tasks that stand before the first one and are recorded already.
	Before []Named `json:"before,omitempty"`
}

// Named is a task by what the others of its batch call it.
type Named struct {
	ID   task.ID `json:"id"`
	Name string  `json:"name,omitempty"`
}

// member is a task of a batch.
type member struct {
	Submission
	hash  string
	first task.Attempt
	t     task.Task
	// taken tells that an earlier call recorded it.
	taken bool
}

func (e *Engine) SubmitAll(ctx context.Context, b Batch) ([]task.Task, error) {
	members, err := b.members()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(members, func(m *member) bool { return m.Spec.ResumeTaskID != "" }) {
		e.sessions.Lock()
		defer e.sessions.Unlock()
	}
	if slices.ContainsFunc(members, func(m *member) bool { return len(m.Spec.After) > 0 || strings.Contains(m.Prompt, "{{") }) {
		e.naming.RLock()
		defer e.naming.RUnlock()
	}
	// A call with the same keys may come between the look and the commit.
	for err = e.submit(ctx, b, members); errors.As(err, new(*task.KeyTaken)); {
		err = e.submit(ctx, b, members)
	}
	if err != nil {
		return nil, err
	}
	out := make([]task.Task, len(members))
	for i, m := range members {
		if out[i] = m.t; !m.taken {
			out[i] = e.fill(m.t)
		}
	}
	return out, nil
}

// Check refuses what is too large for one commit.
func (b Batch) Check() error {
	if n := Fits(b.Tasks); n < len(b.Tasks) || n == 0 {
		return task.Invalid(fmt.Sprintf("%d tasks at once are too much", len(b.Tasks)), fmt.Sprintf("Give 1 to %d, with at most %d MiB of prompts and options, and the others in another call.", MaxBatch, maxBatchBytes>>20))
	}
	return nil
}

// members gives each task its key and the hash of what must not differ under it.
func (b Batch) members() ([]*member, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	members := make([]*member, len(b.Tasks))
	keys := map[string]bool{}
	for i, s := range b.Tasks {
		s.Spec.Name = norm.NFC.String(s.Spec.Name) // one name, however a keyboard or a file system composes it
		m := &member{Submission: s, hash: hashOf(s)}
		if members[i] = m; b.Key != "" {
			if m.Key = b.Key; i > 0 {
				m.Key = fmt.Sprintf("%s/%d", b.Key, i+1)
			}
		}
		if m.Key != "" && keys[m.Key] {
			return nil, b.About(i, task.Invalid(fmt.Sprintf("the idempotency_key %q is that of another task too", m.Key), "Give each task its own, or leave them out."))
		}
		keys[m.Key] = true
	}
	if b.Key != "" {
		var all strings.Builder
		for _, m := range members {
			all.WriteString(m.hash)
		}
		for _, m := range members {
			m.hash = hashOf(Submission{Prompt: all.String()})
		}
	}
	return members, nil
}

// About says which task an error is about.
func (b Batch) About(i int, err error) error {
	switch {
	case err == nil || b.Tasks[i].At == "" && len(b.Tasks) == 1:
		return err
	case b.Tasks[i].At != "":
		return fmt.Errorf("%s: %w", b.Tasks[i].At, err)
	}
	return fmt.Errorf("task %d: %w", len(b.Before)+i+1, err)
}

// submit checks everything that can be checked now, so that a bad task is refused with
// nothing recorded, and then records all before anybody is answered.
func (e *Engine) submit(ctx context.Context, b Batch, members []*member) error {
	p, err := e.Policy()
	if err != nil {
		return err
	}
	now := time.Now()
	ids := task.NewIDs(now, len(members))
	for i, m := range members {
		m.t.ID = ids[i]
		if err := e.prepare(m, p, now); err != nil {
			return b.About(i, err)
		}
	}
	if err := e.mayHaveTrees(ctx, b, members); err != nil {
		return err
	}
	if err := e.among(b, members); err != nil {
		return err
	}
	var writes []task.Write
	fresh := slices.DeleteFunc(slices.Clone(members), func(m *member) bool { return m.taken })
	if len(fresh) == 0 {
		return nil
	}
	for _, m := range fresh {
		w, err := e.firstWrite(m, now)
		if err != nil {
			return b.About(slices.Index(members, m), err)
		}
		writes = append(writes, w)
	}
	born, err := e.bear(ctx, fresh, p)
	defer born()
	if err != nil {
		// A call that is repeated over an owner's death is no task more.
		if taken, lookErr := e.store.Taken(fresh[0].Key, now); lookErr == nil && taken != nil {
			return taken
		}
		return err
	}
	for _, m := range fresh {
		defer e.locks.lock(m.t.ID)()
	}
	if err := e.apply(writes...); err != nil {
		return fmt.Errorf("record the task: %w", err)
	}
	for _, m := range fresh {
		e.changed(&m.t)
		e.borneOne(m.t.RootID)
	}
	return nil
}

// prepare finds the task of an earlier call with the same key, or makes a new one.
func (e *Engine) prepare(m *member, p task.Policy, now time.Time) error {
	if m.Key != "" {
		taken, err := e.store.Taken(m.Key, now)
		if err == nil && taken != nil {
			m.taken = true
			m.t, err = e.repeated(taken, m.Key, m.hash)
		}
		if err != nil || m.taken {
			return err
		}
	}
	m.first = task.Attempt{N: 1, Kind: task.First, PromptN: 1, Status: task.Queued}
	spec := m.Spec
	if spec.ResumeTaskID != "" {
		if err := e.goOn(&spec, &m.first); err != nil {
			return fmt.Errorf("resume_task_id: %w", err)
		}
	}
	s := m.Submission
	s.Spec = spec
	at, err := e.siteOf(&s.Spec, s.Env)
	if err != nil {
		return err
	}
	spec, err = Allow(at, s, p)
	if err == nil {
		_, err = e.served(spec)
	}
	m.t.Spec = spec
	return err
}

// among turns the references of the tasks into ids: those to each other first.
func (e *Engine) among(b Batch, members []*member) error {
	all := slices.Clone(b.Before)
	for _, m := range members {
		all = append(all, Named{ID: m.t.ID, Name: m.Spec.Name})
	}
	find := lookup(all)
	index := map[task.ID]int{}
	waits := make([][]int, len(members))
	for i, m := range members {
		index[m.t.ID] = i
	}
	held := map[string]bool{}
	for i, m := range members {
		if m.taken {
			continue
		}
		known := find
		if len(all) == 1 {
			known = nil // a task alone has no position
		}
		if err := e.needs(&m.t.Spec, "", known); err != nil {
			return b.About(i, err)
		}
		if err := e.refer(&m.t, m.Prompt, known); err != nil {
			return b.About(i, err)
		}
		m.first.Unfilled = m.t.Template != ""
		for _, text := range m.t.Spec.After {
			id := task.ID(task.ParseNeed(text).Ref)
			j, ours := index[id]
			switch {
			case ours && i == j:
				return b.About(i, waitsForItself())
			case ours:
				waits[i] = append(waits[i], j)
			}
		}
		if s := m.first.SessionID; s != "" {
			if held[s] {
				return b.About(i, sessionBusy("another task of this call"))
			}
			held[s] = true
		}
	}
	if ring := ringOf(waits); ring != nil {
		return b.About(ring[0], waitInRing())
	}
	return nil
}

// lookup finds a task of a batch by its name, if no other has that, or by its position.
func lookup(all []Named) func(ref string) (task.ID, error) {
	names := map[string]int{}
	for i, n := range all {
		if _, twice := names[n.Name]; twice {
			i = -1
		}
		names[n.Name] = i
	}
	return func(ref string) (task.ID, error) {
		ref = norm.NFC.String(ref)
		i, ok := names[ref]
		if n, err := strconv.Atoi(ref); !ok && err == nil && n > 0 && n <= len(all) {
			i, ok = n-1, true
		}
		switch {
		case !ok || ref == "":
			return "", nil
		case i < 0:
			return "", task.Errorf(task.CodeAmbiguous, "Give them different names, or say which by its position: 1 is the first.", "several tasks of this call are called %q", ref)
		}
		return all[i].ID, nil
	}
}

// ringOf finds tasks that wait for each other, each for the next and the last for the first.
func ringOf(waits [][]int) []int {
	const unseen, open, done = 0, 1, 2
	state := make([]int, len(waits))
	var path []int
	var walk func(i int) []int
	walk = func(i int) []int {
		switch state[i] {
		case done:
			return nil
		case open:
			return path[slices.Index(path, i):]
		}
		state[i] = open
		path = append(path, i)
		for _, j := range waits[i] {
			if ring := walk(j); ring != nil {
				return ring
			}
		}
		path = path[:len(path)-1]
		state[i] = done
		return nil
	}
	for i := range waits {
		if ring := walk(i); ring != nil {
			return ring
		}
	}
	return nil
}
