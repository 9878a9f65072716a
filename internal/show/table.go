package show

import (
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"cctask/engine/task"
)

const (
	gap = 2 // between two columns
	// wholeIDs is the width from which on a table shows ids whole; below it their
	// ends, which may stand for them.
	wholeIDs = 120
	idEnd    = 8
)

// ShortID is the end of an id, by which a person may name the task.
func ShortID(id task.ID) string { return string(id[max(0, len(id)-idEnd):]) }

// Column is what Layout knows of a column of a table.
type Column struct {
	Want          int // the width that it would like; 0: it is empty
	Least, Yields int // as of a Field
}

// Layout chooses the widths of columns, so that they fit into room; 0 leaves one
// out. First those that may be cut share what there is, then columns leave: a
// number or a status is never cut.
func Layout(cols []Column, room int) []int {
	widths := make([]int, len(cols))
	least := func(i int) int {
		if cols[i].Least == 0 {
			return cols[i].Want
		}
		return min(cols[i].Want, cols[i].Least)
	}
	used := -gap
	for i, c := range cols {
		if c.Want > 0 {
			widths[i] = least(i)
			used += widths[i] + gap
		}
	}
	for used > room {
		leaves, left := -1, 0
		for i, c := range cols {
			if widths[i] > 0 {
				left++
			}
			if widths[i] > 0 && c.Yields > 0 && (leaves < 0 || c.Yields >= cols[leaves].Yields) {
				leaves = i
			}
		}
		if leaves < 0 || left == 1 {
			break // the lines are cut
		}
		used -= widths[leaves] + gap
		widths[leaves] = 0
	}
	for used < room { // to the narrowest of those that want more
		grows := -1
		for i, c := range cols {
			if widths[i] > 0 && widths[i] < c.Want && (grows < 0 || widths[i] < widths[grows]) {
				grows = i
			}
		}
		if grows < 0 {
			break
		}
		widths[grows]++
		used++
	}
	return widths
}

// Table shows tasks in lines of at most width columns. Where the prompt has no
// room the name of a task without one is its prompt. empty leaves columns out in
// which nothing stands.
func Table(fields []Field, rows []Row, width int, colour, empty bool) string {
	cells := make([][]string, len(fields))
	cols := make([]Column, len(fields))
	for i, f := range fields {
		cells[i] = column(f, rows, width)
		cols[i] = Column{Least: f.Least, Yields: f.Yields}
		bare := empty && !slices.ContainsFunc(cells[i][1:], func(c string) bool { return c != "" })
		for _, c := range cells[i] {
			if !bare {
				cols[i].Want = max(cols[i].Want, Width(c))
			}
		}
	}
	at := func(name string) int { return slices.IndexFunc(fields, func(f Field) bool { return f.Name == name }) }
	name, prompt := at("name"), at("prompt")
	if name < 0 || cols[name].Want == 0 { // the prompt alone tells which task it is
		if prompt >= 0 {
			cols[prompt].Least, cols[prompt].Yields = 16, 1
		}
	}
	widths := Layout(cols, width)
	if name >= 0 && prompt >= 0 && widths[name] > 0 && widths[prompt] == 0 {
		for n, r := range rows {
			cells[name][n+1] = r.Title()
			cols[name].Want = max(cols[name].Want, Width(r.Title()))
		}
		cols[prompt].Want = 0
		widths = Layout(cols, width)
	}
	var b strings.Builder
	for n := range len(rows) + 1 {
		var line []string
		for i, w := range widths {
			if w == 0 {
				continue
			}
			text := cells[i][n]
			if n > 0 && text == "" {
				text = "-"
			}
			text = Fit(ansi.WcWidth, text, w, fields[i].Right)
			if colour && n > 0 && fields[i].Name == "status" {
				text = Paint(StatusColours[rows[n-1].Status.Public()], text)
			}
			line = append(line, text)
		}
		b.WriteString(strings.TrimRight(Cut(ansi.WcWidth, strings.Join(line, strings.Repeat(" ", gap)), width), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

func column(f Field, rows []Row, width int) []string {
	cells := []string{f.Head}
	for _, r := range rows {
		text := f.Cell(r)
		if f.Name == "task_id" && width < wholeIDs {
			text = r.Strokes + ShortID(r.ID)
		}
		cells = append(cells, text)
	}
	if f.Name == "cost_usd" {
		cells = AlignPoints(cells)
	}
	return cells
}

// AlignPoints makes sums, which have two digits behind the point or four, stand
// with their points below each other on the right.
func AlignPoints(cells []string) []string {
	most := 0
	behind := func(cell string) int {
		if i := strings.LastIndexByte(cell, '.'); i >= 0 && strings.HasPrefix(cell, "$") {
			return len(cell) - i
		}
		return 0
	}
	for _, c := range cells {
		most = max(most, behind(c))
	}
	for i, c := range cells {
		if n := behind(c); n > 0 {
			cells[i] += strings.Repeat(" ", most-n)
		}
	}
	return cells
}
