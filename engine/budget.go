package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"cctask/engine/task"
)

// ledger is what is spent in each scope. What has ended is booked: of day and labels in
// the database, in the commit of the end, so that neither an owner's death nor the
// deletion of tasks gives money back; of a root from the records below it. What runs
// is an estimate. Guarded by Engine.mu.
type ledger struct {
	budgets task.Budgets
	day     string // of which booked[task.ScopeDay] is
	booked  map[string]float64
	live    map[string]float64
	flights map[task.ID]flight
	flying  map[string]int // flights of each scope
	warned  map[string]bool
	read    time.Time // when the settings file was read for the sake of a spent budget
}

// flight is what a live attempt has cost so far.
type flight struct {
	scopes []string
	usd    float64
}

// warnAt is the share of a budget at which people are told.
const warnAt = 0.8

func newLedger() ledger {
	return ledger{booked: map[string]float64{}, live: map[string]float64{}, flights: map[task.ID]flight{}, flying: map[string]int{}, warned: map[string]bool{}}
}

// midnight is the end of the day that counts.
func (l *ledger) midnight(now time.Time) time.Time {
	day, _ := time.ParseInLocation(time.DateOnly, l.day, now.Location())
	return day.AddDate(0, 0, 1)
}

// book adds what was spent for good.
func (l *ledger) book(s task.Spend, now time.Time) {
	if s.Scope == task.ScopeDay {
		l.turn(now)
		day, over := task.Day(s.At.In(now.Location()).Format(time.DateOnly), now)
		if over {
			return
		}
		l.day = max(l.day, day)
	}
	l.booked[s.Scope] = task.RoundUSD(l.booked[s.Scope] + s.USD)
}

// turn begins a new day.
func (l *ledger) turn(now time.Time) {
	day, begins := task.Day(l.day, now)
	if l.day = day; begins {
		delete(l.booked, task.ScopeDay)
		delete(l.warned, task.ScopeDay)
	}
}

// of is where the budget of a scope stands; false: it has none.
func (l *ledger) of(scope string, now time.Time) (task.Budget, bool) {
	l.turn(now)
	b := task.Budget{Scope: scope, LimitUSD: l.budgets.Of(scope), SpentUSD: l.booked[scope], LiveUSD: l.live[scope], OnBudget: cmp.Or(l.budgets.OnBudget, task.OnBudgetHold)}
	if scope == task.ScopeDay {
		b.Until = l.midnight(now)
	}
	return b, b.LimitUSD > 0
}

// fly changes what a live attempt has cost so far; nil scopes: it is none any more.
func (l *ledger) fly(id task.ID, scopes []string, usd float64) {
	old := l.flights[id]
	for _, s := range old.scopes {
		l.live[s] = task.RoundUSD(l.live[s] - old.usd)
		l.flying[s]--
	}
	for _, s := range scopes {
		l.live[s] = task.RoundUSD(l.live[s] + usd)
		l.flying[s]++
	}
	for _, s := range old.scopes {
		if l.flying[s] == 0 {
			delete(l.flying, s)
			delete(l.live, s)
		}
	}
	if l.flights[id] = (flight{scopes, usd}); scopes == nil {
		delete(l.flights, id)
	}
}

// scopes are those whose money a task spends.
func (l *ledger) scopes(labels []string, root task.ID) []string {
	return append([]string{task.ScopeDay}, l.budgets.Scopes(labels, root)...)
}

func budgetOf(scope string) obstacle { return obstacle{task.WaitBudget, scope} }

// heed lets a budget count as it stands, and names the live tasks that are to be
// stopped for it.
func (e *Engine) heed(scope string, now time.Time) (stop []*attempt) {
	l := &e.ledger
	b, bounded := l.of(scope, now)
	switch {
	case !bounded || b.Left() > 0:
		e.sched.open(budgetOf(scope))
	default:
		if c, closed := e.sched.closed[budgetOf(scope)]; !closed || !c.until.Equal(b.Until) {
			e.sched.close(budgetOf(scope), closure{until: b.Until})
			e.log.Warn().Str("scope", scope).Msg(b.Words() + ": nothing of it is launched; " + task.RaiseBudget)
		}
		if l.budgets.OnBudget != task.OnBudgetCancel {
			break
		}
		for id, f := range l.flights {
			if a := e.live[id]; a != nil && slices.Contains(f.scopes, scope) {
				stop = append(stop, a)
			}
		}
	}
	warn := bounded && b.Share() >= warnAt
	if warn && !l.warned[scope] {
		e.log.Warn().Str("scope", scope).Msg(b.Words())
	}
	l.warned[scope] = warn
	return stop
}

