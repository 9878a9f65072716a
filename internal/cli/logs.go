package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/show"
)

type logFlags struct {
	raw, stderr, follow bool
	attempt, tail       int64
	since               int64 // an offset
}

const logsLong = `Show what claude said and did, rendered for people; --raw gives claude's own bytes
(stream-json on stdout). Of a task with several attempts the last one is shown; -f goes on
with those that follow, until the task ends.
While more may come, the last line on stderr names the byte to go on from with --since.`

const logsExample = `  cctask logs -f 01JD3ZK4
  cctask logs --tail 20 01JD3ZK4
  cctask logs --raw 01JD3ZK4 | jq -r .type
  cctask logs --stderr --attempt 1 01JD3ZK4`

func newLogs(a *app) *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use: "logs ID", Short: "Show what claude said and did", Long: logsLong, Example: logsExample,
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, 1, "the id of a task"),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
			tasks, err := a.lookup(ctx, svc, args, task.ToRead)
			if err != nil {
				return err
			}
			if err := a.within().MayWait(tasks[0]); f.follow && err != nil {
				return err
			}
			l := &logReader{app: a, svc: svc, logFlags: f, task: tasks[0]}
			err = l.run(ctx)
			if f.follow && ctx.Err() != nil {
				l.tellOffset()
				return &stop{code: exitInterrupted}
			}
			return err
		}),
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.raw, "raw", false, "claude's bytes exactly as it wrote them")
	fl.BoolVar(&f.stderr, "stderr", false, "stderr instead of stdout")
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on until the task ends")
	fl.VarP(whole(&f.tail, -1, -1, math.MaxInt32), "tail", "n", "only the last `NUMBER` of lines; -1 is all")
	fl.Var(whole(&f.since, 0, 0, math.MaxInt64), "since", "begin at this `OFFSET`, in bytes of the raw stream")
	fl.Var(whole(&f.attempt, 0, 0, math.MaxInt32), "attempt", "`NUMBER` of the attempt; 0 is the last one")
	return cmd
}

// logReader shows a stream of one attempt, or of one after the other.
type logReader struct {
	*app
	logFlags
	svc  engine.Service
	task task.Task
	q    engine.OutputQuery
	out  logWriter
}

func (l *logReader) run(ctx context.Context) error {
	// The attempt is pinned: a resume meanwhile must not move the reader.
	l.q = engine.OutputQuery{Ref: string(l.task.ID), Attempt: int(l.attempt), Stream: task.Stdout, Offset: l.since}
	if l.q.Attempt == 0 {
		l.q.Attempt = l.task.Attempt
	}
	if l.stderr {
		l.q.Stream = task.Stderr
	}
	if l.follow {
		defer engine.Lend(ctx, l.svc, string(l.task.ID))()
	}
	l.out = l.logWriter(0)
	if l.tail >= 0 {
		begin, drop, err := l.tailStart(ctx)
		if err != nil {
			return err
		}
		if begin >= l.since {
			l.q.Offset, l.out = begin, l.logWriter(drop)
		}
	}
	if lines, ok := l.out.(*show.LineWriter); ok && l.q.Offset > 0 {
		// A line that began before is left out; one that begins here is not.
		l.q.Offset--
		lines.At, lines.Torn = l.q.Offset, true
	}
	for {
		piece, err := l.svc.Output(ctx, l.q)
		if err != nil {
			return err
		}
		if l.since > piece.Size {
			return badInput(fmt.Sprintf("--since: the stream has %d bytes so far, no %d", piece.Size, l.since), "Give the number that `logs` told before.")
		}
		if _, err := l.out.Write(piece.Data); err != nil {
			return fmt.Errorf("print the logs: %w", err)
		}
		l.q.Offset = piece.Offset + int64(len(piece.Data))
		switch {
		case len(piece.Data) > 0 && l.q.Offset < piece.Size:
		case piece.Done:
			if more, err := l.next(ctx); err != nil || !more {
				return err
			}
		case !l.follow:
			l.tellOffset() // a live claude has not finished its last line yet
			return nil
		default:
			// The task was looked at before the piece was read: whatever came
			// since has a higher version.
			if l.task, err = engine.WaitFor(ctx, l.svc, string(l.task.ID), l.task.Version); err != nil {
				return err
			}
		}
	}
}

