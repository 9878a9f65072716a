package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
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

	tasks   []task.Task // as far as they are recorded and still there
	removed int         // recorded by an earlier call, and removed since
}

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
	if err := b.record(ctx, svc, sigs); err != nil {
		return err
	}
	if err := b.finish(ctx, svc, sigs); err != nil || b.removed == 0 {
		return err
	}
	return task.Errorf(task.CodeRemoved, "The rest is recorded. To do these again give their lines other idempotency keys, in a file of their own.",
		"of %[2]s %[1]d removed since an earlier call, as told above", b.removed, show.Plural(len(b.subs), "task"))
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

// record submits one piece of the file after the other, each as a whole or not at all,
// and prints the ids. A signal waits for the piece that is under way, so that it is known
// what was recorded; a second one gives up.
func (b *batch) record(ctx context.Context, svc engine.Service, sigs signals) error {
	refers := slices.ContainsFunc(b.subs, func(s engine.Submission) bool { return len(s.Spec.After) > 0 || strings.Contains(s.Prompt, "{{") })
	var before []engine.Named
	for done := 0; done < len(b.subs); {
		piece := engine.Batch{Tasks: b.subs[done : done+engine.Fits(b.subs[done:])], Before: before}
		tasks, err := settled(ctx, sigs, func(ctx context.Context) ([]task.Task, error) {
			if b.each {
				return svc.SubmitAll(ctx, piece)
			}
			t, err := svc.Submit(ctx, b.subs[0])
			return []task.Task{t}, err
		})
		if err == nil {
			done += len(tasks)
			err = b.recorded(tasks)
		}
		for _, t := range tasks {
			if refers {
				before = append(before, engine.Named{ID: t.ID, Name: t.Spec.Name})
			}
		}
		if err == nil && done < len(b.subs) && len(sigs) > 0 {
			err = &stop{exitInterrupted, task.Errorf(task.CodeInternal, "", "interrupted")}
		}
		if err != nil {
			return b.brokenOff(done, err)
		}
	}
	return nil
}

// recorded tells of tasks that are recorded.
func (b *batch) recorded(tasks []task.Task) (err error) {
	for _, t := range tasks {
		if t.Status == "" {
			b.removed++
			fmt.Fprintf(b.Stderr, "cctask: %s\n", claude.Visible(t.Message))
			continue
		}
		if b.tasks = append(b.tasks, t); b.asJSON || err != nil {
			continue
		}
		if _, err = fmt.Fprintln(b.Stdout, t.ID); errors.Is(err, syscall.EPIPE) {
			err = nil
		} else if err != nil {
			err = fmt.Errorf("task %s is recorded, but it could not be told: %w", t.ID, err)
		}
	}
	return err
}

// brokenOff says what a recording that was broken off has left.
func (b *batch) brokenOff(done int, err error) error {
	if done == 0 || done == len(b.subs) {
		return err
	}
	code := exitFault
	if s := (*stop)(nil); errors.As(err, &s) {
		code = s.code
	}
	n := len(b.tasks)
	return &stop{code, task.Errorf(task.CodeInternal, fmt.Sprintf("The same command with --idempotency-key %s records the rest; `cctask cancel` with the ids above ends these.", b.key),
		"%s; %d of %s recorded: %s", task.AsError(err).Message, n, show.Plural(len(b.subs), "task"), goOn(n))}
}

func goOn(n int) string {
	if n == 1 {
		return "1 task goes on"
	}
	return show.Plural(n, "task") + " go on"
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
					t.live[one.ID] = show.Row{Task: one}.USD()
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
