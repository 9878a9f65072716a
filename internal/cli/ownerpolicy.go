package cli

import (
	"fmt"
	"os"
	"sync"

	"cctask/engine/task"
	"cctask/internal/cli/settings"
)

// ownerPolicy is the policy of an owner: what its settings file says now, so that
// an edit counts at once. The file is that of the command which started the owner,
// and everybody's tasks go through it: once it is gone, what was read last holds.
type ownerPolicy struct {
	read func() (settings.File, error)

	mu   sync.Mutex
	last settings.File // the last that could be read; its path is "" before
	gone bool          // it cannot be read any more
}

func (p *ownerPolicy) now() (task.Policy, error) {
	c, err := p.read()
	p.mu.Lock()
	defer p.mu.Unlock()
	// A missing file at the usual place is no error, and lifts no policy either.
	if p.gone = p.last.There && !c.There; p.gone {
		return p.last.Policy, nil
	}
	if err != nil {
		return task.Policy{}, &task.Error{
			Code: task.CodeInvalid, Message: "the owner has no policy", Err: err,
			Hint: p.cure(c.Path),
		}
	}
	p.last = c
	return c.Policy, nil
}

// settings are the owner's other tables, as the file was read last.
func (p *ownerPolicy) settings() settings.File {
	_, _ = p.now() // a broken file lets nobody go untold
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

func (p *ownerPolicy) notify() task.Notify { return p.settings().Notify }

func (p *ownerPolicy) retry() task.RetryPolicy { return p.settings().Retry }

// budgets are what may be spent, as the file was read last.
func (p *ownerPolicy) budgets() task.Budgets {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last.Budgets
}

// notice is what fronts are told while the file is of no use.
func (p *ownerPolicy) notice() string {
	_, err := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		return fmt.Sprintf("new tasks are refused: %v. %s", err, task.HintOf(err))
	case p.gone:
		return fmt.Sprintf("the settings file %s cannot be read any more: its policy holds as it was read last. %s", p.last.Path, p.cure(p.last.Path))
	}
	return ""
}

func (p *ownerPolicy) cure(path string) string {
	return fmt.Sprintf("The command that started the owner (process %d) named %s: put it right, or end that owner with `cctask daemon stop`. "+
		"The next command then starts one with its own settings, and running tasks go on.", os.Getpid(), path)
}