// next ends an attempt and goes on to the one after it, if it is to be shown.
func (l *logReader) next(ctx context.Context) (more bool, err error) {
	if err := l.out.Close(); err != nil || !l.follow || l.attempt > 0 {
		return false, err
	}
	for l.task.Attempt <= l.q.Attempt && !l.task.Status.Ended() {
		if l.task, err = engine.WaitFor(ctx, l.svc, string(l.task.ID), l.task.Version); err != nil {
			return false, err
		}
	}
	if l.task.Attempt <= l.q.Attempt {
		return false, nil
	}
	l.q.Attempt++
	l.since, l.q.Offset, l.out = 0, 0, l.logWriter(0)
	if !l.raw {
		_, err = fmt.Fprintln(l.Stdout, l.logPainter()(claude.Line{Kind: claude.KindNote, Text: fmt.Sprintf("· attempt %d", l.q.Attempt)}))
	}
	return true, err
}

// tellOffset says where to go on. What is not shown yet, because its line has
// not come to its end, comes again.
func (l *logReader) tellOffset() {
	at := l.q.Offset
	if lines, ok := l.out.(*show.LineWriter); ok {
		at = lines.At
	}
	which := ""
	if l.q.Attempt > 1 {
		which = fmt.Sprintf("--attempt %d ", l.q.Attempt)
	}
	fmt.Fprintf(l.Stderr, "More: %s--since %d\n", which, at)
}

// firstTail is how much of a stream's end is looked at first for its last
// lines, and tailGrowth how much more each time that they do not lie in it.
const (
	firstTail  = 64 << 10
	tailGrowth = 8
)

// tailStart looks from the end of the stream for the offset of the line from
// which on at least --tail lines are shown, and how many of its own are too many.
func (l *logReader) tailStart(ctx context.Context) (offset int64, drop int, err error) {
	q := l.q
	q.Tail, q.Limit = 1, 1
	end, err := l.svc.Output(ctx, q)
	if err != nil {
		return 0, 0, err
	}
	q.Tail, q.Limit = 0, 0
	for room := int64(firstTail); ; room *= tailGrowth {
		q.Offset = max(0, end.Size-room)
		lines := &show.LineWriter{At: q.Offset, Torn: q.Offset > 0}
		c := tailCounter{least: int(l.tail)}
		lines.Line = func(line []byte) error {
			c.add(lines.At, l.shownLines(line))
			return nil
		}
		if err := copyStream(ctx, l.svc, q, lines); err != nil {
			return 0, 0, err
		}
		if end.Done || l.raw {
			if err := lines.Close(); err != nil {
				return 0, 0, err
			}
		}
		if c.shown >= int(l.tail) || q.Offset == 0 {
			if len(c.begins) == 0 {
				return lines.At, 0, nil
			}
			return c.begins[0], max(0, c.shown-int(l.tail)), nil
		}
	}
}

// tailCounter keeps the last lines of a stream, by where they begin and how
// many lines they are shown as, as far as so many are needed.
type tailCounter struct {
	least, shown int
	begins       []int64
	shows        []int
}

func (c *tailCounter) add(at int64, shown int) {
	c.begins, c.shows, c.shown = append(c.begins, at), append(c.shows, shown), c.shown+shown
	for len(c.shows) > 0 && c.shown-c.shows[0] >= c.least {
		c.shown -= c.shows[0]
		c.begins, c.shows = c.begins[1:], c.shows[1:]
	}
}

// shownLines is how many lines a line of the stream is shown as.
func (l *logReader) shownLines(line []byte) (n int) {
	if l.raw || l.stderr {
		return 1
	}
	for _, r := range claude.Render(line) {
		n += strings.Count(r.Text, "\n") + 1
	}
	return n
}

// logWriter takes a stream. Close ends a torn last line.
type logWriter io.WriteCloser

// logWriter shows a stream as the flags ask for it, without the first lines.
func (l *logReader) logWriter(drop int) logWriter {
	switch {
	case l.raw:
		return struct {
			io.Writer
			io.Closer
		}{l.Stdout, io.NopCloser(nil)}
	case l.stderr:
		return &show.LineWriter{Line: func(line []byte) error {
			_, err := fmt.Fprintln(l.Stdout, claude.Visible(string(line)))
			return err
		}}
	}
	paint := l.logPainter()
	return &show.LineWriter{Line: func(line []byte) error {
		for _, r := range claude.Render(line) {
			text, more := r.Text, true
			for ; drop > 0 && more; drop-- {
				_, text, more = strings.Cut(text, "\n")
			}
			if !more {
				continue
			}
			if _, err := fmt.Fprintln(l.Stdout, paint(claude.Line{Kind: r.Kind, Text: text})); err != nil {
				return err
			}
		}
		return nil
	}}
}
