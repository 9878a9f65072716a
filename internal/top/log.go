package top

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/show"
)

// mostLines bounds the log that is kept, in lines as they were rendered.
const mostLines = 4000

// logPane is the log of the selected task's last attempt.
type logPane struct {
	id      task.ID
	attempt int

	busy   bool // a piece is on its way
	read   bool // at least one has come
	done   bool // and there will be no other
	idle   bool // there was nothing more: only a change makes it ask again
	err    error
	offset int64
	lines  []claude.Line
	torn   *show.LineWriter

	// The lines as they stand on the screen, for a width and a way to measure.
	width   int
	method  ansi.Method
	wrapped []string
	paint   func(claude.Line, string) string
	up      int // how far above its end the pane stands
}

// fetch asks for what t has printed and the pane does not have.
func (l *logPane) fetch(f *feed, t *task.Task) tea.Cmd {
	if l.busy {
		return nil // the answer asks again
	}
	if t == nil || l.id != t.ID || l.attempt != t.Attempt {
		paint := l.paint
		*l = logPane{paint: paint}
		if t != nil {
			l.id, l.attempt = t.ID, t.Attempt
		}
	}
	switch {
	case t == nil, t.Status == task.Queued, l.done, l.idle:
		return nil
	case l.read && t.Status.Live() && l.offset >= t.StdoutBytes:
		return nil
	}
	q := engine.OutputQuery{Ref: string(t.ID), Attempt: t.Attempt, Stream: task.Stdout, Limit: logPiece, Offset: l.offset}
	if !l.read || t.StdoutBytes-l.offset > logPiece {
		q.Tail = logPiece
	}
	l.busy = true
	return f.read(q)
}

func (l *logPane) render(p piece) {
	l.busy = false
	if p.id != l.id || p.attempt != l.attempt {
		return
	}
	if l.err = p.err; p.err != nil {
		l.idle = true
		return
	}
	data, before := p.out.Data, len(l.wrapped)
	if !l.read || p.out.Offset != l.offset {
		*l = logPane{id: l.id, attempt: l.attempt, paint: l.paint, width: l.width, method: l.method}
		l.torn = &show.LineWriter{Line: func(line []byte) error {
			l.add(claude.Render(line)...)
			return nil
		}}
		if p.out.Offset > 0 {
			l.torn.Torn = true
			l.add(claude.Line{Kind: claude.KindNote, Text: "· the end of a long log; `cctask logs` shows all of it"})
			before = 0
		}
	}
	l.read, l.offset, l.idle = true, p.out.Offset+int64(len(p.out.Data)), len(p.out.Data) == 0
	_, _ = l.torn.Write(data) // add does not fail
	if l.done = p.out.Done && l.offset >= p.out.Size; l.done {
		_ = l.torn.Close()
	}
	if over := len(l.lines) - mostLines; over > 0 {
		l.lines = append([]claude.Line(nil), l.lines[over:]...)
		l.wrap(l.width, l.method)
	}
	if l.up > 0 { // what is being read stays where it is
		l.up += max(0, len(l.wrapped)-before)
	}
}

func (l *logPane) add(lines ...claude.Line) {
	for _, line := range lines {
		l.lines = append(l.lines, line)
		l.put(line)
	}
}

func (l *logPane) put(line claude.Line) {
	if l.width == 0 {
		return
	}
	for _, row := range show.Wrap(l.method, line.Text, l.width) {
		l.wrapped = append(l.wrapped, l.paint(line, row))
	}
}

func (l *logPane) wrap(width int, method ansi.Method) {
	l.width, l.method, l.wrapped = width, method, nil
	for _, line := range l.lines {
		l.put(line)
	}
}

// rows are those on the screen now.
func (l *logPane) rows(width, height int, method ansi.Method) []string {
	if l.width != width || l.method != method {
		l.wrap(width, method)
	}
	l.up = max(0, min(l.up, len(l.wrapped)-height))
	end := len(l.wrapped) - l.up
	return l.wrapped[max(0, end-height):end]
}

// empty says why there is nothing to see.
func (l *logPane) empty(t task.Task) string {
	switch {
	case l.err != nil:
		return show.OneLine(l.err.Error())
	case t.Status == task.Queued:
		return strings.TrimSuffix("waiting, "+show.Row{Task: t}.Waits(), ", ")
	case !l.read:
		return "reading the log …"
	case t.Status.Ended():
		return fmt.Sprintf("nothing was said; `cctask logs --stderr %s` shows its stderr", t.ID)
	}
	return "nothing said yet"
}
