package engine

import (
	"testing"
	"time"

	"cctask/engine/task"
)

// A clock that is set back over midnight gives a day no money back, neither to this owner
// nor to one that starts then; the next day has all of it again.
func TestLedgerOfADayThatComesTwice(t *testing.T) {
	t.Parallel()
	late := time.Date(2026, 3, 2, 0, 10, 0, 0, time.Local)
	early := late.Add(-time.Hour)
	l := newLedger()
	l.budgets.Day = 5
	l.book(task.Spend{Scope: task.ScopeDay, USD: 4, At: late}, late)
	if b, _ := l.of(task.ScopeDay, early); b.SpentUSD != 4 {
		t.Errorf("after the clock was set back %v are spent", b.SpentUSD)
	}
	l.book(task.Spend{Scope: task.ScopeDay, USD: 1, At: early}, early)
	if b, _ := l.of(task.ScopeDay, late); b.SpentUSD != 5 || !b.Until.Equal(time.Date(2026, 3, 3, 0, 0, 0, 0, time.Local)) {
		t.Errorf("as midnight comes again %v are spent", b.SpentUSD)
	}
	next := newLedger()
	next.budgets.Day = 5
	next.book(task.Spend{Scope: task.ScopeDay, USD: 4, At: late}, early)
	if b, _ := next.of(task.ScopeDay, early); b.SpentUSD != 4 {
		t.Errorf("the next owner has %v spent", b.SpentUSD)
	}
	if b, _ := next.of(task.ScopeDay, late.AddDate(0, 0, 1)); b.SpentUSD != 0 {
		t.Errorf("the day after has %v spent", b.SpentUSD)
	}
}
