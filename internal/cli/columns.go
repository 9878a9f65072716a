package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cctask/engine/task"
	"cctask/internal/human"
)

// column is what a table can show of a task.
type column struct {
	name, head string
	cell       func(r row) string
	long       bool // gives way where the terminal is narrow
}

// allColumns are those that --columns knows.
var allColumns = []column{
	{"id", "ID", func(r row) string { return r.ID }, false},
	{"status", "STATUS", func(r row) string { return r.Status }, false},
	{"created", "CREATED", func(r row) string { return r.ago(r.Created) }, false},
	{"started", "STARTED", func(r row) string { return r.ago(r.Started) }, false},
	{"ended", "ENDED", func(r row) string { return r.ago(r.Ended) }, false},
	{"time", "TIME", func(r row) string { return spentText(r.task) }, false},
	{"cost", "COST", func(r row) string { return costText(r.task) }, false},
	{"turns", "TURNS", func(r row) string { return orNone(r.Turns) }, false},
	{"attempt", "ATTEMPT", func(r row) string { return orNone(r.Attempt) }, false},
	{"queue", "QUEUE", func(r row) string { return orNone(r.Queue) }, false},
	{"exit", "EXIT", func(r row) string { return r.Exit }, false},
	{"name", "NAME", func(r row) string { return r.Name }, true},
	{"labels", "LABELS", func(r row) string { return strings.Join(r.Labels, ",") }, true},
	{"dir", "DIRECTORY", func(r row) string { return r.Dir }, true},
	{"model", "MODEL", func(r row) string { return r.Model }, true},
	{"session", "SESSION", func(r row) string { return r.Session }, false},
	{"reason", "REASON", func(r row) string { return r.Reason }, false},
	{"message", "MESSAGE", func(r row) string { return r.Message }, true},
	{"prompt", "PROMPT", func(r row) string { return r.Prompt }, true},
}

const defaultColumns = "id,status,created,time,cost,prompt"

func columnNames() string {
	var names []string
	for _, c := range allColumns {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

func parseColumns(text string) (cols []column, err error) {
	for name := range strings.SplitSeq(text, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		i := slices.IndexFunc(allColumns, func(c column) bool { return c.name == name })
		if i < 0 {
			return nil, badInput(fmt.Sprintf("--columns: there is no column %q", name), "Use some of "+columnNames()+".")
		}
		cols = append(cols, allColumns[i])
	}
	return cols, nil
}

// row is a task as --format and the columns see it.
type row struct {
	ID, Name, Status, Message, Reason string
	Prompt, Dir, Model, Session, Exit string
	Labels                            []string
	Created, Started, Ended           time.Time
	Duration                          time.Duration // with a process
	Cost                              float64       // in USD
	Turns, Attempt, Queue             int
	Task                              task.View // as in --json

	task task.Task
	now  time.Time
}

func newRow(t task.Task, now time.Time) row {
	v := task.NewView(t, now)
	r := row{
		ID: string(t.ID), Name: t.Spec.Name, Status: string(v.Status), Message: t.Message, Reason: string(t.Reason),
		Prompt: t.PromptHead, Dir: t.Spec.WorkingDir, Model: v.Model, Session: t.SessionID, Labels: t.Spec.Labels,
		Created: t.CreatedAt, Started: t.StartedAt, Ended: t.FinishedAt, Duration: t.Elapsed(now), Cost: task.RoundUSD(t.CostUSD),
		Turns: t.NumTurns, Attempt: t.Attempt, Queue: t.QueuePosition, Task: v,
		task: t, now: now,
	}
	if t.Progress != nil && t.Status.Live() {
		r.Turns += t.Progress.Turns
	}
	if t.ExitCode != nil {
		r.Exit = strconv.Itoa(*t.ExitCode)
	}
	return r
}

func (r row) ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ago(t, r.now)
}

func orNone(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// table shows tasks in lines of at most width columns.
func table(cols []column, tasks []task.Task, width int, colour bool, now time.Time) string {
	rows := [][]string{nil}
	named := slices.ContainsFunc(cols, func(c column) bool { return c.name == "name" })
	for _, c := range cols {
		rows[0] = append(rows[0], c.head)
	}
	for _, t := range tasks {
		r := newRow(t, now)
		if r.Name != "" && !named {
			r.Prompt = r.Name + ": " + r.Prompt
		}
		var line []string
		for _, c := range cols {
			text := oneLine(c.cell(r))
			if text == "" {
				text = "-"
			}
			line = append(line, text)
		}
		rows = append(rows, line)
	}
	widths := fit(cols, rows, width)
	var b strings.Builder
	for n, line := range rows {
		for i, text := range line {
			if n > 0 && cols[i].name == "id" && len(text) > widths[i] {
				text = "…" + text[len(text)-widths[i]+1:] // ids of one time begin alike
			}
			text = shorten(text, widths[i])
			if i < len(line)-1 {
				text += strings.Repeat(" ", widths[i]-textWidth(text)+2)
			}
			if colour && n > 0 && cols[i].name == "status" {
				text = fmt.Sprintf("\x1b[%dm%s\x1b[0m", human.StatusColours[tasks[n-1].Status.Public()], text)
			}
			b.WriteString(text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// fit gives each column the room that it needs, as far as there is so much.
func fit(cols []column, rows [][]string, room int) []int {
	widths := make([]int, len(cols))
	for i := range cols {
		for _, line := range rows {
			widths[i] = max(widths[i], textWidth(line[i]))
		}
		room -= widths[i] + 2
	}
	room += 2
	// First the long ones give way, then all, at last to what is hardly readable.
	for _, least := range []struct {
		cell     int
		longOnly bool
	}{{8, true}, {8, false}, {3, false}} {
		for room < 0 {
			widest := -1
			for i, w := range widths {
				if w > least.cell && (cols[i].long || !least.longOnly) && (widest < 0 || w > widths[widest]) {
					widest = i
				}
			}
			if widest < 0 {
				break
			}
			widths[widest]--
			room++
		}
	}
	return widths
}

// totals sums up a page in one line.
func totals(page task.Page) string {
	counts, usd := map[task.Status]int{}, 0.0
	for _, t := range page.Tasks {
		counts[t.Status.Public()]++
		usd += t.CostUSD
	}
	parts := []string{plural(len(page.Tasks), "task")}
	for _, s := range task.Statuses {
		if n := counts[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	line := strings.Join(append(parts, cost(usd)), ", ")
	if page.NextCursor != "" {
		line += "; there are more"
	}
	return line
}

// spentText and costText are a dash for what is not known yet.
func spentText(t task.Task) string {
	if d := spent(t); d > 0 {
		return duration(d)
	}
	return "-"
}

func costText(t task.Task) string {
	if t.CostUSD > 0 {
		return cost(t.CostUSD)
	}
	return "-"
}
