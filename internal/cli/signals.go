package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

// signals are those that end a front.
type signals chan os.Signal

// notify collects the signals. One that was ignored from the start, as under
// nohup or in a shell's background job, stays ignored.
func notify() signals {
	sigs := make(signals, 8)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(sigs, s)
		}
	}
	return sigs
}

// stop lets signals kill the process again.
func (sigs signals) stop() { signal.Stop(sigs) }

// until ends its context at the first signal. A second one kills the process,
// should nobody listen to the context.
func (sigs signals) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-sigs:
		case <-ctx.Done():
		}
		sigs.stop()
		cancel()
	}()
	return ctx, cancel
}

type verb func(cmd *cobra.Command, args []string) error

// interruptible makes the first signal end the verb's context.
func (a *app) interruptible(f func(ctx context.Context, args []string) error) verb {
	return func(cmd *cobra.Command, args []string) error {
		ctx, cancel := notify().until(cmd.Context())
		defer cancel()
		err := f(ctx, args)
		// A write or a call that the signal cut short may name another cause.
		var s *stop
		told := errors.As(err, &s) && s.code == exitInterrupted
		if err != nil && ctx.Err() != nil && !told {
			return ctx.Err()
		}
		return err
	}
}

// connected is interruptible for a verb that asks the engine.
func (a *app) connected(f func(ctx context.Context, svc engine.Service, args []string) error) verb {
	return a.interruptible(func(ctx context.Context, args []string) error {
		svc, err := a.connect(ctx)
		if err != nil {
			return err
		}
		defer svc.close()
		return f(ctx, svc, args)
	})
}

// settled makes a call that records something. A signal meanwhile waits for the
// answer, so that what is recorded can still be told; a second one gives up.
func settled[T any](ctx context.Context, sigs signals, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		out T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		out, err := call(ctx)
		done <- answer{out, err}
	}()
	var pending os.Signal
	for {
		select {
		case a := <-done:
			if pending != nil {
				sigs <- pending
			}
			return a.out, a.err
		case s := <-sigs:
			if pending != nil {
				var none T
				return none, &stop{exitInterrupted, task.Errorf(task.CodeInternal, "Whether the task was recorded is unknown: see `cctask list --all`.", "interrupted before an answer came")}
			}
			pending = s
		}
	}
}
