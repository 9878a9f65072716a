package top

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"cctask/engine/task"
	"cctask/internal/human"
)

// idEnd is how much of an id the list shows: its end, which may stand for it.
const idEnd = 8

// column is one of the list; a width of 0 shares what the others leave, a
// negative one stands on the right.
type column struct {
	head  string
	width int
	cell  func(m *model, t task.Task) string
}

var columns = []column{
	{"ID", idEnd, func(_ *model, t task.Task) string { return string(t.ID[len(t.ID)-idEnd:]) }},
	{"STATUS", 11, func(_ *model, t task.Task) string { return string(t.Status.Public()) }},
	{"TASK", 0, func(_ *model, t task.Task) string { return name(t) }},
	{"TURN", -4, func(_ *model, t task.Task) string { return number(turns(t)) }},
	{"LAST TOOL", 0, func(m *model, t task.Task) string { return m.doing(t) }},
	{"TIME", -6, func(m *model, t task.Task) string { return m.elapsed(t) }},
	{"COST", -8, func(_ *model, t task.Task) string {
		if usd := spent(t); usd > 0 {
			return human.Cost(usd)
		}
		return ""
	}},
	{"OUT/S", -9, func(m *model, t task.Task) string {
		if r := m.rates[t.ID]; r != nil {
			return human.Bytes(r.rate(m.now))
		}
		return ""
	}},
}

// idFrom is the width of a list with ids.
const idFrom = 96

// list is the head and the rows around the selected one.
func (m *model) list(width, height int) []string {
	cols := columns
	if width < idFrom {
		cols = cols[1:]
	}
	room, shares := width-2, 0
	for _, c := range cols {
		room -= max(c.width, -c.width) + 2
		if c.width == 0 {
			shares++
		}
	}
	room += 2
	row := func(text func(c column) string) string {
		left, rest := shares, room
		var cells []string
		for _, c := range cols {
			w := c.width
			if w == 0 {
				w = rest / left
				rest, left = rest-w, left-1
			}
			cells = append(cells, m.cell(text(c), w))
		}
		return strings.Join(cells, "  ")
	}
	lines := []string{m.sgr(bold, "  "+row(func(c column) string { return c.head }))}
	rows := height - 1
	m.first = max(0, min(m.first, m.row, len(m.shown)-rows), m.row-rows+1)
	for i := m.first; i < min(m.first+rows, len(m.shown)); i++ {
		t := m.shown[i]
		line := row(func(c column) string { return c.cell(m, t) })
		if i == m.row {
			lines = append(lines, m.sgr(reverse, "› "+line))
			continue
		}
		status := string(t.Status.Public())
		before, after, _ := strings.Cut(line, status)
		line = "  " + m.sgr(faint, before) + m.sgr(human.StatusColours[t.Status.Public()], status) + after
		lines = append(lines, line)
	}
	if len(m.shown) == 0 {
		lines = append(lines, m.sgr(faint, "  "+m.none()))
	}
	return lines
}

func (m *model) none() string {
	switch {
	case !m.seen:
		return "looking for tasks …"
	case len(m.tasks) == 0:
		return "No task is recorded. `cctask start PROMPT` starts one."
	}
	return "No task fits. Esc clears the text, Tab goes through the statuses."
}

// doing is what a task is at, or how it ended.
func (m *model) doing(t task.Task) string {
	p := t.Progress
	switch {
	case t.CancelRequested && !t.Status.Ended():
		return "being cancelled"
	case t.Status == task.Queued:
		return human.OneLine(fmt.Sprintf("%d in the queue%s", t.QueuePosition, because(t)))
	case t.Status == task.Completed:
		return task.Ago(t.FinishedAt, m.now)
	case t.Status.Ended():
		return human.OneLine(cmp.Or(t.Message, string(t.Reason)))
	case p == nil:
		return "starting"
	}
	return human.OneLine(cmp.Or(p.Doing(), p.LastText))
}

// because is what a queued task waits for beside its turn.
func because(t task.Task) string {
	if t.Message == "" {
		return ""
	}
	return ", " + t.Message
}

// elapsed is how long a task has run, without what would change ten times a second.
func (m *model) elapsed(t task.Task) string {
	switch d := t.Elapsed(m.now); {
	case t.Status.Live():
		return human.Clock(d)
	case d > 0:
		return human.Duration(d)
	}
	return ""
}

// name is what a person calls a task.
func name(t task.Task) string { return human.OneLine(cmp.Or(t.Spec.Name, t.PromptHead)) }

func turns(t task.Task) int {
	if t.Progress != nil && t.Status.Live() {
		return t.NumTurns + t.Progress.Turns
	}
	return t.NumTurns
}

func spent(t task.Task) float64 {
	if t.Progress != nil && t.Status.Live() {
		return t.CostUSD + t.Progress.CostUSD
	}
	return t.CostUSD
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
