package mcp

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"cctask/engine/claude"
	"cctask/engine/task"
)

// Claude Code hands its model the structured content of an answer and nothing
// else; the SDKs leave it to their host, and most hosts show the text. So each of
// the two says all that is needed, the text as people read it.

// text is the answer about a task: a line of state, the answer or the output, and
// the next step.
func (v *taskResult) text() string {
	var b strings.Builder
	fmt.Fprintln(&b, stateOf(v.View))
	block := func(title, text string) {
		if text != "" {
			fmt.Fprintf(&b, "\n%s%s\n", title, strings.TrimRight(text, "\n"))
		}
	}
	if v.Result != nil {
		block("", *v.Result)
	}
	if p := v.Progress; p != nil {
		block("claude said last:\n", p.LastText)
	}
	block("claude said last:\n", v.Said)
	tail := func(name string, s *streamText) {
		if s == nil || s.Tail == nil {
			return
		}
		if s.Truncated {
			name += fmt.Sprintf(" (the end of %d bytes)", s.Bytes)
		}
		block(name+":\n", *s.Tail)
	}
	tail("stdout", v.Stdout)
	tail("stderr", v.Stderr)
	if o := v.Output; o != nil {
		block(fmt.Sprintf("%s from byte %d of %d:\n", o.Stream, o.Offset, o.Bytes), o.Data)
	}
	var rows []string
	for _, d := range details(v.View) {
		if d[1] != "" {
			rows = append(rows, d[0]+": "+d[1])
		}
	}
	block("", strings.Join(rows, "\n"))
	block("", v.Note)
	block("", v.Next)
	return strings.TrimRight(b.String(), "\n")
}

// stateOf is a task in a line, such as
// "01J… (lint): running · turn 4 · Bash go test ./... · 1m32s · $0.12".
func stateOf(v task.View) string {
	name := string(v.TaskID)
	if v.Name != "" {
		name += " (" + v.Name + ")"
	}
	parts := []string{name + ": " + string(v.Status)}
	add := func(ok bool, format string, args ...any) {
		if ok {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(v.QueuePosition > 0, "position %d", v.QueuePosition)
	add(v.FailureReason != "", "%s", v.FailureReason)
	add(v.Error != "" && v.Error != string(v.FailureReason), "%s", v.Error)
	add(v.StatusMessage != "" && v.StatusMessage != v.Error, "%s", v.StatusMessage)
	add(v.ExitCode != nil && *v.ExitCode != 0, "exit code %d", *orZero(v.ExitCode))
	if p := v.Progress; p != nil {
		add(p.Turns > 0, "turn %d", p.Turns)
		add(p.Retrying != "", "retrying: %s", p.Retrying)
		add(p.Retrying == "" && p.Doing() != "", "%s", p.Doing())
	}
	if v.ElapsedSeconds != nil {
		parts = append(parts, time.Duration(*v.ElapsedSeconds*float64(time.Second)).Round(100*time.Millisecond).String())
	}
	cost := *orZero(v.CostUSD)
	if v.Progress != nil {
		cost += v.Progress.CostUSD
	}
	add(cost > 0, "$%.4f", cost)
	return strings.Join(parts, " · ")
}

func orZero[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}

// details are the fields that only an answer with detail has.
func details(v task.View) [][2]string {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.RFC3339)
	}
	usage := ""
	if u := v.Usage; u != nil {
		usage = fmt.Sprintf("%d tokens in, %d out, %d written to and %d read from the cache", u.InputTokens, u.OutputTokens, u.CacheCreationTokens, u.CacheReadTokens)
	}
	return [][2]string{
		{"created", at(v.CreatedAt)},
		{"started", at(v.StartedAt)},
		{"finished", at(v.FinishedAt)},
		{"working_dir", v.WorkingDir},
		{"worktree", v.Worktree.Words()},
		{"model", v.Model},
		{"session_id", v.SessionID},
		{"usage", usage},
		{"command", v.Command},
		{"prompt", v.Prompt},
	}
}

func (l listResult) text() string {
	var b strings.Builder
	for _, v := range l.Tasks {
		fmt.Fprintln(&b, stateOf(v))
		if v.Prompt != "" {
			fmt.Fprintln(&b, "  "+strings.Join(strings.Fields(v.Prompt), " "))
		}
	}
	if l.NextCursor != "" {
		fmt.Fprintf(&b, "next_cursor: %s\n", l.NextCursor)
	}
	return b.String() + l.Next
}

// lookBack is how much of a stream of events is read for its last lines: one
// event may have a whole file in it.
const lookBack = 256 << 10

// eventLines are the whole lines of a piece of claude's stdout.
func eventLines(out task.Output) [][]byte {
	lines := bytes.Split(out.Data, []byte("\n"))
	if out.Offset > 0 {
		lines = lines[1:]
	}
	if last := len(lines) - 1; last >= 0 && !out.Done {
		lines = lines[:last] // still being written
	}
	return lines
}

func rendered(out task.Output) string {
	var lines []string
	for _, line := range eventLines(out) {
		for _, l := range claude.Render(line) {
			lines = append(lines, l.Text)
		}
	}
	return strings.Join(lines, "\n")
}

// saidLast is the last text of claude itself, not of a subagent, whose lines are
// indented.
func saidLast(out task.Output) (said string) {
	for _, line := range eventLines(out) {
		for _, l := range claude.Render(line) {
			if l.Kind == claude.KindText && !strings.HasPrefix(l.Text, " ") {
				said = l.Text
			}
		}
	}
	return said
}
