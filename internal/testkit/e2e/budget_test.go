package e2e

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cctask/engine/task"
	"cctask/internal/testkit/fakeapi"
)

// A budget is overshot by at most one call of the API for each running task: where what
// runs is stopped, and where claude itself is told what is left. A call takes longer where
// tasks are stopped than the owner takes to see what the one before cost.
func TestOvershootOfABudget(t *testing.T) {
	const (
		call  = fakeapi.CostPerTurn
		limit = 0.00485
	)
	for _, c := range []struct {
		name, budgets string
		flags         []string
		reason        task.FailureReason
		tasks         int
		turn          string
	}{
		{"stopped", "[budgets]\n\"label:night\" = 0.00485\non_budget = \"cancel\"\n", []string{"--label", "night"}, task.ReasonBudget, 3, "[[delay 2s]][[bash true]]"},
		{"held", "[budgets]\nday = 0.00485\n", nil, task.ReasonBudget, 1, "[[bash true]]"},
		{"its own", "", []string{"--max-budget-usd", "0.00485"}, task.ReasonMaxBudget, 1, "[[bash true]]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "config.toml")
			must(t, os.WriteFile(config, []byte(c.budgets), 0o600))
			w := newWorld(t, "CCTASK_CONFIG="+config, "CCTASK_JOBS=3")
			var ids []string
			for range c.tasks {
				ids = append(ids, w.Start(strings.Repeat(c.turn, 40)+"[[text never]]", append(c.flags, "--retries", "0")...))
			}
			cost := 0.0
			for _, v := range w.Wait(ids...) {
				if v.Status != task.Failed || v.FailureReason != c.reason {
					t.Errorf("%s, %s: %s", v.Status, v.FailureReason, v.Error)
				}
				cost += *v.CostUSD
			}
			calls := 0
			for _, r := range w.API.Requests() {
				if r.Kind == fakeapi.KindMain && strings.Contains(r.Prompt, "never") {
					calls++
				}
			}
			t.Logf("%d calls, $%.6f of $%v; recorded $%.6f", calls, float64(calls)*call, limit, cost)
			// The call that reaches the limit, and one more of each that runs.
			most := int(math.Ceil(limit/call)) + c.tasks
			if spent := float64(calls) * call; calls > most || cost < limit*0.8 || cost > spent*1.2 {
				t.Errorf("%d calls of at most %d are $%.6f of $%v; recorded are $%.6f", calls, most, spent, limit, cost)
			}
		})
	}
}
