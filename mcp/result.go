package mcp

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	mcpgo "github.com/mark3labs/mcp-go/mcp"

	"cctask/engine/task"
)

// taskResult is the structured content of a tool that answers with one task.
type taskResult struct {
	task.View
	Said    string      `json:"last_said,omitempty"` // by claude, in a task that ended badly
	Stdout  *streamText `json:"stdout,omitempty"`    // in place of the View's
	Stderr  *streamText `json:"stderr,omitempty"`
	Output  *piece      `json:"output,omitempty"`
	Removed *bool       `json:"removed,omitempty"`
}

// streamText is the end of a stream, or, with detail, where it can be read.
type streamText struct {
	Tail      *string `json:"tail,omitempty"`
	Bytes     int64   `json:"bytes,omitempty"`     // of the whole stream as of now
	Truncated bool    `json:"truncated,omitempty"` // Tail is not the whole stream
	URI       string  `json:"uri,omitempty"`
}

// lean leaves out what the caller knows or seldom needs.
func (v *taskResult) lean() {
	all := v.View
	v.View = task.View{
		TaskID: all.TaskID, Name: all.Name, Status: all.Status, FailureReason: all.FailureReason, StopReason: all.StopReason, CancelRequested: all.CancelRequested,
		ElapsedSeconds: all.ElapsedSeconds, QueuePosition: all.QueuePosition, ExitCode: all.ExitCode,
		WaitingFor: all.WaitingFor, WaitingUntil: all.WaitingUntil, WaitingOn: all.WaitingOn,
		Result: all.Result, ResultBytes: all.ResultBytes, Error: all.Error,
		CostUSD: all.CostUSD, CostUncertain: all.CostUncertain, NumTurns: all.NumTurns,
		Progress: all.Progress, Note: all.Note, PollAfterMS: all.PollAfterMS, Next: all.Next,
	}
	if all.StatusMessage != all.Error {
		v.StatusMessage = all.StatusMessage
	}
	if all.Attempt > 1 {
		v.Attempt = all.Attempt
	}
	if all.Progress != nil {
		short := *all.Progress
		short.Events, short.At = 0, time.Time{}
		v.Progress = &short
	}
}

type piece struct {
	Stream     task.Stream `json:"stream"`
	Data       string      `json:"data"`
	Offset     int64       `json:"offset"`
	NextOffset *int64      `json:"next_offset,omitempty"`
	Bytes      int64       `json:"bytes"`
	Lossy      bool        `json:"lossy,omitempty"`
}

// toolAnswer is what a tool gives: structured content, and the same as people read it.
type toolAnswer interface{ text() string }

// callResult is the answer to tools/call: each part of it is encoded once.
type callResult struct {
	mcpgo.Result
	text    string
	data    any // nil: none
	isError bool
}

func success(v toolAnswer) *callResult { return &callResult{text: v.text(), data: v} }

