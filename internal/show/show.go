// Package show says once how a task looks: the table of its fields, from which
// come the columns of lists, the rows of csv, the facts of status and markdown
// and the names that --format and --sort know; times, sums, foreign texts and
// colours; tables that fit a terminal; and the one line of a terminal that is
// drawn again and again. It may import engine/task, engine/claude and what
// measures text and terminals, and must never know how a task is kept, run or asked for.
package show

import (
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
	if d < 100*time.Hour {
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// Clock is Duration in whole seconds, for what is redrawn each second.
func Clock(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
	return Duration(d)
}

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

// Cost writes an amount of money: cents from a dollar on, below it what a single
// answer may cost too.
func Cost(usd float64) string {
	if usd >= 0.99995 {
		return fmt.Sprintf("$%.2f", usd)
	}
	return fmt.Sprintf("$%.4f", usd)
}

// OneLine makes foreign text safe to stand in a line of a terminal.
func OneLine(s string) string { return claude.Visible(strings.Join(strings.Fields(s), " ")) }

// Says tells whether the task's message adds anything to its status.
func Says(t task.Task) bool { return t.Message != "" && t.Message != string(t.Status) }

// The looks that need no colour, and the colours of faults and findings.
const (
	Bold, Faint, Reverse     = 1, 2, 7
	Red, Green, Yellow, Cyan = 31, 32, 33, 36
)

// Paint gives text a look by its SGR code (ECMA-48, 8.3.117); 0 is none.
func Paint(code int, text string) string {
	if code == 0 || text == "" {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", code, text)
}

var StatusColours = map[task.Status]int{
	task.Queued: 36, task.Running: 34, task.Completed: 32, task.Failed: 31,
	task.Timeout: 33, task.Cancelled: 35, task.Interrupted: 33, task.Skipped: 90,
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

var patchColours = map[string]int{"diff ": Bold, "--- ": Bold, "+++ ": Bold, "@@ ": Cyan, "+": Green, "-": Red}

// Patch is a line of a patch on a terminal that has colours.
func Patch(line string) string {
	look, longest := 0, 0
	for begin, colour := range patchColours {
		if strings.HasPrefix(line, begin) && len(begin) > longest {
			look, longest = colour, len(begin)
		}
	}
	return Paint(look, claude.Visible(line))
}
