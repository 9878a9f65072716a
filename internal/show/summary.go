package show

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"cctask/engine/task"
	"cctask/internal/summary"
)

// namedTasks is how many tasks with one cause a summary names; the others it counts.
const namedTasks = 5

// Summary is one for people, in lines of at most width columns; titles has
// what a person calls the tasks.
func Summary(s summary.Summary, titles map[task.ID]string, width int, colour bool) string {
	text := summaryText{titles: titles, width: width, colour: colour}
	text.line(0, counts(s))
	if s.Tasks == 0 {
		return text.String()
	}
	text.line(0, spent(s))
	text.queue(s.Queue)
	text.head("Further attempts", len(s.Retries))
	for _, r := range s.Retries {
		text.line(1, fmt.Sprintf("%s after %s, of %s (%d completed)", Plural(r.Attempts, "attempt"), Reason(r.Reason), Plural(len(r.Tasks), "task"), r.Completed))
	}
	text.head("Limits met", len(s.Limits))
	for _, l := range s.Limits {
		line := Reason(l.Reason) + ": " + Plural(l.Attempts, "attempt")
		if !l.RetryAt.IsZero() {
			line += ", the last one until " + l.RetryAt.Local().Format(time.DateTime)
		}
		text.line(1, line)
	}
	text.head("Not completed", len(s.Failures))
	for _, f := range s.Failures {
		text.line(1, fmt.Sprintf("%s: %s. %s", Reason(f.Reason), Plural(len(f.Tasks), "task"), f.Next))
		for _, id := range f.Tasks[:min(len(f.Tasks), namedTasks)] {
			text.task(id)
		}
		if more := len(f.Tasks) - namedTasks; more > 0 {
			text.line(2, fmt.Sprintf("and %d more", more))
		}
	}
	return text.String()
}

func counts(s summary.Summary) string {
	parts := []string{Plural(s.Tasks, "task")}
	for _, c := range s.Statuses {
		parts = append(parts, fmt.Sprintf("%d %s", c.Tasks, c.Status))
	}
	return strings.Join(parts, ", ")
}

func spent(s summary.Summary) string {
	cost := Cost(s.CostUSD)
	if s.CostUncertain {
		cost += " or more"
	}
	return fmt.Sprintf("%s, %s, %s of claude within %s", cost, Plural(s.NumTurns, "turn"), span(s.DurationMS), Duration(s.To.Sub(s.From)))
}

func span(ms int64) string { return Duration(time.Duration(ms) * time.Millisecond) }

// Reason is one as a person reads it.
func Reason(r task.FailureReason) string {
	return strings.ReplaceAll(cmp.Or(string(r), "a good end"), "_", " ")
}

type summaryText struct {
	strings.Builder
	titles map[task.ID]string
	width  int
	colour bool
}

// line adds a line, broken where it is too long, with the further ones further in.
func (x *summaryText) line(depth int, text string) {
	indent := strings.Repeat("  ", depth)
	for i, part := range Wrap(ansi.WcWidth, text, max(20, x.width-2*depth-2)) {
		if i == 1 {
			indent += "  "
		}
		x.WriteString(indent + part + "\n")
	}
}

// head begins a part that has n lines; one without lines is left out.
func (x *summaryText) head(text string, n int) {
	if n == 0 {
		return
	}
	if x.colour {
		text = Paint(Bold, text)
	}
	x.WriteString("\n" + text + "\n")
}

func (x *summaryText) task(id task.ID) {
	x.WriteString(Shorten("    "+x.name(id), x.width) + "\n")
}

func (x *summaryText) name(id task.ID) string {
	return strings.TrimSpace(ShortID(id) + "  " + x.titles[id])
}

func (x *summaryText) queue(q summary.Queue) {
	if q.TotalMS == 0 && len(q.Waiting) == 0 {
		return
	}
	x.head("Queued", 1)
	if q.TotalMS > 0 {
		x.line(1, fmt.Sprintf("%s together, at most %s:", span(q.TotalMS), span(q.LongestMS)))
		x.task(q.Longest)
	}
	for _, w := range q.Waited {
		what := map[task.WaitingFor]string{task.WaitDependency: "other tasks", task.WaitStartAt: "a start time"}[w.For]
		x.line(1, fmt.Sprintf("%s of these by %s that waited for %s, at most %s:", span(w.TotalMS), Plural(len(w.Tasks), "task"), what, span(w.LongestMS)))
		x.task(w.Longest)
		if w.On != "" {
			x.line(2, "for "+x.name(w.On))
		}
	}
	for _, w := range q.Waiting {
		r := Row{Task: task.Task{Waiting: task.Waiting{For: w.For, Until: w.Until}}}
		x.line(1, fmt.Sprintf("%s now: %s", Plural(len(w.Tasks), "task"), cmp.Or(r.Why(), "a free slot")))
	}
}
