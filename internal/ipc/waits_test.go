package ipc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

func TestThousandWaits(t *testing.T) {
	dir := stateDir(t)
	f := serve(t, dir)
	c := front(t, dir)
	ids := make([]task.ID, 1000)
	for i := range ids {
		ids[i] = task.NewID(time.Now())
		f.mu.Lock()
		f.apply(logged{Task: task.Task{ID: ids[i], Status: task.Running}})
		f.mu.Unlock()
	}
	ctx := within(t, hang)
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			tk, err := engine.WaitFor(ctx, c, string(id), engine.UntilEnd)
			if err != nil || tk.ID != id || tk.Status != task.Completed {
				t.Errorf("%s: %+v %v", id, tk.Status, err)
			}
		})
	}
	// The ends race with waits that have not looked yet.
	until(t, "half of them have looked", func() bool { return f.gets.Load() > 500 })
	// Progress wakes nobody who waits for the end.
	for _, id := range ids {
		f.progress(id)
	}
	for _, id := range ids {
		f.end(id, task.Completed)
	}
	wg.Wait()
	if n := f.gets.Load(); n > 2000 {
		t.Errorf("%d looks for 1000 waits", n)
	}
	if n := f.mostGets.Load(); n > gets {
		t.Errorf("%d looks at once", n)
	}
	if n := f.follows.Load(); n != 1 {
		t.Errorf("%d event streams", n)
	}
}

func TestWaitForAChange(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	f := serve(t, dir)
	c := front(t, dir)
	ctx := within(t, hang)
	tk := submit(t, c, "x")
	tk, err := engine.WaitFor(ctx, c, string(tk.ID), 0)
	if err != nil || tk.Version == 0 {
		t.Fatalf("%+v %v", tk, err)
	}
	got := make(chan task.Task, 1)
	go func() {
		next, err := engine.WaitFor(ctx, c, string(tk.ID), tk.Version)
		if err != nil {
			t.Error(err)
		}
		got <- next
	}()
	until(t, "it waits", func() bool { return f.gets.Load() == 2 })
	select {
	case next := <-got:
		t.Fatalf("came back with nothing new: %+v", next)
	default:
	}
	f.progress(tk.ID)
	if next := <-got; next.Version <= tk.Version {
		t.Errorf("version %d after %d", next.Version, tk.Version)
	}
	if _, err := engine.WaitFor(ctx, c, "nobody", engine.UntilEnd); !errors.Is(err, task.ErrNotFound) {
		t.Error(err)
	}
	go func() {
		until(t, "it waits", func() bool { return f.gets.Load() > 4 })
		if err := c.Remove(ctx, string(tk.ID), true); err != nil {
			t.Error(err)
		}
		f.Publish(engine.Event{ID: tk.ID, Ended: true})
	}()
	if _, err := engine.WaitFor(ctx, c, string(tk.ID), engine.UntilEnd); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("a removed task: %v", err)
	}
}

func TestWaitHonoursItsContext(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	f := serve(t, dir)
	c := front(t, dir)
	id := string(submit(t, c, "x").ID)
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error, 10)
	for range cap(errs) {
		go func() {
			_, err := engine.WaitFor(ctx, c, id, engine.UntilEnd)
			errs <- err
		}()
	}
	until(t, "all wait", func() bool { return f.gets.Load() >= 10 })
	cancel() // else they wait for ever
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	// Nobody waits any more, so the stream does not keep the owner from leaving.
	until(t, "the stream has ended", func() bool {
		c.waits.mu.Lock()
		defer c.waits.mu.Unlock()
		return c.waits.cur == nil
	})
	// And the next wait opens another.
	go func() {
		until(t, "it waits", func() bool { return f.follows.Load() == 2 })
		f.end(task.ID(id), task.Failed)
	}()
	if tk, err := engine.WaitFor(within(t, hang), c, id, engine.UntilEnd); err != nil || tk.Status != task.Failed {
		t.Errorf("%+v %v", tk, err)
	}
}

