package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/show"
)

// batch is what start records at once: one task, or those of a --each file.
type batch struct {
	*app
	subs   []engine.Submission
	key    string // goes on with a --each file that was broken off
	each   bool
	wait   bool
	asJSON bool

	tasks   []task.Task  // by the index of subs; without an ID: not recorded
	removed map[int]bool // whose task was recorded by an earlier call, and removed since
	printed int
}

// submitters are how many submissions are under way: the database commits
// those that wait for it together. The first so many go one by one, so that a
// file of that size enters the queue in the order of its lines; behind them
// neighbours may change places, a long time before it is their turn.
const submitters = 64

func (b *batch) run(ctx context.Context) error {
	// A reader of the ids that has seen enough must not stop us in the middle of
	// a file, of which all or nothing is to be recorded.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	sigs := notify()
	defer sigs.stop()
	svc, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer svc.close()
	b.tasks, b.removed = make([]task.Task, len(b.subs)), map[int]bool{}
	if err := b.record(ctx, svc, sigs); err != nil {
		return err
	}
	b.tasks = slices.DeleteFunc(b.tasks, func(t task.Task) bool { return t.ID == "" })
	if err := b.finish(ctx, svc, sigs); err != nil || len(b.removed) == 0 {
		return err
	}
	return task.Errorf(task.CodeRemoved, "The rest is recorded. To do these again give their lines other idempotency keys, in a file of their own.",
		"of %[2]s %[1]d removed since an earlier call, as told above", len(b.removed), show.Plural(len(b.subs), "task"))
}

func (b *batch) finish(ctx context.Context, svc *service, sigs signals) error {
	if b.wait || svc.embedded {
		ctx, cancel := sigs.until(ctx)
		defer cancel()
		w := waiter{app: b.app, svc: svc, asJSON: b.asJSON, one: !b.each, ends: b.Stderr, show: newTally(ctx, b.app, svc, b.tasks)}
		err := w.await(ctx, b.tasks)
		if ctx.Err() != nil {
			return b.left(len(b.tasks) - w.show.ended)
		}
		return err
	}
	if b.asJSON {
		return b.printTasks(b.tasks, !b.each)
	}
	return nil
}

type submitted struct {
	i   int
	t   task.Task
	err error
}

// record submits side by side and prints the ids as they come, in the order of
// the file. After a fault or a signal nothing more is submitted, and what is
// under way is waited for, so that it is known what was recorded; a second
// signal gives up.
func (b *batch) record(ctx context.Context, svc engine.Service, sigs signals) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var stopped atomic.Bool
	var wg sync.WaitGroup
	results := make(chan submitted)
	submit := func(before int) {
		for !stopped.Load() && next.Load() < int64(before) {
			if i := int(next.Add(1)) - 1; i < before {
				t, err := svc.Submit(ctx, b.subs[i])
				results <- submitted{i, t, err}
			}
		}
	}
	wg.Go(func() {
		if submit(min(submitters, len(b.subs))); len(b.subs) > submitters {
			for range submitters {
				wg.Go(func() { submit(len(b.subs)) })
			}
		}
	})
	go func() {
		wg.Wait()
		close(results)
	}()
	var fault error
	var signal os.Signal
	for {
		select {
		case r, more := <-results:
			if !more {
				return b.brokenOff(fault, signal, sigs)
			}
			b.tasks[r.i] = r.t
			if b.each && errors.Is(r.err, task.ErrRemoved) {
				b.removed[r.i] = true
				fmt.Fprintf(b.Stderr, "cctask: %s\n", claude.Visible(r.err.Error()))
				r.err = nil
			}
			if r.err == nil {
				r.err = b.print()
			}
			if r.err != nil && fault == nil {
				fault = r.err
				stopped.Store(true)
			}
		case s := <-sigs:
			if signal != nil {
				cancel()
			}
			signal = s
			stopped.Store(true)
		}
	}
}

