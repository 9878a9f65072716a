package engine_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/runner"
)

func TestDefaultJobs(t *testing.T) {
	t.Parallel()
	if n := engine.DefaultJobs(); n < 1 || n > min(64, 2*runtime.NumCPU()) {
		t.Errorf("%d jobs on %d cores", n, runtime.NumCPU())
	}
}

// Silent attempts count as starting for 2 s; no more than the cores, and two at
// least, are between exec and their first output.
func TestStartUpsAreGated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 16)
	var mu sync.Mutex
	var at []time.Time
	w.site.start = func(ctx context.Context, name string, o runner.Order) (runner.Sight, error) {
		mu.Lock()
		at = append(at, time.Now())
		mu.Unlock()
		return w.site.Site.Start(ctx, name, o)
	}
	limit := 2 * runtime.NumCPU()
	for range limit + 1 {
		w.submit("[[delay 1m]]")
	}
	w.until("the last has started", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(at) == limit+1
	})
	if early := at[limit].Sub(at[0]); early < 2*time.Second {
		t.Errorf("start %d came %v after the first, which had said nothing", limit+1, early)
	}
}
