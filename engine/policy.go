package engine

import (
	"fmt"
	"path/filepath"
	"slices"

	"cctask/engine/task"
)

// Allow checks a submission with everything that can be looked at now, and
// gives its specification as the policy lets it run.
func Allow(s Submission, p task.Policy) (task.Spec, error) {
	if err := check(s); err != nil {
		return s.Spec, err
	}
	return bounded(s.Spec, p)
}

// bounded applies a policy. Where directories are bounded, claude gets them
// with their links resolved: a link that is turned after this look leads nowhere.
func bounded(s task.Spec, p task.Policy) (task.Spec, error) {
	if len(p.AllowedDirs) > 0 {
		s.AddDirs, p.AllowedDirs = slices.Clone(s.AddDirs), slices.Clone(p.AllowedDirs)
		for i, dir := range p.AllowedDirs {
			// One that is not there holds nothing that is.
			if real, err := filepath.EvalSymlinks(dir); err == nil {
				p.AllowedDirs[i] = real
			}
		}
		for _, dir := range append([]*string{&s.WorkingDir}, pointers(s.AddDirs)...) {
			real, err := filepath.EvalSymlinks(*dir)
			if err != nil {
				return s, &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("%s cannot be resolved", *dir), Err: err, Hint: "Name a directory that exists."}
			}
			*dir = real
		}
	}
	return p.Apply(s)
}

func pointers(list []string) []*string {
	out := make([]*string, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// rebound applies the policy of this moment to a task that was recorded under
// another one.
func (e *Engine) rebound(t *task.Task) error {
	p, err := e.policy()
	if err == nil {
		t.Spec, err = bounded(t.Spec, p)
	}
	return err
}

// policy is the one of this moment.
func (e *Engine) policy() (task.Policy, error) {
	if e.cfg.Policy == nil {
		return task.Policy{}, nil
	}
	return e.cfg.Policy()
}
