package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"cctask/engine/task"
	"cctask/internal/show"
)

// plainEvery is how often progress is told where it cannot be redrawn.
const plainEvery = 15 * time.Second

// progress tells how a task gets on: in one line that is redrawn on a terminal,
// else in a plain line at each change of status and now and then between.
type progress struct {
	*show.Live
	task task.Task

	held bool // a question stands on the terminal: draw nothing over it
	told task.Status
	last string
	at   time.Time
}

func newProgress(w io.Writer) *progress { return &progress{Live: show.NewLive(w)} }

func (p *progress) update(t task.Task) {
	p.task = t
	if p.TTY {
		p.tick()
		return
	}
	if t.Status.Ended() {
		return // what comes next tells it
	}
	now := time.Now()
	line := p.line(now)
	if t.Status.Public() != p.told || line != p.last && now.Sub(p.at) >= plainEvery {
		p.Draw(line)
		p.told, p.last, p.at = t.Status.Public(), line, now
	}
}

func (p *progress) tick() {
	if p.TTY && !p.held {
		p.Draw(p.line(time.Now()))
	}
}

// clear leaves the terminal's line empty for what comes next.
func (p *progress) clear() {
	if p.held {
		fmt.Fprintln(p.W)
	}
	p.Clear()
	p.held = false
}

func (p *progress) line(now time.Time) string {
	t := p.task
	parts := []string{fmt.Sprintf("task %s %s", t.ID, t.Status.Public())}
	switch waits := show.OneLine(show.Row{Task: t}.Waits()); {
	case t.Status == task.Queued && waits != "":
		parts = append(parts, waits)
	case t.Status.Live() && !t.StartedAt.IsZero():
		parts[0] += " " + show.Clock(now.Sub(t.StartedAt))
	}
	if g := t.Progress; g != nil {
		if g.Turns > 0 {
			parts = append(parts, fmt.Sprintf("turn %d", g.Turns))
		}
		if g.CostUSD > 0 {
			parts = append(parts, "~"+show.Cost(g.CostUSD))
		}
		if doing := g.Doing(); doing != "" {
			parts = append(parts, show.OneLine(doing))
		}
	}
	return strings.Join(parts, ", ")
}
