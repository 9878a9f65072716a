package engine

import "cctask/engine/task"

// Caller is what a front knows about whoever hands tasks in.
type Caller struct {
	WorkingDir string                   // absolute; where relative paths count from; "": paths must be absolute
	Nowhere    string                   // why WorkingDir is ""
	Homed      func(path string) string // writes out ~/; nil: nobody has a home
	Env        []string                 // for claude, as are Limits
	Limits     task.Limits
	Claude     string     // absolute path of the claude binary
	NoClaude   error      // why there is none: a task at a site needs none here
	Defaults   task.Draft // options that count where a task has none of its own
	// Policy is the front's own, which bounds a task together with the owner's.
	Policy task.Policy
}

// Submission is a new task. What can be refused without an owner is refused here, so
// that a mistake starts nothing.
func (c Caller) Submission(prompt, key string, own task.Draft) (Submission, error) {
	if err := task.CheckPrompt(prompt); err != nil {
		return Submission{}, err
	}
	spec := own.Over(c.Defaults).Spec
	if spec.Site == "" {
		if c.NoClaude != nil {
			return Submission{}, c.NoClaude
		}
		spec.Claude = c.Claude
	}
	if err := spec.Anchor(c.Resolve); err != nil {
		return Submission{}, err
	}
	if err := spec.Check(); err != nil {
		return Submission{}, err
	}
	env := spec.TakeEnv(c.Env)
	return Submission{Spec: spec, Prompt: prompt, Env: env, Limits: c.Limits, Key: key, Policy: c.Policy}, nil
}

// Resolve makes the path of an option absolute, from where the caller works.
func (c Caller) Resolve(option, path string) (string, error) {
	if c.Homed != nil {
		path = c.Homed(path)
	}
	return task.Abs(option, path, c.WorkingDir, c.Nowhere)
}
