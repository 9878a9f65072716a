package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"cctask/engine/task"
)

func paused(group string) obstacle { return obstacle{task.WaitGroupPaused, group} }

// Groups returns all groups of which something is set or that have tasks, after
// the change if there is one. The group "" is the whole queue, and always there.
func (e *Engine) Groups(_ context.Context, change *task.GroupChange) ([]task.Group, error) {
	if change != nil {
		if err := e.setGroup(*change); err != nil {
			return nil, err
		}
	}
	stored, err := e.store.Groups()
	if err != nil {
		return nil, err
	}
	groups := map[string]*task.Group{"": {}}
	of := func(name string) *task.Group {
		if groups[name] == nil {
			groups[name] = &task.Group{Name: name}
		}
		return groups[name]
	}
	for _, g := range stored {
		*of(g.Name) = g
	}
	e.mu.Lock()
	for name, n := range e.sched.groups {
		of(name).Live = n
		of("").Live += n
	}
	for _, w := range e.sched.waiters {
		of(w.class.group).Queued++
		of("").Queued++
	}
	e.mu.Unlock()
	var list []task.Group
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		list = append(list, *groups[name])
	}
	return list, nil
}

// setGroup makes a change durable before the scheduler heeds it.
func (e *Engine) setGroup(c task.GroupChange) error {
	if err := e.MayChange(); err != nil {
		return err
	}
	e.groups.Lock()
	defer e.groups.Unlock()
	stored, err := e.store.Groups()
	if err != nil {
		return err
	}
	var old task.Group
	if i := slices.IndexFunc(stored, func(g task.Group) bool { return g.Name == c.Name }); i >= 0 {
		old = stored[i]
	}
	g, err := c.Of(old)
	if err != nil {
		return err
	}
	if err := e.store.SetGroup(g); err != nil {
		return fmt.Errorf("record group %s: %w", cmp.Or(c.Name, "of all"), err)
	}
	e.mu.Lock()
	e.sched.setGroup(g)
	e.mu.Unlock()
	e.poke()
	return nil
}

// loadGroups gives the scheduler of a new owner what is set.
func (e *Engine) loadGroups() error {
	stored, err := e.store.Groups()
	if err != nil {
		return fmt.Errorf("load the groups: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, g := range stored {
		e.sched.setGroup(g)
	}
	return nil
}

// setGroup lets what is set of a group count from now on.
func (s *schedule) setGroup(g task.Group) {
	if g.Name != "" {
		s.limits.groups[g.Name] = g.Jobs
	}
	s.leases.disturbed = true
	if g.Paused {
		s.close(paused(g.Name), closure{})
	} else {
		s.open(paused(g.Name))
	}
}
