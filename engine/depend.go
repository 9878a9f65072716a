package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"cctask/engine/task"
)

// enqueue gives a queued task to the scheduler. Its needs are looked at after that:
// an end that comes between is seen by one of the two. Guarded by Engine.mu.
func (e *Engine) enqueue(p task.Place) {
	e.sched.add(e.draws(waiterOf(p)))
	if len(p.After) > 0 {
		e.unsettled[p.ID] = true
		e.tellSettler()
	}
}

// freed lets those be looked at that wait for a task that has ended. Guarded by Engine.mu.
func (e *Engine) freed(id task.ID) {
	for w := range e.sched.needed[id] {
		e.unsettled[w.id] = true
		e.tellSettler()
	}
}

func (e *Engine) tellSettler() {
	select {
	case e.toSettle <- struct{}{}:
	default:
	}
}

// settler looks at tasks whose dependencies may have ended. What it has not come to
// when the owner dies is looked at by the next one, from the records.
func (e *Engine) settler() {
	for {
		select {
		case <-e.toSettle:
		case <-e.ctx.Done():
			return
		}
		e.mu.Lock()
		ids := make([]task.ID, 0, len(e.unsettled))
		for id := range e.unsettled {
			ids = append(ids, id)
		}
		clear(e.unsettled)
		e.mu.Unlock()
		for _, id := range ids {
			if err := e.settle(id); err != nil && e.ctx.Err() == nil {
				e.log.Error().Err(err).Str("task", string(id)).Msg("look at the dependencies; trying again")
				e.mu.Lock()
				e.unsettled[id] = true
				e.mu.Unlock()
				time.AfterFunc(time.Second, e.tellSettler) // no other end may ever wake it
			}
		}
	}
}

// settle takes from a queued task the needs that are met, and ends it if one never
// will be.
func (e *Engine) settle(id task.ID) error {
	never, err := e.meetNeeds(id)
	if err != nil || never == nil {
		return err
	}
	return e.skip(id, *never)
}

// meetNeeds takes from a queued task the needs that are met, and gives one that never will
// be. Under the task's lock: what is taken is what its record asks for.
func (e *Engine) meetNeeds(id task.ID) (never *task.Need, _ error) {
	unlock := e.locks.lock(id)
	defer unlock()
	t, err := e.store.Task(id)
	if errors.Is(err, task.ErrNotFound) || err == nil && t.Status != task.Queued {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, text := range t.Spec.After {
		n := task.ParseNeed(text)
		_, met, never, err := e.judgeNeed(n)
		switch {
		case err != nil:
			return nil, err
		case never:
			return &n, nil
		case met:
			e.mu.Lock()
			if w := e.sched.waiters[id]; w != nil {
				e.sched.meet(w, task.ID(n.Ref))
			}
			e.mu.Unlock()
			e.poke()
			e.publish(id, false)
		}
	}
	return nil, nil
}

// judgeNeed looks at the task that a need names.
func (e *Engine) judgeNeed(n task.Need) (dep task.Task, met, never bool, err error) {
	dep, err = e.store.Task(task.ID(n.Ref))
	switch {
	case errors.Is(err, task.ErrNotFound):
		return dep, true, false, nil
	case err != nil:
		return dep, false, false, err
	}
	met = n.Met(dep.Status)
	return dep, met, dep.Status.Ended() && !met, nil
}

// skip ends a task that waits for an end which did not come, and names the task. It looks
// again: either task may have been retried or changed.
func (e *Engine) skip(id task.ID, n task.Need) error {
	_, err := e.persist(id, func(t *task.Task, w *task.Write) error {
		if t.Status != task.Queued || !slices.Contains(t.Spec.After, n.String()) {
			return errNothingToDo
		}
		dep, _, never, err := e.judgeNeed(n)
		if err == nil && !never {
			err = errNothingToDo
		}
		if err != nil {
			return err
		}
		a, err := e.store.Attempt(t.ID, t.Attempt)
		if err != nil {
			return err
		}
		why := fmt.Sprintf("task %s is %s, and this one waited for it to be %s", e.named([]string{n.Ref})[0], dep.Status, n.Want)
		a.Status, a.Reason, a.Message, a.FinishedAt = task.Skipped, task.ReasonDependency, why, w.At
		t.Reason, t.Message = a.Reason, a.Message
		w.Attempts, w.DropEnv = []task.Attempt{a}, true
		return t.Become(task.Skipped, w.At, why)
	})
	if errors.Is(err, errNothingToDo) {
		return nil
	}
	return err
}

// settleDependants looks at those that wait for a task before its record goes.
func (e *Engine) settleDependants(id task.ID) error {
	e.mu.Lock()
	var waiting []task.ID
	for w := range e.sched.needed[id] {
		waiting = append(waiting, w.id)
	}
	e.mu.Unlock()
	for _, w := range waiting {
		if err := e.settle(w); err != nil {
			return fmt.Errorf("look at task %s, which waits for task %s: %w", w, id, err)
		}
	}
	return nil
}

// needs turns the references of Spec.After into ids. self is the task that waits;
// "": it is not recorded yet, so that nothing can wait for it but what known finds,
// "" where it does not: the tasks that are submitted together with it.
func (e *Engine) needs(s *task.Spec, self task.ID, known func(ref string) (task.ID, error)) error {
	var out []string
	wants := map[string]string{}
	for _, text := range s.After {
		n := task.ParseNeed(text)
		if n.Ref == s.Name && s.Name != "" || n.Ref == string(self) {
			return waitsForItself()
		}
		id, err := e.refersTo(n.Ref, known)
		if err != nil {
			return fmt.Errorf("after: %w", err)
		}
		n.Ref = string(id)
		switch want, twice := wants[n.Ref]; {
		case twice && want != n.Want:
			return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("after: task %s is to be both %s and %s", id, want, n.Want), Hint: "Name each task once."}
		case twice:
			continue
		}
		if self != "" {
			if err := e.noCycle(id, self, map[task.ID]bool{}); err != nil {
				return err
			}
		}
		wants[n.Ref] = n.Want
		out = append(out, n.String())
	}
	s.After = out
	return nil
}

