package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"cctask/engine/task"
	"cctask/internal/ipc"
	"cctask/storage"
)

func newDump(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "dump", Short: "Write the whole database as JSON Lines",
		Long: `Write every task with its history, prompts, answers and outputs as JSON Lines to stdout.
A running owner is asked; without one the database file is read, and no owner is
started. The environments of tasks are never written.`,
		Example:     "  cctask dump > tasks.jsonl\n  cctask dump | jq -r .type | sort | uniq -c",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 0, ""),
		RunE: a.interruptible(func(ctx context.Context, _ []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			// A reader that has seen enough ends the dump, not us before we
			// have removed a copy.
			signal.Ignore(syscall.SIGPIPE)
			err = a.dump(ctx, s)
			if errors.Is(err, syscall.EPIPE) {
				return &stop{code: exitFault}
			}
			return err
		}),
	}
}

// dumpTries bounds how often an owner may come or go between look and deed.
const dumpTries = 5

// dump tries who can tell: the owner, the file while nobody holds it, a copy of
// the file while somebody holds it who does not answer. Once something has been
// written it does not start over.
func (a *app) dump(ctx context.Context, s settings) error {
	if !recorded(s.dir) {
		return badInput(fmt.Sprintf("nothing was ever recorded in %s", s.dir), "Give the state directory with --dir or CCTASK_DIR.")
	}
	out := &dumpWriter{ctx: ctx, w: a.Stdout}
	for try := 1; ; try++ {
		lock, held, err := ipc.Inspect(s.dir)
		if err != nil {
			return err
		}
		switch {
		case !held:
			err = dumpFile(s.dir, out, false)
		case lock.Phase == ipc.PhaseEmbedded:
			err = dumpFile(s.dir, out, true)
		default:
			err = a.dumpOwner(ctx, s, out)
		}
		moved := errors.Is(err, task.ErrLocked) || errors.Is(err, task.ErrOwnerGone) || errors.Is(err, task.ErrClosing)
		if !moved || out.begun || try == dumpTries {
			return err
		}
	}
}

func (a *app) dumpOwner(ctx context.Context, s settings, out *dumpWriter) error {
	client := a.client(s, false)
	defer client.Close()
	h, err := client.Hello(ctx)
	if err == nil && h.Phase == ipc.PhaseServing {
		return client.Dump(ctx, out)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, held, lookErr := ipc.Inspect(s.dir); lookErr == nil && held {
		return dumpFile(s.dir, out, true)
	}
	return err
}

// dumpFile reads the database file; held says that another process has it.
func dumpFile(dir string, out io.Writer, held bool) (err error) {
	src := &fileSource{dir: dir}
	defer func() { err = errors.Join(err, src.close()) }()
	if held {
		err = src.copy()
	} else {
		src.file, err = storage.OpenOffline(filepath.Join(dir, storage.FileName))
	}
	if err != nil {
		return err
	}
	return storage.Dump(spooled{src, dir}, out)
}

// dumpWriter knows whether anything was written, and ends with its context.
type dumpWriter struct {
	ctx   context.Context
	w     io.Writer
	begun bool
}

func (d *dumpWriter) Write(p []byte) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	d.begun = true
	return d.w.Write(p)
}
