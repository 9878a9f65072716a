package engine_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// budgeted opens the next owner with budgets that can be changed.
func (w *world) budgeted(b task.Budgets) *atomic.Pointer[task.Budgets] {
	w.Helper()
	w.Close()
	var now atomic.Pointer[task.Budgets]
	now.Store(&b)
	w.cfg.Budgets = func() task.Budgets { return *now.Load() }
	w.open()
	return &now
}

func (w *world) labelled(prompt string, labels ...string) task.ID {
	w.Helper()
	t, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: w.home, Claude: w.claude, Labels: labels}, Prompt: prompt, Env: w.env()})
	w.must(err)
	return t.ID
}

func (w *world) waits(id task.ID) task.Task {
	w.Helper()
	var t task.Task
	w.until("it waits for a budget", func() bool {
		var err error
		t, err = w.Get(w.ctx, string(id))
		w.must(err)
		return t.Waiting.For == task.WaitBudget || t.Status != task.Queued && t.Status != task.Starting
	})
	return t
}

// A day's budget that is spent lets nothing start, says so, stays spent over the death of
// the owner and the deletion of what spent it, and counts anew once it is raised.
func TestSpentBudgetOfTheDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	b := w.budgeted(task.Budgets{Day: 0.05})
	first := w.submit("[[cost 0.02]]")
	w.end(first, task.Completed)
	if got, _ := w.Budgets(w.ctx); len(got) != 1 || got[0].SpentUSD != 0.02 || got[0].Scope != "day" || got[0].Until.IsZero() {
		t.Errorf("%+v", got)
	}
	w.end(w.submit("[[cost 0.03]]"), task.Completed)
	w.must(w.Remove(w.ctx, string(first), false))
	next := w.submit("[[text x]]")
	got := w.waits(next)
	if got.Status != task.Queued || !slices.Equal(got.Waiting.On, []string{"day"}) || got.Waiting.Until.IsZero() || !strings.Contains(task.NewView(got, got.QueuedAt).StatusMessage, "[budgets]") {
		t.Errorf("%s, %+v, %q", got.Status, got.Waiting, task.NewView(got, got.QueuedAt).StatusMessage)
	}
	w.Close()
	w.open()
	if got := w.waits(next); got.Status != task.Queued {
		t.Errorf("under the next owner: %s", got.Status)
	}
	for i, want := range []string{"--max-budget-usd=0.05", "--max-budget-usd=0.03"} {
		if args := w.starts(2)[i].Args; !slices.Contains(args, want) {
			t.Errorf("claude was not told what is left, %s: %s", want, args)
		}
	}
	b.Store(&task.Budgets{Day: 1})
	w.end(next, task.Completed)
}

// Overshoot of a budget that stops what runs: at most what each running task has asked for
// when it is spent.
func TestSpentBudgetStopsWhatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	const message, limit = 0.0008, 0.004
	usd := limit
	w.budgeted(task.Budgets{Labels: map[string]*float64{"night": &usd}, OnBudget: task.OnBudgetCancel})
	const running = 3
	var ids []task.ID
	gates := [running]fakeclaude.Gate{}
	for i := range gates {
		gates[i] = fakeclaude.NewGate(t)
		ids = append(ids, w.labelled("[[text a]]"+gates[i].Directive()+"[[text b]][[hang]]", "night"))
	}
	other := fakeclaude.NewGate(t)
	free := w.labelled("[[text a]][[text b]][[text c]]"+other.Directive(), "day")
	openOther := w.reached(other)
	var opens []func()
	for _, g := range gates {
		opens = append(opens, w.reached(g))
	}
	w.until("80 % is told", func() bool {
		opens[0]()
		got, err := w.Get(w.ctx, string(ids[1]))
		w.must(err)
		return got.Message == "budget label:night: ~$0.0032 of $0.004"
	})
	last := w.labelled("[[text x]]", "night")
	for _, open := range opens[1:] {
		open()
	}
	spent := 0.0
	for _, id := range ids {
		got := w.end(id, task.Failed)
		if got.Reason != task.ReasonBudget || got.StopReason != task.StopBudget || !strings.Contains(got.Message, "label:night") || !got.CostUncertain {
			t.Errorf("%s, stopped by %q (%s), cost %v", got.Reason, got.StopReason, got.Message, got.CostUSD)
		}
		spent += got.CostUSD
	}
	if spent < limit || spent > limit+running*message {
		t.Errorf("spent %v of %v; a message costs %v", spent, limit, message)
	}
	if got := w.waits(last); got.Status != task.Queued {
		t.Errorf("the one that waited: %s", got.Status)
	}
	openOther()
	w.end(free, task.Completed)
	_, err := w.Cancel(w.ctx, string(last))
	w.must(err)
}

// A budget that comes while a task runs counts what that costs from then on.
func TestBudgetThatComesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	b := w.budgeted(task.Budgets{})
	gate := fakeclaude.NewGate(t)
	id := w.labelled("[[text a]]"+gate.Directive(), "night")
	open := w.reached(gate)
	usd := 1.0
	b.Store(&task.Budgets{Labels: map[string]*float64{"night": &usd}})
	w.until("it counts", func() bool {
		got, err := w.Budgets(w.ctx)
		w.must(err)
		return len(got) == 1 && got[0].LiveUSD > 0
	})
	open()
	w.end(id, task.Completed)
}

// Of a root of which nothing runs no sum is kept in memory, unless its budget is spent.
func TestSumsOfRootsAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.budgeted(task.Budgets{Root: 1})
	w.end(w.submit("[[cost 0.02]]"), task.Completed)
	w.until("none is listed", func() bool { got, err := w.Budgets(w.ctx); w.must(err); return len(got) == 0 })
}
