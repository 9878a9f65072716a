package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/dump"
	"cctask/internal/report"
	"cctask/internal/show"
	"cctask/storage"
)

type reportFlags struct {
	filterFlags
	file, from string
	limit      int64
}

const reportLong = `Write one HTML page with a timeline, totals, cost over time, the longest tasks, what did
not complete and why, and each task's prompt and answer. The file needs nothing but a
browser and loads nothing from anywhere. It holds what the tasks said: whoever gets it
can read that. Printed, it has all rows that are shown, not the first 200 alone, and with
a switch above the table prompts and answers too.

A page of up to 10,000 tasks is smaller than 5 MB. A prompt or an answer is cut to 64 KiB,
and to less where all of them together would not fit; the page says where it cut.

With --from it is made of a dump, on a machine that need not have the tasks; the dump may
be one with less or masked, and then so is the page.`

func newReport(a *app) *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use: "report", Short: "Write an HTML page about tasks", Long: reportLong,
		Example:     "  cctask report -o tasks.html\n  cctask report --since 7d --label nightly -o week.html\n  cctask report --status failed,timeout > failed.html\n  cctask dump --redact --output none | cctask report --from - -o public.html",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 0, ""),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case f.file == "" && show.IsTerminal(a.Stdout):
			return badInput("report needs a file to write", "Name one with -o, as in `cctask report -o tasks.html`, or send stdout into one.")
		case f.from != "" && f.filtered():
			return badInput("--from takes all tasks of the dump", "Choose them where the dump is made: `cctask dump` has the same flags.")
		}
		signal.Ignore(syscall.SIGPIPE) // a reader that leaves early ends in an error that is none
		if f.from != "" {
			return a.interruptible(func(ctx context.Context, _ []string) error {
				return a.makeReport(f, selection(cmd), func(r *report.Report) (bool, error) { return a.readDump(ctx, f, r) })
			})(cmd, args)
		}
		return a.chosen(&f.filterFlags, func(ctx context.Context, svc engine.Service, filter task.Filter) error {
			return a.makeReport(f, selection(cmd), func(r *report.Report) (bool, error) { return a.collect(ctx, svc, filter, int(f.limit), r) })
		})(cmd, args)
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.file, "file", "o", "", outUsage)
	fl.StringVar(&f.from, "from", "", "make it of a `DUMP`, a file that cctask dump wrote; - is stdin")
	f.register(cmd)
	fl.Var(whole(&f.limit, 10_000, 1, math.MaxInt32), "limit", "most tasks, the newest; a `NUMBER`")
	return cmd
}

// selection is what was typed to choose the tasks.
func selection(cmd *cobra.Command) string {
	var words []string
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && f.Name != "file" {
			words = append(words, "--"+f.Name+" "+strings.Trim(f.Value.String(), "[]"))
		}
	})
	return strings.Join(words, " ")
}

func (a *app) makeReport(f reportFlags, selected string, fill func(*report.Report) (more bool, err error)) error {
	r, size := report.New(time.Now()), 0
	err := a.writeOut(f.file, "", func(w io.Writer) error {
		more, err := fill(r)
		if err != nil {
			return err
		}
		return r.Write(writerFunc(func(p []byte) (int, error) {
			size += len(p)
			return w.Write(p)
		}), report.About{Version: version(), Selection: selected, More: more})
	})
	if errors.Is(err, errReaderLeft) {
		return nil
	}
	if err == nil && f.file != "" && f.file != "-" {
		fmt.Fprintf(a.Stderr, "%s: %s, %d kB. Open it in a browser.\n", claude.Visible(f.file), show.Plural(r.Len(), "task"), (size+999)/1000)
	}
	return err
}

// collect reads the tasks into r and tells whether there are more than limit.
func (a *app) collect(ctx context.Context, svc engine.Service, f task.Filter, limit int, r *report.Report) (more bool, err error) {
	met := newMeter(a, nil, "read", false)
	defer met.clear()
	for {
		f.Limit = min(limit-r.Len(), maxListed)
		page, err := svc.List(ctx, f)
		if err != nil {
			return false, err
		}
		for _, t := range page.Tasks {
			e, err := entry(ctx, svc, t.ID)
			if errors.Is(err, task.ErrNotFound) {
				continue // removed meanwhile
			}
			if err != nil {
				return false, err
			}
			r.Add(e)
			met.tasks++
			met.add(e.Task.PromptBytes + int(e.Task.ResultBytes))
		}
		f.Cursor = page.NextCursor
		if f.Cursor == "" || r.Len() >= limit {
			return f.Cursor != "", nil
		}
	}
}

func entry(ctx context.Context, svc engine.Service, id task.ID) (report.Entry, error) {
	t, err := svc.Get(ctx, string(id))
	e := report.Entry{Task: t}
	if err != nil {
		return e, err
	}
	for _, at := range t.Attempts {
		switch {
		case at.PromptN != at.N: // an earlier attempt's
		case at.N == 1 && len(t.PromptHead) == t.PromptBytes:
			e.Prompts = append(e.Prompts, report.Prompt{Attempt: 1, Text: t.PromptHead, Bytes: int64(t.PromptBytes)})
		default:
			out, err := svc.Output(ctx, engine.OutputQuery{Ref: string(id), Attempt: at.N, Stream: task.Prompt, Limit: report.MaxText})
			if err != nil {
				return e, err
			}
			e.Prompts = append(e.Prompts, report.Prompt{Attempt: at.N, Text: string(out.Data), Bytes: out.Size})
		}
	}
	return e, nil
}

// readDump takes the tasks of a dump into r and tells whether there are more than
// the limit.
func (a *app) readDump(ctx context.Context, f reportFlags, r *report.Report) (more bool, err error) {
	in, done, err := a.openDump(f.from)
	if err != nil {
		return false, err
	}
	defer done()
	met := newMeter(a, nil, "read", false)
	defer met.clear()
	to := &reportTarget{r: r}
	got, err := dump.Read(&meterReader{ctx, in, met}, meterTarget{to, met}, storage.Schema())
	met.clear()
	if err == nil {
		a.tellCut(got)
	}
	return r.Newest(int(f.limit)), err
}

type reportTarget struct {
	r *report.Report
	e report.Entry
}

func (d *reportTarget) Group(task.Group) error { return nil } // a report is about tasks

func (d *reportTarget) Begin(s task.Snapshot) error {
	d.e = report.Entry{Task: s.Task}
	d.e.Task.Attempts = s.Attempts
	return nil
}

func (d *reportTarget) Append(b task.Blob) error {
	head := func(text string) string { return text + string(b.Data[:min(len(b.Data), report.MaxText-len(text))]) }
	switch t := &d.e.Task; {
	case b.Stream == task.Prompt:
		n := len(d.e.Prompts)
		if n == 0 || d.e.Prompts[n-1].Attempt != b.Attempt {
			d.e.Prompts, n = append(d.e.Prompts, report.Prompt{Attempt: b.Attempt}), n+1
		}
		p := &d.e.Prompts[n-1]
		p.Text, p.Bytes = head(p.Text), p.Bytes+int64(len(b.Data))
	case b.Stream == task.Result && b.Attempt == t.Attempt:
		if t.Result == nil {
			t.Result, t.ResultBytes = new(string), 0
		}
		*t.Result, t.ResultBytes = head(*t.Result), t.ResultBytes+int64(len(b.Data))
	}
	return nil
}

func (d *reportTarget) Finish() error {
	d.r.Add(d.e)
	return nil
}

func (d *reportTarget) Drop() error { return nil }