// flies takes note of what a live attempt has cost so far.
func (e *Engine) flies(id task.ID, usd float64) {
	e.mu.Lock()
	f, flies := e.ledger.flights[id]
	var stop []*attempt
	if flies && f.usd != usd {
		e.ledger.fly(id, f.scopes, usd)
		stop = e.heedAll(f.scopes)
	}
	e.mu.Unlock()
	for _, a := range stop {
		a.stop(task.StopBudget)
	}
	if len(stop) > 0 {
		e.poke()
	}
}

func (e *Engine) heedAll(scopes []string) (stop []*attempt) {
	now := time.Now()
	for _, scope := range scopes {
		stop = append(stop, e.heed(scope, now)...)
	}
	return stop
}

// takesOff makes an attempt one that spends. What the other tasks of its root have cost
// is looked up at the first one that this owner sees.
func (e *Engine) takesOff(t *task.Task) error {
	e.mu.Lock()
	scopes, root := e.ledger.scopes(t.Spec.Labels, t.Root()), task.RootScope(t.Root())
	e.ledger.fly(t.ID, scopes, 0)
	_, known := e.ledger.booked[root]
	e.mu.Unlock()
	if !slices.Contains(scopes, root) || known {
		return nil
	}
	ids, err := e.store.Descendants(t.Root())
	if err != nil {
		return fmt.Errorf("look up what the tasks below %s have cost: %w", t.Root(), err)
	}
	total := 0.0
	for _, id := range append(ids, t.Root()) {
		one, err := e.store.Task(id)
		if err != nil && !errors.Is(err, task.ErrNotFound) {
			return err
		}
		total += one.CostUSD
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ledger.booked[root] = task.RoundUSD(total)
	return nil
}

// lands books an attempt that has ended.
func (e *Engine) lands(t *task.Task, spends []task.Spend) {
	e.mu.Lock()
	f := e.ledger.flights[t.ID]
	e.ledger.fly(t.ID, nil, 0)
	for _, s := range spends {
		e.ledger.book(s, time.Now())
	}
	root := task.RootScope(t.Root())
	if sum, known := e.ledger.booked[root]; known && len(spends) > 0 {
		e.ledger.booked[root] = task.RoundUSD(sum + spends[0].USD)
	}
	stop := e.heedAll(f.scopes)
	e.mu.Unlock()
	for _, a := range stop {
		a.stop(task.StopBudget)
	}
}

// forgetRoot lets go of the sum of a root of which nothing runs: the next that does has
// it looked up, and there may be as many roots as tasks. Guarded by Engine.mu.
func (e *Engine) forgetRoot(root task.ID) {
	scope := task.RootScope(root)
	if _, spent := e.sched.closed[budgetOf(scope)]; !spent && e.ledger.flying[scope] == 0 {
		delete(e.ledger.booked, scope)
		delete(e.ledger.warned, scope)
	}
}

// errSpent says that a budget has nothing left for a task that was chosen.
var errSpent = errors.New("a budget is spent")

// narrowest is the scope of a task that has the least left, with that; "" if none has a
// budget.
func (e *Engine) narrowest(t *task.Task) (scope string, left float64, err error) {
	e.refreshBudgets()
	if err := e.takesOff(t); err != nil {
		return "", 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for _, s := range e.ledger.flights[t.ID].scopes {
		b, bounded := e.ledger.of(s, now)
		if !bounded {
			continue
		}
		if scope == "" || b.Left() < left {
			scope, left = s, b.Left()
		}
		if b.Left() <= 0 {
			e.heed(s, now)
			return s, 0, fmt.Errorf("%w: %s", errSpent, b.Words())
		}
	}
	return scope, left, nil
}

// warning says which budgets of a live task are nearly used up; "" for none.
func (e *Engine) warning(id task.ID) (words string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, now := e.ledger.flights[id], time.Now()
	for _, scope := range f.scopes {
		if e.ledger.warned[scope] {
			b, _ := e.ledger.of(scope, now)
			words = b.Words()
		}
	}
	return words
}

// nearlySpent says the same of a task's own budget.
func nearlySpent(t *task.Task) string {
	b := task.Budget{Scope: "of the task", LimitUSD: t.Spec.MaxBudgetUSD, SpentUSD: t.CostUSD}
	if t.Progress != nil {
		b.LiveUSD = t.Progress.CostUSD
	}
	if b.LimitUSD == 0 || b.Share() < warnAt {
		return ""
	}
	return b.Words()
}

// refreshBudgets takes the budgets as the settings file was read last. The queue is
// looked through anew only if they have changed.
func (e *Engine) refreshBudgets() {
	if e.cfg.Budgets == nil {
		return
	}
	b := e.cfg.Budgets()
	e.mu.Lock()
	defer e.mu.Unlock()
	if sameBudgets(b, e.ledger.budgets) {
		return
	}
	e.ledger.budgets = b
	for id, f := range e.ledger.flights { // they draw on a budget that came since, too
		if l := e.sched.live[id]; l != nil {
			e.ledger.fly(id, e.ledger.scopes(l.waiter.labels, l.waiter.root), f.usd)
		}
	}
	for o := range e.sched.closed {
		if o.kind == task.WaitBudget {
			e.heed(o.name, time.Now())
		}
	}
	for scope := range e.ledger.booked {
		e.heed(scope, time.Now())
	}
	for _, w := range slices.Collect(maps.Values(e.sched.waiters)) {
		e.sched.add(e.draws(w))
	}
	e.poke()
}

// draws notes on which budgets a queued task draws, beside the day's.
func (e *Engine) draws(w *waiter) *waiter {
	w.budgets = e.ledger.budgets.Scopes(w.labels, w.root)
	return w
}

// rereadEvery is how often the settings file is read while a budget is spent and nothing
// else happens that reads it: somebody may have raised the budget.
const rereadEvery = 5 * time.Second

func (e *Engine) rereadBudgets() {
	e.mu.Lock()
	due := e.spentAny() && time.Since(e.ledger.read) >= rereadEvery
	if due {
		e.ledger.read = time.Now()
	}
	e.mu.Unlock()
	if due {
		e.readBudgets()
	}
}

// readBudgets reads the settings file; a broken one lets the budgets stand.
func (e *Engine) readBudgets() {
	_, _ = e.Policy()
	e.refreshBudgets()
}

// spentAny tells whether a budget holds something up.
func (e *Engine) spentAny() bool {
	for o := range e.sched.closed {
		if o.kind == task.WaitBudget {
			return true
		}
	}
	return false
}

func sameBudgets(a, b task.Budgets) bool {
	return a.Day == b.Day && a.Root == b.Root && a.OnBudget == b.OnBudget &&
		maps.EqualFunc(a.Labels, b.Labels, func(x, y *float64) bool { return *x == *y })
}

// loadSpends gives a new owner what was spent before.
func (e *Engine) loadSpends() error {
	all, err := e.store.Spends()
	if err != nil {
		return fmt.Errorf("load what was spent: %w", err)
	}
	e.refreshBudgets()
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for _, s := range all {
		e.ledger.book(s, now)
		e.heed(s.Scope, now)
	}
	return nil
}

// Budgets returns where each budget stands, as the settings file is now.
func (e *Engine) Budgets(context.Context) ([]task.Budget, error) {
	e.readBudgets()
	e.mu.Lock()
	defer e.mu.Unlock()
	scopes := map[string]bool{task.ScopeDay: true}
	for l := range e.ledger.budgets.Labels {
		scopes[task.LabelScope(l)] = true
	}
	for _, f := range e.ledger.flights {
		for _, scope := range f.scopes {
			scopes[scope] = true
		}
	}
	for o := range e.sched.closed {
		if o.kind == task.WaitBudget {
			scopes[o.name] = true
		}
	}
	list, now := []task.Budget{}, time.Now()
	for _, scope := range slices.Sorted(maps.Keys(scopes)) {
		if b, bounded := e.ledger.of(scope, now); bounded {
			list = append(list, b)
		}
	}
	return list, nil
}
