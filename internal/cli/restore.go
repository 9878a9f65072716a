package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine/task"
	"cctask/internal/cli/settings"
	"cctask/internal/dump"
	"cctask/internal/ipc"
	"cctask/internal/show"
	"cctask/storage"
)

type restoreFlags struct {
	db                string
	partial, activate bool
	yes               bool
}

func newRestore(a *app) *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use: "restore [FILE]", Short: "Make a database of a dump",
		Long: `Make a database of a dump in JSON Lines (- reads stdin), whose own dump is the same to the
byte. Without --db it becomes that of the state directory, which must have none.

A restored database can be read by every verb, and nothing in it changes or starts: its
tasks may live on where they were dumped. --activate ends that: then its queued tasks
start in your current environment, since a dump holds none, and those that ran when they
were dumped are interrupted. Where the retention would then delete tasks, it says how many
and under which setting, and asks.`,
		Example: "  cctask restore tasks.jsonl --db ~/old/tasks.db && cctask --dir ~/old list --all\n" +
			"  zcat tasks.jsonl.gz | cctask restore -\n  cctask restore --activate --db ~/old/tasks.db",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 1, ""),
		RunE: a.interruptible(func(ctx context.Context, args []string) error {
			switch {
			case f.activate && (len(args) > 0 || f.partial):
				return badInput("--activate takes no dump", "Restore first, then activate.")
			case !f.activate && len(args) == 0:
				return badInput("restore needs a dump", "Give the file, or - for stdin.")
			}
			s := settings.Settings{}
			path := f.db
			if path == "" || f.activate {
				var err error
				if s, err = a.settings(); err != nil {
					return err
				}
			}
			if path == "" {
				path = filepath.Join(s.Dir, storage.FileName)
			}
			if f.activate {
				return a.activate(ctx, path, s.Owner, f.yes)
			}
			spendMemory()
			return a.restore(ctx, args[0], path, f.partial)
		}),
	}
	fl := cmd.Flags()
	fl.StringVar(&f.db, "db", "", "the database `FILE` to make (default: tasks.db in the state directory)")
	fl.BoolVar(&f.partial, "partial", false, "of a dump that is not whole take the tasks that are")
	fl.BoolVar(&f.activate, "activate", false, "let a restored database change, and its queued tasks start")
	fl.BoolVarP(&f.yes, "yes", "y", false, "with --activate: do not ask about tasks that the retention will delete")
	return cmd
}

func (a *app) restore(ctx context.Context, file, path string, partial bool) error {
	in, done, err := a.openDump(file)
	if err != nil {
		return err
	}
	defer done()
	met := newMeter(a, nil, "restored", false)
	defer met.clear()
	var got dump.Restored
	err = storage.Restore(path, storage.Options{App: version()}, func(to *storage.Filler) (int64, error) {
		var err error
		got, err = dump.Restore(&meterReader{ctx, in, met}, meterTarget{to, met}, storage.Schema(), partial)
		return got.Redacted, err
	})
	met.clear()
	if err != nil {
		return err
	}
	a.tellCut(got)
	_, err = fmt.Fprintf(a.Stdout, "restored %s to %s; until `cctask restore --activate --db %q` it can only be read\n", show.Plural(got.Tasks, "task"), path, path)
	return err
}

func (a *app) openDump(file string) (in io.Reader, done func(), err error) {
	if file == "-" {
		return a.Stdin, func() {}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, badInput(err.Error(), "Give a file that `cctask dump` wrote, or - for stdin.")
	}
	return f, func() { _ = f.Close() }, nil
}

// tellCut says what a dump that is not whole did not give.
func (a *app) tellCut(got dump.Restored) {
	if got.Cut {
		fmt.Fprintf(a.Stderr, "cctask: the dump is not whole: what came after its last whole task is missing\n")
		if got.Left != "" {
			fmt.Fprintf(a.Stderr, "cctask: it ends in task %s, which was left out\n", got.Left)
		}
	}
}

// activate sends an owner away that only serves readers: it would go on so.
func (a *app) activate(ctx context.Context, path string, owner ipc.Settings, yes bool) error {
	if _, err := os.Stat(path); err != nil {
		return badInput(fmt.Sprintf("there is no database to activate: %v", err), "Restore a dump first, or name the database with --db.")
	}
	if why := ipc.ReadOnly(filepath.Dir(path), storage.FileName); why != nil {
		return why
	}
	o := storage.Options{App: version()}
	agree := func(db *storage.DB) error { return a.agreedToLose(db, owner, yes) }
	n, held, err := storage.Activate(path, o, a.Environ(), agree)
	if errors.Is(err, task.ErrLocked) && filepath.Base(path) == storage.FileName {
		client := a.client(settings.Settings{Dir: filepath.Dir(path)}, false)
		defer client.Close()
		if p, askErr := client.Page(ctx, task.DumpQuery{IDs: []task.ID{}}); askErr == nil && p.Restored {
			if stopErr := client.Stop(ctx, false); stopErr != nil {
				return stopErr
			}
			n, held, err = storage.Activate(path, o, a.Environ(), agree)
		}
	}
	if err != nil {
		return err
	}
	text := "activated " + path
	if n -= held; n > 0 {
		text += fmt.Sprintf("; the next command starts %s that waited", show.Plural(n, "task"))
	}
	if held > 0 {
		text += fmt.Sprintf("; %s held, because what they waited for was not in the dump: cctask status and release", show.Plural(held, "task"))
	}
	_, err = fmt.Fprintln(a.Stdout, text)
	return err
}

// agreedToLose asks before the retention gets at what was just restored.
func (a *app) agreedToLose(db *storage.DB, owner ipc.Settings, yes bool) error {
	d, err := db.Doom(keepPolicy(owner), time.Now())
	if err != nil || d.Expired == 0 {
		return err
	}
	fmt.Fprintf(a.Stderr, "cctask: once it is activated the retention deletes %s\n", d)
	return a.agreed(yes, "activate", `Add --yes, or first keep them: keep_age = "0" in the settings file, or a higher keep_count or keep_size.`)
}

type meterReader struct {
	ctx  context.Context
	r    io.Reader
	show *meter
}

func (m *meterReader) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.show.add(n)
	return n, err
}

type meterTarget struct {
	dump.Target
	show *meter
}

func (m meterTarget) Finish() error {
	m.show.tasks++
	return m.Target.Finish()
}
