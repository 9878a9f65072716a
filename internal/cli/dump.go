package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine/task"
	"cctask/internal/dump"
	"cctask/internal/ipc"
	"cctask/internal/show"
	"cctask/storage"
)

type dumpFlags struct {
	format, output, db, file string
	bom                      bool
	filterFlags
	dump.Options
}

func newDump(a *app) *cobra.Command {
	var f dumpFlags
	cmd := &cobra.Command{
		Use: "dump [ID...]", Short: "Write all tasks, or some, with all they have",
		Long: `Write tasks with their history, prompts, answers and outputs to stdout: all, or those
that are named or fit the flags. A running owner is asked; without one the database
file is read, and no owner is started. The environments of tasks are never written.

JSON Lines (jsonl) is the format that restore reads: its last line has the type end, and
without that line it is not whole. json is the same in one object, csv has a row for each
task, markdown is for people. A cell of csv that a spreadsheet would take for a formula
(it begins with = + - @, a tab or a new line, and is no number) has a ' in front.`,
		Example: "  cctask dump > tasks.jsonl\n  cctask dump --status failed --format markdown --output tail --redact -o failed.md\n" +
			"  cctask dump | jq -r .type | sort | uniq -c\n  cctask dump --db /backup/tasks.db --format csv",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, -1, ""),
		RunE: a.interruptible(func(ctx context.Context, refs []string) error {
			if err := f.check(a.homed); err != nil {
				return err
			}
			// A reader that has seen enough ends the dump, not us before we
			// have removed a copy.
			signal.Ignore(syscall.SIGPIPE)
			spendMemory()
			err := a.dump(ctx, f, refs)
			if errors.Is(err, errReaderLeft) {
				return nil
			}
			return err
		}),
	}
	fl := cmd.Flags()
	fl.StringVar(&f.format, "format", dump.Formats[0], "`FORMAT`: "+strings.Join(dump.Formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(dump.Formats, cobra.ShellCompDirectiveNoFileComp))
	f.register(cmd)
	fl.StringVar(&f.output, "output", "full", "how `MUCH` of stdout and stderr: full, tail (the last 8 KiB of each), none")
	fl.BoolVar(&f.Redact, "redact", false, "mask what looks like a key, a token or a password; lengths stay")
	fl.BoolVar(&f.bom, "bom", false, "begin csv with a byte order mark, by which Excel knows that it is UTF-8")
	fl.StringVar(&f.db, "db", "", "read this database `FILE`, a copy for one, instead of the state directory's")
	fl.StringVarP(&f.file, "file", "o", "", outUsage)
	return cmd
}

// spendMemory lets a dump or a restore collect its garbage seldom, as all that passes
// through is garbage at once, but for what must stay within dumpMemory.
func spendMemory() {
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(dumpMemory)
}

const dumpMemory = 40 << 20

func (f *dumpFlags) check(homed func(string) string) error {
	switch f.output {
	case "full":
	case string(dump.Tail), string(dump.None):
		f.Output = dump.Output(f.output)
	default:
		return badInput(fmt.Sprintf("--output: %q is unknown", f.output), "Use full, tail or none.")
	}
	if !slices.Contains(dump.Formats, f.format) {
		return badInput(fmt.Sprintf("--format: %q is unknown", f.format), "Use one of "+strings.Join(dump.Formats, ", ")+".")
	}
	if f.Records = f.format == "csv"; f.bom && !f.Records {
		return badInput(fmt.Sprintf("--bom: %s has no byte order mark", f.format), "Leave --bom out, or use --format csv.")
	}
	f.Schema = storage.Schema()
	var err error
	f.Query.Filter, err = f.filter(homed, time.Now(), nil)
	return err
}

func (a *app) dump(ctx context.Context, f dumpFlags, refs []string) error {
	src, err := a.dumpSource(ctx, f.db)
	if err != nil {
		return err
	}
	defer src.close()
	for _, ref := range refs {
		m, err := asked(src, func(s source) (task.Match, error) { return s.Resolve(ref) })
		if err != nil {
			return err
		}
		id, err := a.choose(m, task.ToRead)
		if err != nil {
			return err
		}
		f.Query.IDs = append(f.Query.IDs, id)
	}
	slices.Sort(f.Query.IDs) // the order of a dump
	var end dump.End
	err = a.writeOut(f.file, src.path, func(w io.Writer) error {
		met := newMeter(a, w, "dumped", f.file == "" || f.file == "-")
		defer met.clear()
		out := bufio.NewWriterSize(met, 64<<10)
		if f.bom {
			_, _ = out.WriteString("\ufeff") // Flush repeats its error
		}
		write := dump.Writer(out, f.format)
		end, err = dump.Run(ctx, src, f.Options, func(l dump.Line) error {
			if l.Record != nil {
				met.tasks++
			}
			return write(l)
		})
		return cmp.Or(err, out.Flush()) // which repeats the error of a write
	})
	if err == nil && f.Redact {
		fmt.Fprintf(a.Stderr, "cctask: masked %s\n", show.Plural(int(end.Redacted), "value"))
	}
	return err
}

func (a *app) dumpSource(ctx context.Context, db string) (*dumpSource, error) {
	if db != "" {
		path, err := filepath.EvalSymlinks(db)
		if err != nil {
			return nil, badInput(fmt.Sprintf("--db: %v", err), "Give the path of a database file.")
		}
		return &dumpSource{ctx: ctx, a: a, path: path, lone: true}, nil
	}
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	if !recorded(s.Dir) {
		return nil, badInput(fmt.Sprintf("nothing was ever recorded in %s", s.Dir), "Give the state directory with --dir or CCTASK_DIR.")
	}
	src := &dumpSource{ctx: ctx, a: a, s: s, path: filepath.Join(s.Dir, storage.FileName)}
	if why := ipc.ReadOnly(s.Dir, storage.FileName); why != nil {
		a.tellReadOnly(why)
		src.lone = true
	}
	return src, nil
}

// meter tells on a terminal how far a long dump or restore is, unless the data
// itself goes there.
type meter struct {
	live  *show.Live // nil: tell nothing
	what  string
	w     io.Writer
	bytes int64
	tasks int
	drawn time.Time
}

const meterEvery = 500 * time.Millisecond

// newMeter is silent where what it counts goes to the person's terminal already.
func newMeter(a *app, w io.Writer, what string, toStdout bool) *meter {
	m := &meter{w: w, what: what, drawn: time.Now()}
	if live := show.NewLive(a.Stderr); live.TTY && !(toStdout && show.IsTerminal(a.Stdout)) {
		m.live = live
	}
	return m
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.add(n)
	return n, err
}

func (m *meter) add(n int) {
	m.bytes += int64(n)
	if m.live != nil && time.Since(m.drawn) >= meterEvery {
		m.drawn = time.Now()
		m.live.Draw(fmt.Sprintf("%s %s, %.1f MB", m.what, show.Plural(m.tasks, "task"), float64(m.bytes)/1e6))
	}
}

func (m *meter) clear() {
	if m.live != nil {
		m.live.Clear()
	}
}
