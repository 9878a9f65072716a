package top

import (
	"cmp"
	"fmt"
	"strings"

	"cctask/engine/task"
	"cctask/internal/show"
)

type column struct {
	head string
	// want is the width that it would like, or more if natural: as much as its
	// widest cell takes. One in which nothing stands is left out.
	want          int
	natural       bool
	least, yields int // as of show.Column
	right         bool
	cell          func(m *model, r show.Row) string
}

var columns = []column{
	{"ID", 8, false, 0, 4, false, func(_ *model, r show.Row) string { return show.ShortID(r.ID) }},
	{"STATUS", 9, true, 0, 0, false, func(_ *model, r show.Row) string { return string(r.Status.Public()) }},
	{"TASK", 16, true, 16, 0, false, func(_ *model, r show.Row) string { return r.Title() }},
	{"TURN", 4, false, 0, 1, true, func(_ *model, r show.Row) string { return r.Turned() }},
	{"LAST", 24, false, 12, 0, false, func(_ *model, r show.Row) string { return doing(r) }},
	{"TIME", 6, true, 0, 1, true, func(_ *model, r show.Row) string { return r.Time() }},
	{"COST", 7, true, 0, 2, true, func(_ *model, r show.Row) string { return r.Spent() }},
	{"OUT/S", 9, false, 0, 3, true, func(m *model, r show.Row) string {
		if rate := m.rates[r.ID]; rate != nil {
			return show.Bytes(rate.rate(m.now))
		}
		return ""
	}},
}

// The places of the columns that share what the others leave.
const (
	titleAt = 2
	lastAt  = 4
)

func (m *model) at(t task.Task) show.Row { return show.Row{Task: t, Now: m.now} }

// list is the head and the rows around the selected one; arrows tell that there
// are more.
func (m *model) list(width, height int) []string {
	if len(m.shown) == 0 {
		return m.nothing(width, height)
	}
	cells := make([][]string, len(columns))
	cols := make([]show.Column, len(columns))
	for i, c := range columns {
		cols[i] = show.Column{Least: c.least, Yields: c.yields}
		for _, t := range m.shown {
			text := c.cell(m, m.at(t))
			cells[i] = append(cells[i], text)
			if text != "" {
				cols[i].Want = max(cols[i].Want, c.want)
			}
		}
		if cells[i] = show.AlignPoints(cells[i]); c.natural {
			for _, text := range cells[i] {
				cols[i].Want = max(cols[i].Want, m.method.StringWidth(text))
			}
		}
	}
	// What a task is at may be long and changes all the time: names go before it.
	cols[lastAt].Want = 24
	cols[titleAt].Least = show.Layout(cols, width-2)[titleAt]
	cols[lastAt].Want = width
	widths := show.Layout(cols, width-2)
	line := func(text func(i int) string) string {
		var parts []string
		for i, w := range widths {
			if w > 0 {
				parts = append(parts, show.Fit(m.method, text(i), w, columns[i].right))
			}
		}
		return strings.Join(parts, "  ")
	}
	rows := height - 1
	m.first = max(0, min(m.first, m.row, len(m.shown)-rows), m.row-rows+1)
	last := min(m.first+rows, len(m.shown))
	lines := []string{m.sgr(show.Bold, "  "+line(func(i int) string {
		if i == titleAt && last-m.first < len(m.shown) {
			return fmt.Sprintf("TASK %d/%d", m.row+1, len(m.shown))
		}
		return columns[i].head
	}))}
	for n := m.first; n < last; n++ {
		text, status := line(func(i int) string { return cells[i][n] }), m.shown[n].Status.Public()
		mark := "  "
		switch {
		case n == m.row:
			lines = append(lines, m.sgr(show.Reverse, "› "+text))
			continue
		case n == m.first && n > 0:
			mark = "↑ "
		case n == last-1 && last < len(m.shown):
			mark = "↓ "
		}
		before, after, _ := strings.Cut(text, string(status))
		lines = append(lines, m.sgr(show.Faint, mark+before)+m.sgr(show.StatusColours[status], string(status))+after)
	}
	return lines
}

// nothing says in the middle why there is nothing to see, and what to do.
func (m *model) nothing(width, height int) []string {
	lines := make([]string, max(0, height/2-1))
	for line := range strings.SplitSeq(m.none(), "\n") {
		line = show.Cut(m.method, line, width)
		lines = append(lines, strings.Repeat(" ", (width-m.method.StringWidth(line))/2)+line)
	}
	return lines
}

func (m *model) none() string {
	switch {
	case !m.seen:
		return "looking for tasks …"
	case len(m.tasks) == 0:
		return "No task is recorded.\n\n`cctask start PROMPT` in another terminal starts one.\nq leaves"
	}
	return "No task fits.\n\nEsc clears the text, Tab goes through the statuses."
}

// doing is what a task is at, or when it ended, and why if that is to be said.
func doing(r show.Row) string {
	p := r.Progress
	switch {
	case r.CancelRequested && !r.Status.Ended():
		return "being cancelled"
	case r.Status == task.Queued:
		return show.OneLine(r.Waits())
	case r.Status == task.Completed:
		return task.Ago(r.FinishedAt, r.Now)
	case r.Status.Ended():
		text := task.Ago(r.FinishedAt, r.Now)
		if why := r.Why(); why != "" {
			text = fmt.Sprintf("%-7s  %s", text, show.OneLine(why)) // the reasons below each other
		}
		return text
	case p == nil:
		return "starting"
	}
	return show.OneLine(cmp.Or(p.Doing(), p.LastText))
}

func name(t task.Task) string { return show.Row{Task: t}.Title() }
