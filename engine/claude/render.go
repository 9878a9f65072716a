package claude

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"cctask/engine/task"
)

const (
	KindText   = "text"   // what claude says; may have several lines
	KindTool   = "tool"   // a tool's call: "● Bash go test ./..."
	KindOutput = "output" // a tool's result: "  ⎿ first line … (+12 lines)"
	KindNote   = "note"   // start, retries, background work
	KindError  = "error"  // a denied or failed tool, an error of the API
	KindEnd    = "end"    // a result: "✔ 3 turns, 2.1s, $0.0015"
	KindRaw    = "raw"    // a line that is no event
)

// maxLine is the length of a rendered line, except of KindText, in characters.
const maxLine = 200

// Line is a piece of a log for people. Text is harmless on a terminal and may
// have several lines if Kind is KindText.
type Line struct {
	Kind string
	Text string
}

// Render turns one line of claude's stdout into lines for people. Events that
// say nothing to them give none.
func Render(line []byte) []Line {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return nil
	}
	var ev event
	if !decode(line, &ev) || ev.Type == "" {
		return []Line{{KindRaw, oneLine(string(line), maxLine)}}
	}
	var lines []Line
	switch ev.Type {
	case "assistant":
		lines = renderAssistant(&ev, decodeMessage(line))
	case "user":
		lines = renderUser(decodeMessage(line))
	case "system":
		lines = renderSystem(&ev, line)
	case "rate_limit_event":
		lines = renderLimit(&ev)
	case "result":
		lines = renderResult(&ev)
	}
	if ev.Parent != "" {
		for i := range lines {
			lines[i].Text = "  " + strings.ReplaceAll(lines[i].Text, "\n", "\n  ")
		}
	}
	return lines
}

func renderAssistant(ev *event, m message) []Line {
	kind := KindText
	if ev.Error != "" {
		kind = KindError
	}
	var lines []Line
	for _, b := range m.Content {
		switch b.Type {
		case "text":
			if text := strings.TrimSpace(b.Text); text != "" {
				lines = append(lines, Line{kind, Visible(text)})
			}
		case "tool_use":
			lines = append(lines, Line{KindTool, "● " + toolLine(b)})
		}
	}
	return lines
}

// renderUser shows what came back to the model: results of tools, and what
// claude told it in the user's place.
func renderUser(m message) []Line {
	var lines []Line
	for _, b := range m.Content {
		switch b.Type {
		case "tool_result":
			kind, text := KindOutput, shorten(b.Content)
			if b.IsError {
				kind = KindError
			}
			lines = append(lines, Line{kind, "  ⎿ " + text})
		case "text":
			if text := oneLine(b.Text, maxLine); text != "" {
				lines = append(lines, Line{KindNote, "· " + text})
			}
		}
	}
	return lines
}

// shorten gives the first line of a tool's result and the number of others.
func shorten(content texts) string {
	var parts []string
	for _, b := range content {
		if b.Type == "text" {
			parts = append(parts, b.Text)
		} else {
			parts = append(parts, "("+b.Type+")")
		}
	}
	text := strings.TrimSpace(strings.Join(parts, "\n"))
	if text == "" {
		return "(no output)"
	}
	first := oneLine(firstLine(text), maxLine)
	if more := strings.Count(text, "\n"); more > 0 {
		first += fmt.Sprintf(" … (+%s)", count(more, "line"))
	}
	return first
}

func renderSystem(ev *event, line []byte) []Line {
	var more struct {
		Content  string `json:"content"`
		Summary  string `json:"summary"`
		Status   string `json:"status"`
		Message  string `json:"message"`
		ToolName string `json:"tool_name"`
	}
	decode(line, &more)
	kind, text := KindNote, ""
	switch ev.Subtype {
	case "init":
		text = fmt.Sprintf("claude %s, model %s, session %s", ev.Version, ev.Model, ev.SessionID)
	case "api_retry":
		delay := time.Duration(ev.DelayMS * float64(time.Millisecond)).Round(100 * time.Millisecond)
		text = fmt.Sprintf("the API failed: %s, in %s", retryText(ev), delay)
	case "permission_denied":
		kind, text = KindError, "denied: "+more.ToolName+": "+more.Message
	case "task_notification":
		text = more.Summary
		if more.Status != "completed" {
			text = "background work " + more.Status + ": " + more.Summary
		}
	default:
		text = more.Content // informational, model_fallback and the like
	}
	if text = oneLine(text, maxLine); text == "" {
		return nil
	}
	return []Line{{kind, "· " + text}}
}

func renderLimit(ev *event) []Line {
	if ev.RateLimit.Status == "allowed" || ev.RateLimit.Status == "" {
		return nil
	}
	text := "usage limit: " + ev.RateLimit.Status
	if at := ev.RateLimit.ResetsAt; at > 0 {
		text += ", resets " + time.Unix(int64(at), 0).UTC().Format(time.RFC3339)
	}
	return []Line{{KindNote, "· " + oneLine(text, maxLine)}}
}

// renderResult sums the turn up. The answer is not repeated: claude has said
// it; an error that it has not said is shown.
func renderResult(ev *event) []Line {
	parts := []string{count(ev.NumTurns, "turn"), (time.Duration(ev.DurationMS) * time.Millisecond).Round(100 * time.Millisecond).String()}
	if ev.TotalCost != nil {
		parts = append(parts, fmt.Sprintf("$%.4f", *ev.TotalCost))
	}
	if n := len(ev.Denials); n > 0 {
		parts = append(parts, count(n, "tool call")+" denied")
	}
	sum := strings.Join(parts, ", ")
	if !ev.failed() {
		lines := []Line{{KindEnd, "✔ " + sum}}
		if ev.structured() {
			lines = append([]Line{{KindText, Visible(compact(ev.Structured))}}, lines...)
		}
		return lines
	}
	text := "failed" // of the API, which the assistant event before it told
	switch {
	case byTerminal[ev.TerminalReason] == task.ReasonInterrupted:
		text = "interrupted"
	case ev.Result == nil:
		text = oneLine(errorText(ev), maxLine)
	}
	return []Line{{KindEnd, "✘ " + text + " (" + sum + ")"}}
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
