package claude

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"cctask/engine/task"
)

// MaxLine is the longest line that the parser keeps in memory; a longer one is
// dropped and counted.
const MaxLine = 64 << 20

// Lengths of the texts in Progress, in characters.
const (
	maxTool = 120
	maxText = 200
)

// Progress is what a running claude is doing, and what it said of itself. The
// texts are one harmless line each, LastTool of at most 120 characters and LastText
// of 200. CostUSD is the session's total as of the last result event.
type Progress struct {
	task.Progress
	Skipped int // lines that are no events: torn, not JSON, or longer than MaxLine

	SawInit   bool
	SessionID string
	Version   string // of claude
	Model     string

	// What suspends the watch over a silent claude, beside Retrying.
	OpenTools  int  // calls of tools that are not answered, those of subagents in the foreground too
	Background int  // commands and subagents that go on behind the conversation
	Resulted   bool // a result came, and nothing of the model after it
}

// Parser reads claude's stdout as it grows. It never fails, and what it knows
// does not depend on where the pieces are cut. The zero value is ready to use.
// It is not safe for concurrent use.
type Parser struct {
	tail     []byte // a line whose end has not come
	overlong bool   // the rest of the current line is to be dropped

	progress Progress
	inits    int    // init events
	messages int    // of the model in the main conversation since the last result
	requests int    // the same over the whole run
	message  string // id of the newest of them: its blocks come as events of their own
	// open has the tool calls that are not answered, each with the call of the subagent
	// in which it was made. Those of a subagent in the background are not among
	// them: one that is killed answers none.
	open map[string]string

	last        *event // the last result event
	structured  []byte // the last structured output
	apiError    *event // the last assistant event, if it is an error of the API
	apiText     string
	interrupted bool // somebody sent SIGINT after the last result
	// stopped names the background tasks that were stopped since the model's last
	// message: not by the model, which says something after it has stopped one.
	stopped []string

	turns      int // sums over the result events
	durationMS int64
	usage      task.Usage
	unbilled   unbilled
	totalCost  float64
	costKnown  bool

	limited bool      // the newest rate_limit_event refuses
	resetAt time.Time // of the newest rate_limit_event that refuses
}

func NewParser() *Parser { return &Parser{} }

// Write takes the next piece of the stream. It keeps nothing of b.
func (p *Parser) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			p.keep(b)
			break
		}
		if len(p.tail) == 0 && !p.overlong && i <= MaxLine {
			p.line(b[:i])
		} else {
			p.keep(b[:i])
			p.endLine()
		}
		b = b[i+1:]
	}
	return n, nil
}

// Flush says that the stream has ended: a last line without a newline counts
// if it is whole.
func (p *Parser) Flush() {
	if len(p.tail) > 0 || p.overlong {
		p.endLine()
	}
}

// keep adds a piece to the unfinished line.
func (p *Parser) keep(b []byte) {
	if p.overlong || len(p.tail)+len(b) > MaxLine {
		p.overlong = true
		p.tail = nil
		return
	}
	p.tail = append(p.tail, b...)
}

func (p *Parser) endLine() {
	if p.overlong {
		p.progress.Skipped++
	} else {
		p.line(p.tail)
	}
	p.overlong = false
	if cap(p.tail) > 1<<20 {
		p.tail = nil // one long line must not hold its memory for ever
	}
	p.tail = p.tail[:0]
}

func (p *Parser) line(line []byte) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return
	}
	kind := ""
	if isJSON(line) {
		kind = typeOf(line)
	}
	if kind == "" {
		p.progress.Skipped++
		return
	}
	p.progress.Events++
	switch kind {
	case "system":
		p.system(eventOf(line))
	case "assistant":
		ev, m := scan(line)
		if ev.Error != "" {
			ev = eventOf(line)
		}
		p.unbilled.add(&m, line)
		p.assistant(ev, m)
	case "user":
		ev, m := scan(line)
		for _, b := range m.Content {
			p.closeTool(b.ToolUseID)
		}
		// A subagent gets the same note about a SIGINT whoever stops it.
		p.interrupted = p.interrupted || ev.Parent == "" && isInterrupt(m)
	case "rate_limit_event":
		limit := eventOf(line).RateLimit
		p.limited = limit.Status == "rejected"
		if p.limited && limit.ResetsAt > 0 {
			p.resetAt = time.Unix(int64(limit.ResetsAt), 0).UTC()
		}
	case "result":
		p.result(eventOf(line))
	}
}

