package engine

import (
	"fmt"
	"strings"

	"cctask/engine/task"
)

// left is a task's specification with what its earlier attempts left of max_turns
// and max_budget_usd: each run of claude counts its own from nothing. It is
// refused where nothing is left.
func left(t task.Task, earlier []task.Attempt) (task.Spec, error) {
	s := t.Spec
	spent := func(option string, bound any) error {
		return task.Errorf(task.CodeConflict, fmt.Sprintf("Start a new task with resume_task_id %s: it goes on in the same session with bounds of its own. In a shell `cctask resume --%s MORE %s` raises this one's.", t.ID, strings.ReplaceAll(option, "_", "-"), t.ID),
			"task %s has used up its %s of %v", t.ID, option, bound)
	}
	if s.MaxTurns > 0 {
		for _, a := range earlier {
			s.MaxTurns -= a.Requests
		}
		if s.MaxTurns <= 0 {
			return s, spent("max_turns", t.Spec.MaxTurns)
		}
	}
	if s.MaxBudgetUSD > 0 {
		if s.MaxBudgetUSD = task.RoundUSD(s.MaxBudgetUSD - t.CostUSD); s.MaxBudgetUSD <= 0 {
			return s, spent("max_budget_usd", t.Spec.MaxBudgetUSD)
		}
	}
	return s, nil
}

// argv is claude's command line for an attempt, after the policy of this moment
// was applied to the task. rest is what the budgets of others leave it, 0 for no bound;
// own tells that its own leaves less.
func (e *Engine) argv(t *task.Task, rec task.Attempt, p task.Policy, rest float64) (words []string, own bool, err error) {
	all, err := e.store.Attempts(t.ID)
	if err != nil {
		return nil, true, fmt.Errorf("read the earlier attempts: %w", err)
	}
	if t.Spec, p, err = bounded(e.at(t.Spec.Site), t.Spec, p, t.Policy); err != nil {
		return nil, true, err
	}
	s, err := left(*t, all)
	if own = rest == 0 || s.MaxBudgetUSD > 0 && s.MaxBudgetUSD <= rest; !own {
		s.MaxBudgetUSD = rest
	}
	if err == nil {
		s, err = e.served(s)
	}
	return argv(s, rec, p), own, err
}