// brokenOff says what a recording that was broken off has left. A signal that
// came when all was recorded is for the waiting that follows.
func (b *batch) brokenOff(fault error, signal os.Signal, sigs signals) error {
	n := 0
	for _, t := range b.tasks {
		if t.ID != "" {
			n++
		}
	}
	all := n+len(b.removed) == len(b.subs)
	if all && fault == nil {
		if signal != nil {
			sigs <- signal
		}
		return nil
	}
	if (n == 0 || all) && signal == nil {
		return fault
	}
	code, why := exitInterrupted, "interrupted before an answer came"
	if signal == nil {
		code, why = exitFault, task.AsError(fault).Message
	}
	if !b.each {
		return &stop{code, &task.Error{Code: task.CodeInternal, Message: why, Hint: "Whether the task was recorded is unknown: see `cctask list --all`."}}
	}
	// Those behind one that is missing are not printed yet.
	if !b.asJSON {
		for _, t := range b.tasks[b.printed:] {
			if t.ID != "" {
				fmt.Fprintln(b.Stdout, t.ID)
			}
		}
	}
	return &stop{code, task.Errorf(task.CodeInternal, fmt.Sprintf("The same command with --idempotency-key %s records the rest; `cctask cancel` with the ids above ends these.", b.key),
		"%s; %d of %s recorded: %s", why, n, show.Plural(len(b.subs), "task"), goOn(n))}
}

func goOn(n int) string {
	if n == 1 {
		return "1 task goes on"
	}
	return show.Plural(n, "task") + " go on"
}

func (b *batch) print() error {
	for ; !b.asJSON && b.printed < len(b.tasks) && (b.tasks[b.printed].ID != "" || b.removed[b.printed]); b.printed++ {
		if b.removed[b.printed] {
			continue
		}
		if _, err := fmt.Fprintln(b.Stdout, b.tasks[b.printed].ID); err != nil && !errors.Is(err, syscall.EPIPE) {
			return fmt.Errorf("task %s is recorded, but it could not be told: %w", b.tasks[b.printed].ID, err)
		}
	}
	return nil
}

func (b *batch) left(n int) error {
	if !b.each {
		return left(b.tasks[0])
	}
	return &stop{exitInterrupted, task.Errorf(task.CodeInternal, fmt.Sprintf("The same command with --idempotency-key %s waits for them again, `cctask cancel ID...` ends them.", b.key), "interrupted; %s", goOn(n))}
}

// tally shows how many tasks have ended: in a line that is redrawn on a
// terminal, else now and then.
type tally struct {
	*show.Live
	of            map[task.ID]bool
	live          map[task.ID]float64 // what run cost so far, as of the last look; the rest is queued
	look          func() []task.Task
	ended, failed int
	cost          float64
	clock         *time.Ticker
}

func newTally(ctx context.Context, a *app, svc engine.Service, tasks []task.Task) *tally {
	t := &tally{Live: show.NewLive(a.Stderr), of: map[task.ID]bool{}}
	for _, one := range tasks {
		t.of[one.ID] = true
	}
	t.look = func() []task.Task {
		page, _ := svc.List(ctx, task.Filter{Statuses: []task.Status{task.Starting, task.Running}, Limit: maxListed})
		return page.Tasks // none, if the owner is just being replaced
	}
	every := plainEvery
	if t.TTY {
		every = time.Second
	}
	t.clock = time.NewTicker(every)
	return t
}

func (t *tally) next(done <-chan int) int {
	if t.TTY {
		t.draw()
	}
	for {
		select {
		case i := <-done:
			return i
		case <-t.clock.C:
			t.live = map[task.ID]float64{}
			for _, one := range t.look() {
				if t.of[one.ID] {
					t.live[one.ID] = one.CostUSD
				}
				if t.of[one.ID] && one.Progress != nil {
					t.live[one.ID] += one.Progress.CostUSD
				}
			}
			t.draw()
		}
	}
}

func (t *tally) end(one task.Task) {
	t.ended++
	t.cost += one.CostUSD
	delete(t.live, one.ID)
	if one.Status != task.Completed {
		t.failed++
	}
	t.Clear()
}

func (t *tally) draw() {
	spent := t.cost
	for _, c := range t.live {
		spent += c
	}
	parts := []string{fmt.Sprintf("%d of %s done", t.ended, show.Plural(len(t.of), "task")), fmt.Sprintf("%d running", len(t.live))}
	if t.failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", t.failed))
	}
	t.Draw(strings.Join(append(parts, show.Cost(spent)), ", "))
}
