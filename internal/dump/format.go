package dump

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"cctask/engine/task"
	"cctask/internal/show"
)

// Formats are the ways in which a dump can be shown, the first one by default.
// That is the one that Restore reads.
var Formats = []string{"jsonl", "json", "csv", "markdown"}

// Writer shows lines in a format; nil for an unknown one. Nothing is kept
// longer than for a line.
func Writer(w io.Writer, format string) func(Line) error {
	switch format {
	case "jsonl":
		enc := encoder(w)
		return func(l Line) error { return enc.Encode(l) }
	case "json":
		d := &document{w: w}
		return d.line
	case "csv":
		return table(csv.NewWriter(w))
	case "markdown":
		m := &markdown{w: w}
		return m.line
	}
	return nil
}

// document is one JSON object: {"header": {}, "tasks": [{"task": {},
// "attempts": [], "data": []}], "end": {}}, with the lines of the streams in data.
type document struct {
	w     io.Writer
	tasks int
	data  int // lines of the task under way
}

func (d *document) line(l Line) error {
	var before string
	var v any
	switch l.Type {
	case typeHeader:
		before, v = `{"header":`, l.Header
	case typeTask:
		before, v = strings.Repeat("]},", min(d.tasks, 1)), l.Record
		if d.tasks == 0 {
			before = `,"tasks":[`
		}
		d.tasks++
		d.data = 0
	case typeEnd:
		before, v = strings.Repeat("]}", min(d.tasks, 1))+`],"end":`, l.End
		if d.tasks == 0 {
			before = `,"tasks":[],"end":`
		}
	default:
		l.ID = ""
		before, v = strings.Repeat(",", min(d.data, 1)), l
		d.data++
	}
	var b bytes.Buffer
	b.WriteString(before)
	if err := encoder(&b).Encode(v); err != nil {
		return err
	}
	switch l.Type {
	case typeTask: // the object stays open for its data
		b.Truncate(b.Len() - len("}\n"))
		b.WriteString(`,"data":[` + "\n")
	case typeEnd:
		b.WriteString("}\n")
	}
	_, err := d.w.Write(b.Bytes())
	return err
}

// inert is a cell that a spreadsheet does not run: one that would begin a formula
// gets a ' in front, unless it is a number.
func inert(cell string) string {
	rest := strings.TrimLeftFunc(cell, unicode.IsSpace)
	formula := rest != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(rest)[0]) || cell != "" && strings.ContainsRune("\t\r\n", rune(cell[0]))
	if !formula || number().MatchString(cell) {
		return cell
	}
	return "'" + cell
}

var number = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$`) })

func table(w *csv.Writer) func(Line) error {
	return func(l Line) error {
		var row []string
		for _, f := range show.Fields {
			switch l.Type {
			case typeHeader:
				row = append(row, f.Name)
			case typeTask:
				row = append(row, inert(show.Plain(f.Value(show.Row{Task: l.Task}))))
			}
		}
		if row == nil {
			return nil
		}
		if err := w.Write(row); err != nil {
			return err
		}
		w.Flush()
		return w.Error()
	}
}

// markdown writes a section for each task. What others wrote stands in quotes
// and in indented code, so that nothing in it ends its part.
type markdown struct {
	w    io.Writer
	part string // the heading under which the last piece stands
	open bool   // its last line has not ended
}

func (m *markdown) line(l Line) error {
	var b strings.Builder
	switch l.Type {
	case typeHeader:
		b.WriteString("# Tasks\n")
	case typeTask:
		m.close(&b)
		m.section(&b, l.Task)
	case typeRemoved:
		m.close(&b)
		b.WriteString("\n*The task was removed while it was read.*\n")
	case typeEnd:
		m.close(&b)
		fmt.Fprintf(&b, "\n---\n\n*Tasks: %d.*\n", l.Tasks)
	default:
		if err := m.piece(&b, l); err != nil {
			return err
		}
	}
	_, err := io.WriteString(m.w, b.String())
	return err
}

// titled are the fields that stand in a section's title or as a part of their own.
var titled = []string{"task_id", "name", "prompt"}

func (m *markdown) section(b *strings.Builder, t task.Task) {
	title := string(t.ID)
	if t.Spec.Name != "" {
		title = code(t.Spec.Name) + " " + title
	}
	fmt.Fprintf(b, "\n## %s\n\n", title)
	for _, f := range show.Fields {
		v := show.Plain(f.Value(show.Row{Task: t}))
		if v != "" && v != "0" && v != "false" && !slices.Contains(titled, f.Name) {
			fmt.Fprintf(b, "- %s: %s\n", strings.ReplaceAll(f.Name, "_", " "), code(v))
		}
	}
}

func (m *markdown) piece(b *strings.Builder, l Line) error {
	data, err := l.data()
	if err != nil {
		return err
	}
	part, prefix := fmt.Sprintf("%s of attempt %d", l.stream(), l.Attempt), "    "
	if l.Type != typeOutput {
		prefix = "> "
	}
	if part != m.part {
		m.close(b)
		m.part = part
		fmt.Fprintf(b, "\n### %s%s\n\n", strings.ToUpper(part[:1]), part[1:])
	}
	for _, text := range strings.SplitAfter(plain(string(data)), "\n") {
		if text == "" {
			continue
		}
		if !m.open {
			b.WriteString(prefix)
		}
		b.WriteString(text)
		m.open = !strings.HasSuffix(text, "\n")
	}
	return nil
}

func (m *markdown) close(b *strings.Builder) {
	if m.open {
		b.WriteByte('\n')
	}
	m.open, m.part = false, ""
}

// plain leaves out what is no text.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0:
			return utf8.RuneError
		}
		return r
	}, strings.ReplaceAll(strings.ToValidUTF8(s, string(utf8.RuneError)), "\r\n", "\n"))
}

// code is one line that Markdown leaves as it is.
func code(s string) string {
	return "`" + strings.ReplaceAll(strings.Join(strings.Fields(plain(s)), " "), "`", "'") + "`"
}
