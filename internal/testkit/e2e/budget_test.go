package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cctask/engine/task"
	"cctask/internal/testkit/fakeapi"
)

// A budget is overshot by at most one call of the API, since claude itself is told what
// is left.
func TestOvershootOfABudget(t *testing.T) {
	const (
		call  = 0.000746 // what the script's usage costs
		limit = 0.006
	)
	for _, c := range []struct {
		name, budgets string
		flags         []string
		reason        task.FailureReason
		tasks         int
	}{
		{"held", "[budgets]\nday = 0.006\n", nil, task.ReasonBudget, 1},
		{"its own", "", []string{"--max-budget-usd", "0.006"}, task.ReasonMaxBudget, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "config.toml")
			must(t, os.WriteFile(config, []byte(c.budgets), 0o600))
			w := newWorld(t, "CCTASK_CONFIG="+config, "CCTASK_JOBS=3")
			var ids []string
			for range c.tasks {
				ids = append(ids, w.Start(strings.Repeat("[[bash true]]", 40)+"[[text never]]", append(c.flags, "--retries", "0")...))
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
			if spent := float64(calls) * call; spent > limit+float64(c.tasks)*call || cost < limit*0.8 || cost > spent*1.2 {
				t.Errorf("%d calls are $%.6f of $%v; recorded are $%.6f", calls, spent, limit, cost)
			}
		})
	}
}
