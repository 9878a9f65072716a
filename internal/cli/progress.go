package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"cctask/engine/task"
)

// plainEvery is how often progress is told where it cannot be redrawn.
const plainEvery = 15 * time.Second

// progress tells how a task gets on: in one line that is redrawn on a terminal,
// else in a plain line at each change of status and now and then between.
type progress struct {
	w    io.Writer
	tty  bool
	task task.Task

	held  bool // a question stands on the terminal: draw nothing over it
	drawn bool
	told  task.Status
	last  string
	at    time.Time
}

func newProgress(w io.Writer) *progress { return &progress{w: w, tty: isTerminal(w)} }

func (p *progress) update(t task.Task) {
	p.task = t
	if p.tty {
		p.draw()
		return
	}
	if t.Status.Ended() {
		return // what comes next tells it
	}
	now := time.Now()
	line := p.line(now)
	if t.Status.Public() != p.told || line != p.last && now.Sub(p.at) >= plainEvery {
		fmt.Fprintln(p.w, line)
		p.told, p.last, p.at = t.Status.Public(), line, now
	}
}

// tick lets the clock in the line go on.
func (p *progress) tick() {
	if p.tty {
		p.draw()
	}
}

func (p *progress) draw() {
	if p.held {
		return
	}
	// There must be room for the ^C that the terminal shows: a line that wraps
	// cannot be cleared.
	fmt.Fprintf(p.w, "\r\x1b[K%s", shorten(p.line(time.Now()), columns(p.w)-3))
	p.drawn = true
}

// clear leaves the terminal's line empty for what comes next.
func (p *progress) clear() {
	switch {
	case p.held:
		fmt.Fprintln(p.w)
	case p.drawn:
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.held, p.drawn = false, false
}

// line says in one line where the task stands.
func (p *progress) line(now time.Time) string {
	t := p.task
	parts := []string{fmt.Sprintf("task %s %s", t.ID, t.Status.Public())}
	switch {
	case t.Status == task.Queued && t.QueuePosition > 0:
		parts = append(parts, fmt.Sprintf("%d in the queue", t.QueuePosition))
		if says(t) {
			parts = append(parts, oneLine(t.Message))
		}
	case t.Status.Live() && !t.StartedAt.IsZero():
		parts[0] += " " + clock(now.Sub(t.StartedAt))
	}
	if g := t.Progress; g != nil {
		if g.Turns > 0 {
			parts = append(parts, fmt.Sprintf("turn %d", g.Turns))
		}
		if g.CostUSD > 0 {
			parts = append(parts, cost(g.CostUSD))
		}
		if doing := g.Doing(); doing != "" {
			parts = append(parts, oneLine(doing))
		}
	}
	return strings.Join(parts, ", ")
}