func TestWaitsOutliveOwners(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	c := front(t, dir)
	c.helloWait, c.silence = 300*time.Millisecond, 500*time.Millisecond
	ctx := within(t, hang)
	var ids []task.ID
	var wg sync.WaitGroup
	for i := range 20 {
		id := submit(t, c, fmt.Sprint(i)).ID
		ids = append(ids, id)
		wg.Go(func() {
			if tk, err := engine.WaitFor(ctx, c, string(id), engine.UntilEnd); err != nil || tk.Status != task.Completed {
				t.Errorf("%+v %v", tk, err)
			}
		})
	}
	other := front(t, dir)
	other.helloWait = c.helloWait
	end := func(ids ...task.ID) {
		for _, id := range ids {
			if err := other.Ended(ctx, "finish "+string(id)); err != nil {
				t.Error(err)
			}
		}
	}
	end(ids[:5]...)
	if err := syscall.Kill(hello(t, other).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	end(ids[5:10]...)
	if err := other.Stop(ctx, false); err != nil {
		t.Fatal(err)
	}
	end(ids[10:15]...)
	suspend(t, hello(t, other).PID)
	end(ids[15:]...)
	wg.Wait()
}

// Only the waiting client notices that a stopped owner sends no heartbeats.
func TestWaitReplacesASilentOwner(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	c := front(t, dir)
	c.helloWait, c.silence = 200*time.Millisecond, 300*time.Millisecond
	tk := submit(t, c, "x")
	got := make(chan error, 1)
	go func() {
		_, err := engine.WaitFor(within(t, hang), c, string(tk.ID), engine.UntilEnd)
		got <- err
	}()
	first := hello(t, c).PID
	suspend(t, first)
	until(t, "another owner serves", func() bool {
		l, held, err := Inspect(dir)
		return err == nil && held && l.PID != first && l.Phase == PhaseServing
	})
	if err := c.Ended(within(t, hang), "finish "+string(tk.ID)); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestWaitOfAClosedClient(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	f := serve(t, dir)
	c := front(t, dir)
	id := string(submit(t, c, "x").ID)
	got := make(chan error, 1)
	go func() {
		_, err := engine.WaitFor(context.Background(), c, id, engine.UntilEnd)
		got <- err
	}()
	until(t, "it waits", func() bool { return f.gets.Load() == 1 })
	c.Close()
	if err := <-got; !errors.Is(err, task.ErrOwnerGone) {
		t.Error(err)
	}
}

func TestIdleOwnerLeaves(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	configure(t, dir, daemonConfig{IdleMS: 50})
	live := filepath.Join(dir, "live")
	if err := os.WriteFile(live, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := front(t, dir)
	first := hello(t, c).PID
	// Something is live: the owner stays well beyond its idle time.
	select {
	case <-time.After(200 * time.Millisecond):
	case <-t.Context().Done():
	}
	if h := hello(t, c); h.PID != first {
		t.Error("left while a task was live")
	}
	if err := os.Remove(live); err != nil {
		t.Fatal(err)
	}
	until(t, "the owner has left", func() bool {
		_, held, err := Inspect(dir)
		return err == nil && !held
	})
	if h := hello(t, c); h.PID == first {
		t.Error("the old owner answers")
	}
}

func TestOwnerWithoutItsFilesLeaves(t *testing.T) {
	t.Parallel()
	for _, lose := range []func(dir string, f *fake) error{
		func(_ string, f *fake) error { f.gone.Store(true); return nil },
		func(dir string, _ *fake) error { return os.Remove(filepath.Join(dir, "sock")) },
		func(dir string, _ *fake) error { return os.RemoveAll(dir) },
	} {
		dir := stateDir(t)
		said := make(chan string, 1)
		f := serve(t, dir, func(o *Owner, _ *fake) {
			o.Idle = time.Second // looks four times in this time
			o.Log = func(line string) { said <- line }
		})
		if err := lose(dir, f); err != nil {
			t.Fatal(err)
		}
		if line := <-said; !strings.Contains(line, "leaving") {
			t.Errorf("%q", line)
		}
	}
}

const churnTime = time.Second

// churn submits from eight clients, round after round with a gap between, and
// returns how many submissions were acknowledged.
func churn(t *testing.T, dir string, d time.Duration, gap func(round int) time.Duration) (sent int) {
	t.Helper()
	clients := make([]*Client, 8)
	for i := range clients {
		clients[i] = front(t, dir)
	}
	end := time.Now().Add(d)
	for round := 0; time.Now().Before(end); round++ {
		var wg sync.WaitGroup
		for i, c := range clients {
			wg.Go(func() {
				prompt := fmt.Sprintf("%d/%d", round, i)
				if _, err := c.Submit(within(t, hang), submission(prompt)); err != nil {
					t.Errorf("%s: %v", prompt, err)
				}
			})
		}
		wg.Wait()
		sent += len(clients)
		pause(t.Context(), gap(round))
	}
	return sent
}

// recorded checks that each submission was recorded exactly once, over how
// many owners ever.
func recorded(t *testing.T, dir string, sent int) {
	t.Helper()
	got := prompts(t, front(t, dir))
	for p, n := range got {
		if n != 1 {
			t.Errorf("%s was recorded %d times", p, n)
		}
	}
	if len(got) != sent {
		t.Errorf("%d recorded, %d acknowledged", len(got), sent)
	}
	n := len(owners(t, dir))
	t.Logf("%d submissions, %d owners", sent, n)
	if n < 3 {
		t.Errorf("only %d owners: nothing was raced", n)
	}
}

func TestIdleExitsUnderChurn(t *testing.T) {
	t.Parallel()
	idleChurn(t, churnTime)
}

func idleChurn(t *testing.T, d time.Duration) {
	t.Helper()
	dir := stateDir(t)
	configure(t, dir, daemonConfig{IdleMS: 8})
	// The gaps end around the moment at which the owner decides to leave.
	recorded(t, dir, churn(t, dir, d, func(round int) time.Duration {
		return 8*time.Millisecond + time.Duration(round%8)*300*time.Microsecond
	}))
}

func TestKillsUnderChurn(t *testing.T) {
	t.Parallel()
	killChurn(t, churnTime)
}

func killChurn(t *testing.T, d time.Duration) {
	t.Helper()
	dir := stateDir(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	// A request gives up when it has lost its answer more than maxLost times: on a
	// machine so slow that more owners are killed than it has answers, it is right to.
	var left atomic.Int64
	left.Store(maxLost)
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			l, held, err := Inspect(dir)
			if err == nil && held && l.alive() && l.Phase == PhaseServing && left.Add(-1) >= 0 {
				_ = syscall.Kill(l.PID, syscall.SIGKILL)
			}
		}
	})
	sent := churn(t, dir, d, func(int) time.Duration {
		left.Store(maxLost)
		return time.Millisecond
	})
	close(stop)
	wg.Wait()
	recorded(t, dir, sent)
}