func (c *callResult) appendTo(b *bytes.Buffer) error {
	b.WriteByte('{')
	if c.Meta != nil {
		b.WriteString(`"_meta":`)
		if err := appendJSON(b, c.Meta); err != nil {
			return err
		}
		b.WriteByte(',')
	}
	b.WriteString(`"content":[{"type":"text","text":`)
	if err := appendJSON(b, c.text); err != nil {
		return err
	}
	b.WriteString("}]")
	if c.isError {
		b.WriteString(`,"isError":true`)
	}
	if c.ResultType != "" {
		fmt.Fprintf(b, `,"resultType":%q`, c.ResultType)
	}
	if c.data != nil {
		b.WriteString(`,"structuredContent":`)
		if err := appendJSON(b, c.data); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// MarshalJSON is for a result inside of another one.
func (c *callResult) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := c.appendTo(&b)
	return b.Bytes(), err
}

// refusal gives an error that the caller can do something about as a result
// for the model, and a fault of ours as a protocol error.
func refusal(err error) (any, error) {
	if fault := (*responseError)(nil); errors.As(err, &fault) {
		return nil, fault
	}
	e, text := explain(err)
	switch e.Code {
	case task.CodeInternal, task.CodeCorrupt, task.CodeOwnerGone:
		return nil, failure(codeInternal, "%s", text).Error
	case task.CodeInvalid, task.CodeNotFound, task.CodeAmbiguous, task.CodeConflict, task.CodeIdempotencyConflict,
		task.CodeRemoved, task.CodeSessionBusy, task.CodeUnmerged, task.CodePolicy, task.CodeDescendants, task.CodeOwnerStarting, task.CodeLocked, task.CodeClosing, task.CodeVersion, task.CodeNoSpace:
	}
	return &callResult{text: text, isError: true}, nil
}

// explain says an error to a model: code, message, next step.
func explain(err error) (e *task.Error, text string) {
	e = task.AsError(err)
	text = fmt.Sprintf("%s: %s.", e.Code, clip(e.Message, 4000))
	if e.Code == task.CodeNotFound {
		// The engine's hint names a shell's command; a model has tools.
		e.Hint = "Call list_active_tasks with include_finished to see the tasks."
	}
	if e.Hint != "" {
		text += " " + e.Hint
	}
	return e, text
}

// maxResult bounds the serialised structured content of an answer, in UTF-16
// units, which is how clients count characters. Claude Code moves a result of
// more than 50,000 into a file.
const maxResult = 40_000

// minAnswer is what an answer keeps when the streams need room, likewise.
const minAnswer = 8_000

// cost is the number of UTF-16 units of r inside a JSON string.
func cost(r rune) int {
	switch {
	case r == '"' || r == '\\' || r == '\n' || r == '\r' || r == '\t' || r == '\b' || r == '\f':
		return 2
	case r < 0x20 || r == '\u2028' || r == '\u2029':
		return 6
	case r > 0xFFFF:
		return 2
	}
	return 1
}

func size(s string) int {
	n := 0
	for _, r := range s {
		n += cost(r)
	}
	return n
}

// head is the longest beginning of s that costs at most budget.
func head(s string, budget int) string {
	for i, r := range s {
		if budget -= cost(r); budget < 0 {
			return s[:i]
		}
	}
	return s
}

// tail is the longest end of s that costs at most budget.
func tail(s string, budget int) string {
	for i := len(s); i > 0; {
		r, n := utf8.DecodeLastRuneInString(s[:i])
		if budget -= cost(r); budget < 0 {
			return s[i:]
		}
		i -= n
	}
	return s
}

// noteSize is more than the note of middle costs.
const noteSize = 100

// middle shortens s to budget by cutting out its middle, with a note of what
// is gone. whole is the size in bytes of what s is, or is the beginning of.
func middle(s string, budget int, whole int64) string {
	room := max(0, budget-noteSize)
	front, back := head(s, room), ""
	if int64(len(s)) == whole {
		front = head(s, room*2/3)
		back = tail(s[len(front):], room-size(front))
	}
	return fmt.Sprintf("%s\n[… bytes %d to %d of %d are left out …]\n%s", front, len(front), whole-int64(len(back)), whole, back)
}

// clip shortens a text of little weight.
func clip(s string, budget int) string {
	if size(s) <= budget {
		return s
	}
	return head(s, budget-1) + "…"
}

// cutHint is added to next when something was left out.
const cutHint = ` What is cut here can be read whole: check_task_status with output="full", stream "result", "stdout" or "stderr", and offset.`

// cutSlack is more than what cutting adds: the hint, the marks of truncation,
// the result's own name.
const cutSlack = len(cutHint) + 100

// cutToSize makes a result small enough: texts of little weight first, then the
// answer, which is cut in its middle, then the tails, which lose their
// beginning. A piece (Output) is cut to its own bound before it gets here. It
// tells whether the answer is whole.
func cutToSize(v *taskResult) (whole bool) {
	trimView(&v.View)
	answer, partial := wholeRunes(v.View)
	sizes := [3]int{size(answer), size(tailText(v.Stdout)), size(tailText(v.Stderr))}
	asked := v.Result != nil
	v.Result = nil
	rest := maxResult - cutSlack - jsonSize(v) + sizes[1] + sizes[2]
	if asked {
		room := min(sizes[0], max(minAnswer, rest-sizes[1]-sizes[2]))
		if partial || room < sizes[0] {
			answer = middle(answer, min(room+noteSize, max(minAnswer, rest-sizes[1]-sizes[2])), max(v.ResultBytes, int64(len(answer))))
			partial = true
		}
		v.Result = &answer
		rest -= size(answer)
	}
	stderr := min(sizes[2], max(rest/2, rest-sizes[1]))
	cutTail(v.Stdout, rest-stderr)
	cutTail(v.Stderr, stderr)
	if partial || v.Stdout != nil && v.Stdout.Truncated || v.Stderr != nil && v.Stderr.Truncated {
		v.Next += cutHint
	}
	return !partial
}

// wholeRunes gives the answer without a character that was cut at its end, and
// whether it is only the beginning of the answer.
func wholeRunes(v task.View) (answer string, partial bool) {
	if v.Result == nil {
		return "", false
	}
	partial = int64(len(*v.Result)) < v.ResultBytes
	answer, _, _ = decodeText([]byte(*v.Result), math.MaxInt, !partial)
	return answer, partial
}

func jsonSize(v any) int {
	data, err := encode(v)
	if err != nil {
		return maxResult
	}
	n := 0
	for _, r := range string(data) {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

func tailText(s *streamText) string {
	if s == nil || s.Tail == nil {
		return ""
	}
	return *s.Tail
}

func cutTail(s *streamText, budget int) {
	if s == nil || s.Tail == nil || size(*s.Tail) <= budget {
		return
	}
	t := tail(*s.Tail, max(0, budget))
	s.Tail, s.Truncated = &t, true
}

// trimView bounds every text but the answer and the tails. The bounds are far
// above what a sensible task has; they hold against what a test or an attacker
// puts into a name.
func trimView(v *task.View) {
	v.Name = clip(v.Name, 300)
	v.Labels = slices.Clone(v.Labels[:min(len(v.Labels), task.MaxLabels)])
	for i, l := range v.Labels {
		v.Labels[i] = clip(l, 120)
	}
	v.StatusMessage = clip(v.StatusMessage, 2000)
	v.Error = clip(v.Error, 2000)
	v.WorkingDir = clip(v.WorkingDir, 4200)
	v.Command = clip(v.Command, 1000)
	v.Prompt = clip(v.Prompt, 400)
	v.SessionID, v.ResumeTaskID = clip(v.SessionID, 100), clip(v.ResumeTaskID, 100)
	v.Model = clip(v.Model, 130)
	v.Next = clip(v.Next, 1000)
	if p := v.Progress; p != nil {
		short := *p
		short.LastTool, short.LastText, short.Retrying = clip(p.LastTool, 300), clip(p.LastText, 500), clip(p.Retrying, 300)
		v.Progress = &short
	}
}

// decodeText turns bytes of a stream into text of at most budget. It stops
// before a character that is not whole yet, unless nothing follows (last), and
// shows each byte that is not UTF-8 as U+FFFD. used is the number of bytes that
// text stands for.
func decodeText(data []byte, budget int, last bool) (text string, used int, lossy bool) {
	out := make([]byte, 0, min(len(data), budget))
	for used < len(data) {
		if !last && !utf8.FullRune(data[used:]) {
			break
		}
		r, n := utf8.DecodeRune(data[used:])
		if budget -= cost(r); budget < 0 {
			break
		}
		lossy = lossy || r == utf8.RuneError && n == 1
		out = utf8.AppendRune(out, r)
		used += n
	}
	return string(out), used, lossy
}

// skipPartial drops the rest of a character whose beginning is not in data.
func skipPartial(data []byte) []byte {
	for i := range min(utf8.UTFMax, len(data)) {
		if utf8.RuneStart(data[i]) {
			return data[i:]
		}
	}
	return data
}
