package engine

import (
	"context"
	"fmt"
	"slices"

	"cctask/engine/claude"
	"cctask/engine/task"
)

// Allow checks a submission with everything that can be looked at now, and
// gives its specification as the owner's policy and the front's let it run.
func Allow(at Asker, s Submission, owner task.Policy) (task.Spec, error) {
	if err := check(at, s); err != nil {
		return s.Spec, err
	}
	spec, p, err := bounded(at, s.Spec, owner, s.Policy)
	if err == nil {
		err = checkSize(argv(spec, task.Attempt{}, p), s.Env, argMargin)
	}
	return spec, err
}

// bounded applies the policy of the owner and that of the front, and gives what
// both allow. Where directories are bounded, claude gets them with their links
// resolved: a link that is turned after this look leads nowhere.
func bounded(at Asker, s task.Spec, owner, front task.Policy) (task.Spec, task.Policy, error) {
	resolve(at, &owner)
	resolve(at, &front)
	p, err := owner.And(front)
	if err != nil {
		return s, p, err
	}
	if len(p.AllowedDirs) > 0 {
		s.AddDirs = slices.Clone(s.AddDirs)
		for _, dir := range append([]*string{&s.WorkingDir}, pointers(s.AddDirs)...) {
			f, err := at.Ask(context.Background(), *dir, 0)
			if err != nil {
				return s, p, &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("%s cannot be resolved", *dir), Err: err, Hint: "Name a directory that exists."}
			}
			*dir = f.Real
		}
	}
	s, err = p.Apply(s)
	return s, p, err
}

// resolve writes the directories of a policy without links.
func resolve(at Asker, p *task.Policy) {
	p.AllowedDirs = slices.Clone(p.AllowedDirs)
	for i, dir := range p.AllowedDirs {
		// One that is not there holds nothing that is.
		if f, err := at.Ask(context.Background(), dir, 0); err == nil {
			p.AllowedDirs[i] = f.Real
		}
	}
}

func pointers(list []string) []*string {
	out := make([]*string, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// rebound applies the policies of this moment to a task that was recorded under
// others: the owner's, and those of the fronts that submitted it and ask now.
func (e *Engine) rebound(t *task.Task, a Again) error {
	p, err := e.Policy()
	if err != nil {
		return err
	}
	at := e.at(t.Spec.Site)
	resolve(at, &t.Policy)
	resolve(at, &a.Policy)
	if t.Policy, err = t.Policy.And(a.Policy); err == nil {
		t.Spec, p, err = bounded(at, t.Spec, p, t.Policy)
	}
	if err == nil {
		err = checkSize(argv(t.Spec, task.Attempt{}, p), a.Env, argMargin)
	}
	return err
}

func argv(s task.Spec, n task.Attempt, p task.Policy) []string {
	return append([]string{s.Claude}, claude.Args(s, n, p.ExtraArgs)...)
}

// Policy is the owner's of this moment.
func (e *Engine) Policy() (task.Policy, error) {
	if e.cfg.Policy == nil {
		return task.Policy{}, nil
	}
	return e.cfg.Policy()
}