// refersTo gives the task that a reference means; known is that of needs.
func (e *Engine) refersTo(ref string, known func(ref string) (task.ID, error)) (id task.ID, err error) {
	if known != nil {
		id, err = known(ref)
	}
	if id == "" && err == nil {
		id, err = e.meant(ref, task.ToCancel)
	}
	return id, err
}

func waitsForItself() error {
	return task.Invalid("after: a task cannot wait for itself", "Name another one.")
}

func waitInRing() error {
	return task.Invalid("after: the tasks would wait for each other", "Leave one of them out.")
}

// noCycle refuses that a task waits for one that waits for it.
func (e *Engine) noCycle(from, self task.ID, seen map[task.ID]bool) error {
	if from == self {
		return waitInRing()
	}
	if seen[from] {
		return nil
	}
	seen[from] = true
	t, err := e.store.Task(from)
	if errors.Is(err, task.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, text := range t.Spec.After {
		if err := e.noCycle(task.ID(task.ParseNeed(text).Ref), self, seen); err != nil {
			return err
		}
	}
	return nil
}

// mayMeet refuses another attempt of a task that would be skipped at once.
func (e *Engine) mayMeet(t *task.Task) error {
	for _, text := range t.Spec.After {
		n := task.ParseNeed(text)
		dep, _, never, err := e.judgeNeed(n)
		if err != nil {
			return err
		}
		if never {
			hint := "Start a new task, or give this one another after."
			root, err := e.culprit(dep)
			if err != nil {
				return err
			}
			if root.Status != task.Completed {
				hint = fmt.Sprintf("`cctask retry --with-dependants %s` brings both back.", root.ID)
			}
			return task.Errorf(task.CodeConflict, hint, "task %s waits for task %s to be %s, and that is %s", t.ID, n.Ref, n.Want, dep.Status)
		}
	}
	return nil
}

// culprit is the task for whose end t was skipped, which another attempt of t alone
// would be too; it is t where that ended by itself.
func (e *Engine) culprit(t task.Task) (task.Task, error) {
	for t.Status == task.Skipped {
		before := t.ID
		for _, text := range t.Spec.After {
			dep, _, never, err := e.judgeNeed(task.ParseNeed(text))
			if err != nil {
				return t, err
			}
			if never {
				t = dep
				break
			}
		}
		if t.ID == before {
			break
		}
	}
	return t, nil
}
