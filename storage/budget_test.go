package storage_test

import (
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/storagetest"
)

// What a day has spent is kept where the clock is set back over midnight, and ends with
// the day.
func TestSpendsOfADayThatComesTwice(t *testing.T) {
	t.Parallel()
	db := storagetest.Open(t)
	late := time.Date(2026, 3, 2, 0, 10, 0, 0, time.Local)
	for i, s := range []struct {
		at  time.Time
		sum float64
	}{
		{late, 1},
		{late.Add(-time.Hour), 2},
		{late, 3},
		{late.AddDate(0, 0, 1), 1},
		{late.AddDate(4, 0, 0), 1},
		{late, 2}, // it was wrong by years
		{late.AddDate(0, 0, 1), 1},
	} {
		w := queued(i, "x")
		w.Spent = []task.Spend{{Scope: task.ScopeDay, USD: 1, At: s.at}}
		apply(t, db, w)
		if got, err := db.Spends(); err != nil || len(got) != 1 || got[0].USD != s.sum {
			t.Errorf("%d: %+v, %v", i, got, err)
		}
	}
}
