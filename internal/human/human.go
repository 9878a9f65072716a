// Package human writes times, sums, foreign texts and colours as every view of
// tasks for people shows them: the tables and blocks of the command line and
// the screen of top. It may import engine/task and engine/claude, and must never
// know where a text goes.
package human

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"cctask/engine/claude"
	"cctask/engine/task"
)

// Duration writes a time as a person reads it.
func Duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// Clock is Duration in whole seconds, for what is redrawn each second.
func Clock(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
	return Duration(d)
}

// Plural writes how many there are of something.
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Bytes is a number of bytes for people: "17 B", "3.4 MiB".
func Bytes(n int64) string {
	v, unit := float64(n), 0
	for ; v >= 1024 && unit < 4; unit++ {
		v /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[unit-1])
}

// Cost writes an amount of money.
func Cost(usd float64) string { return fmt.Sprintf("$%.4f", usd) }

// OneLine makes foreign text safe to stand in a line of a terminal.
func OneLine(s string) string { return claude.Visible(strings.Join(strings.Fields(s), " ")) }

// StatusColours are the colours of statuses on a terminal.
var StatusColours = map[task.Status]int{
	task.Queued: 36, task.Running: 34, task.Completed: 32, task.Failed: 31,
	task.Timeout: 33, task.Cancelled: 35, task.Interrupted: 33,
}

var kindColours = map[string]int{
	claude.KindTool: 36, claude.KindOutput: 90, claude.KindNote: 90, claude.KindError: 31, claude.KindEnd: 32,
}

// LineColour is the colour of a rendered log line on a terminal, 0 without one.
func LineColour(l claude.Line) int {
	if strings.HasPrefix(l.Text, "✘") {
		return kindColours[claude.KindError]
	}
	return kindColours[l.Kind]
}

// LineWriter calls Line for each line, without its newline.
type LineWriter struct {
	Line func([]byte) error
	At   int64 // where in the stream the line begins that is not whole yet
	Torn bool  // what comes before the first newline is the end of a line
	rest []byte
}

func (w *LineWriter) Write(p []byte) (int, error) {
	for n := len(p); ; {
		i := bytes.IndexByte(p, '\n')
		if i < 0 && w.Torn {
			w.At += int64(len(p))
			return n, nil
		}
		if i < 0 {
			w.rest = append(w.rest, p...)
			return n, nil
		}
		line := p[:i]
		p = p[i+1:]
		if len(w.rest) > 0 {
			line = append(w.rest, line...)
			w.rest = w.rest[:0]
		}
		if !w.Torn {
			if err := w.Line(line); err != nil {
				return 0, err
			}
		}
		w.Torn = false
		w.At += int64(len(line)) + 1
	}
}

// Close gives a torn last line too.
func (w *LineWriter) Close() error {
	if len(w.rest) == 0 {
		return nil
	}
	err := w.Line(w.rest)
	w.At, w.rest = w.At+int64(len(w.rest)), nil
	return err
}
