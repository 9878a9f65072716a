package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/show"
)

// redrawEvery bounds how often progress is asked for: claude may print
// thousands of events a second, and nobody reads faster.
const redrawEvery = 100 * time.Millisecond

type ended struct {
	t   task.Task
	err error
}

// watcher shows a task until its end and takes the person's signals meanwhile.
type watcher struct {
	a    *app
	svc  engine.Service
	id   task.ID
	show *progress

	end     chan ended
	answers chan string // what the person typed after Ctrl-C; nil until asked

	asked, cancelling bool
}

// watch waits for the task's end. A signal that leaves the task running, or a
// cancellation, ends it with exit code 130.
func (a *app) watch(ctx context.Context, svc engine.Service, t task.Task, sigs signals) (task.Task, error) {
	if err := a.within().MayWait(t); err != nil {
		return t, err
	}
	defer engine.Lend(ctx, svc, string(t.ID))()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &watcher{a: a, svc: svc, id: t.ID, show: newProgress(a.Stderr), end: make(chan ended, 1)}
	go func() {
		t, err := engine.WaitFor(ctx, svc, string(w.id), engine.UntilEnd)
		w.end <- ended{t, err}
	}()
	updates := make(chan task.Task)
	go follow(ctx, svc, t, updates)
	w.show.update(t)
	clock := time.NewTicker(time.Second)
	defer clock.Stop()
	for {
		select {
		case r := <-w.end:
			w.show.clear()
			return w.finished(r)
		case t := <-updates:
			w.show.update(t)
		case <-clock.C:
			w.show.tick()
		case line := <-w.answers:
			w.answers, w.asked, w.show.held = nil, false, false
			if strings.EqualFold(strings.TrimSpace(line), "d") {
				return t, left(t)
			}
		case s := <-sigs:
			if leave := w.signalled(ctx, s); leave {
				w.show.clear()
				return t, w.left(t)
			}
		}
	}
}

func (w *watcher) finished(r ended) (task.Task, error) {
	switch {
	case gone(r.t, r.err):
		return r.t, removed(w.id)
	case r.err != nil:
		return r.t, task.Errorf(task.AsError(r.err).Code, fmt.Sprintf("The task is recorded: `cctask wait %s` goes on waiting.", w.id), "wait for task %s: %v", w.id, r.err)
	case w.cancelling && r.t.Status == task.Cancelled:
		return r.t, &stop{exitInterrupted, task.Errorf(task.CodeConflict, r.t.Reason.Hint(), "task %s is cancelled", w.id)}
	}
	return r.t, nil
}

// left is what a person learns of a task that is not waited for any more.
func (w *watcher) left(t task.Task) error {
	if !w.cancelling {
		return left(t)
	}
	return &stop{exitInterrupted, task.Errorf(task.CodeInternal, fmt.Sprintf("`cctask cancel %s` waits until it is dead.", t.ID), "interrupted while task %s is being cancelled", t.ID)}
}

// signalled tells whether the task is to be left running. On a terminal the
// first Ctrl-C asks and the second one cancels.
func (w *watcher) signalled(ctx context.Context, s os.Signal) (leave bool) {
	if s != syscall.SIGINT || !w.show.TTY || w.cancelling {
		return true
	}
	w.show.clear()
	if !w.asked {
		w.asked, w.show.held = true, true
		fmt.Fprintf(w.a.Stderr, "Task %s is running. Ctrl-C again cancels it, d and Enter leaves it running, Enter goes on watching: ", w.id)
		w.answers = w.a.ask()
		return false
	}
	w.cancelling = true
	fmt.Fprintf(w.a.Stderr, "Cancelling task %s ...\n", w.id)
	go func() {
		if t, err := w.svc.Cancel(ctx, string(w.id)); err != nil {
			w.end <- ended{t, err}
		}
	}()
	return false
}

// ask reads one line from the terminal: from stdin, or, where the prompt came
// from there, from the controlling terminal itself. Without either only signals
// answer. A reader that is never answered ends with the process.
func (a *app) ask() chan string {
	answers := make(chan string, 1)
	tty, ok := a.Stdin.(*os.File)
	if !ok || !show.IsTerminal(a.Stdin) {
		var err error
		if tty, err = os.Open("/dev/tty"); err != nil {
			return nil
		}
	}
	go func() {
		line, err := bufio.NewReader(tty).ReadString('\n')
		if err != nil {
			// Ctrl-D, or a terminal that is gone: nobody is there to watch.
			fmt.Fprintln(a.Stderr)
			line = "d"
		}
		answers <- line
	}()
	return answers
}

// follow sends the task's changes until it ends.
func follow(ctx context.Context, svc engine.Service, t task.Task, updates chan<- task.Task) {
	for !t.Status.Ended() {
		next, err := engine.WaitFor(ctx, svc, string(t.ID), t.Version)
		if err != nil {
			return // the wait for the end tells it
		}
		t = next
		select {
		case updates <- t:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(redrawEvery):
		case <-ctx.Done():
			return
		}
	}
}
