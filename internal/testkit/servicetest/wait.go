package servicetest

import (
	"errors"
	"slices"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

func (s *suite) waitForSeveral() {
	gate, last := fakeclaude.NewGate(s), fakeclaude.NewGate(s)
	good, bad, open := s.submit("[[text x]]"), s.submit(gate.Directive()+"[[exit 7]]"), s.submit(last.Directive())
	refs := []string{string(open), string(good), string(bad)}
	wait := func(until engine.Until, want ...task.Status) {
		s.Helper()
		tasks, err := s.Wait(s.ctx, engine.WaitQuery{Refs: refs, Until: until})
		s.must(err)
		var got []task.Status
		for _, t := range tasks {
			got = append(got, t.Status.Public())
		}
		if !slices.Equal(got, want) {
			s.Errorf("wait for %s of %v: %v", until, refs, got)
		}
	}
	// Which of the others runs already is not said, so both are let to their gates.
	goOn, err := gate.Reached(s.ctx)
	s.must(err)
	end, err := last.Reached(s.ctx)
	s.must(err)
	wait(engine.Any, task.Running, task.Completed, task.Running)
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		wait(engine.FirstFailure, task.Running, task.Completed, task.Failed)
	}()
	goOn()
	<-failed
	all := make(chan struct{})
	go func() {
		defer close(all)
		wait(engine.All, task.Completed, task.Completed, task.Failed)
	}()
	end()
	<-all
	if _, err := s.Wait(s.ctx, engine.WaitQuery{Refs: []string{refs[1], "no such task"}}); !errors.Is(err, task.ErrNotFound) {
		s.Errorf("a name of none: %v", err)
	}
	s.must(s.Remove(s.ctx, refs[1], false))
	tasks, err := s.Wait(s.ctx, engine.WaitQuery{Refs: refs})
	if s.must(err); tasks[1].ID != good || tasks[1].Status != "" || tasks[0].Status != task.Completed {
		s.Errorf("one of three is removed: %+v", tasks)
	}
}

func (s *suite) watchTellsOfChanges() {
	all := s.Watch(engine.Scope{})
	defer all.Close()
	next := func(w engine.Watch) []engine.Event {
		s.Helper()
		evs, err := w.Next(s.ctx)
		s.must(err)
		return evs
	}
	if evs := next(all); len(evs) != 0 {
		s.Errorf("at first came %v", evs)
	}
	gate := fakeclaude.NewGate(s)
	id := s.submit(gate.Directive())
	ends := s.Watch(engine.Scope{IDs: []task.ID{id}, Ends: true})
	defer ends.Close()
	next(ends)
	open, err := gate.Reached(s.ctx)
	s.must(err)
	open()
	if evs := next(ends); len(evs) != 1 || evs[0].ID != id || !evs[0].Ended {
		s.Errorf("at its end came %v", evs)
	}
	for told := false; !told; {
		told = slices.ContainsFunc(next(all), func(ev engine.Event) bool { return ev.ID == id && ev.Ended })
	}
}