const interruptNote = "[Request interrupted by user"

// isInterrupt tells a note that claude writes after a SIGINT from a tool's
// result that holds the same words.
func isInterrupt(m message) bool {
	for _, b := range m.Content {
		if b.Type == "text" && strings.HasPrefix(b.Text, interruptNote) {
			return true
		}
	}
	return false
}

func (p *Parser) system(ev *event) {
	switch ev.Subtype {
	case "init":
		p.inits++
		p.progress.SawInit = true
		p.progress.SessionID = ev.SessionID
		p.progress.Version = ev.Version
		p.progress.Model = ev.Model
	case "task_notification":
		if ev.Status == "stopped" {
			p.stopped = append(p.stopped, oneLine(ev.Summary, maxTool))
		}
	case "background_tasks_changed":
		p.progress.Background = len(ev.Tasks)
	case "api_retry":
		p.progress.Retrying = retryText(ev)
	}
}

// retryText says which attempt runs, and why: "attempt 3 of 10: overloaded (529)".
func retryText(ev *event) string {
	why := oneLine(strings.ReplaceAll(ev.Error, "_", " "), maxText)
	switch {
	case ev.ErrorStatus != 0:
		why += fmt.Sprintf(" (%d)", ev.ErrorStatus)
	case why == "" || why == "unknown":
		why = "no answer from the API"
	}
	return fmt.Sprintf("attempt %d of %d: %s", ev.Attempt, ev.MaxRetries, strings.TrimSpace(why))
}

func (p *Parser) assistant(ev *event, m message) {
	p.progress.Retrying = ""
	for _, b := range m.Content {
		if b.Type == "tool_use" {
			p.progress.LastTool = toolLine(b)
			p.openTool(b.ID, ev.Parent)
		}
	}
	if ev.Parent != "" {
		return // a subagent's words and errors are not claude's
	}
	p.interrupted, p.stopped = false, nil
	p.apiError = nil
	for _, b := range m.Content {
		if line := oneLine(lastLine(b.Text), maxText); b.Type == "text" && line != "" {
			p.progress.LastText = line
		}
	}
	if ev.Error != "" {
		p.apiError = ev
		p.apiText = p.progress.LastText
	}
	if !m.synthetic() && (p.messages == 0 || m.ID != p.message) {
		p.message = m.ID
		p.messages++
		p.requests++
	}
	p.progress.Turns = p.turns + p.messages
}

func (p *Parser) openTool(id, parent string) {
	if _, foreground := p.open[parent]; id == "" || parent != "" && !foreground {
		return
	}
	if p.open == nil {
		p.open = map[string]string{}
	}
	p.open[id] = parent
}

// closeTool takes an answered call away, with what its subagent left open.
func (p *Parser) closeTool(id string) {
	if _, is := p.open[id]; !is {
		return
	}
	delete(p.open, id)
	for child, parent := range p.open {
		if parent == id {
			p.closeTool(child)
		}
	}
}

// toolLine is a tool's call in one line: "Bash go test ./...".
func toolLine(b block) string {
	return oneLine(strings.TrimSpace(b.Name+" "+string(b.Input)), maxTool)
}

func (p *Parser) result(ev *event) {
	p.last = ev
	p.messages = 0
	p.interrupted = false
	p.progress.Retrying = ""
	clear(p.open)
	if ev.structured() {
		p.structured = ev.Structured
	}
	p.turns += ev.NumTurns
	p.progress.Turns = p.turns
	p.durationMS += ev.DurationMS
	p.usage = p.usage.Add(ev.Usage)
	// Without an init there was no session: the zero in the result that says so
	// is not the session's total.
	if p.progress.SawInit && ev.TotalCost != nil && *ev.TotalCost >= 0 {
		p.totalCost, p.costKnown, p.unbilled.by = *ev.TotalCost, true, nil
		p.progress.CostUSD = p.totalCost
	}
}

// Asked tells whether the model has answered anything, also only by a call of a tool.
func (p *Parser) Asked() bool { return p.requests > 0 }

// Answer is what claude has answered, as long as nothing of its own came after it.
func (p *Parser) Answer() ([]byte, bool) {
	if p.messages > 0 {
		return nil, false
	}
	return p.answer(p.last != nil && p.last.structured())
}

// Progress is what claude is doing as of the last whole line.
func (p *Parser) Progress() Progress {
	now := p.progress
	now.OpenTools, now.Resulted = len(p.open), p.last != nil && p.messages == 0
	return now
}
