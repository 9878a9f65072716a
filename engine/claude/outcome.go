package claude

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"cctask/engine/task"
)

// End is what the runner knows about the end of claude.
type End struct {
	ExitCode int
	Signal   string          // "SIGKILL" when claude was ended by a signal
	Stopped  task.StopReason // our own intent, written before the exit; "" is none
	NoRecord bool            // the runner died: the exit status is unknown
	// RunnerSignal is the signal that ended the runner, where somebody saw it.
	RunnerSignal string
	Stderr       []byte // the last 64 KiB
	DiskFull     bool   // at the end there was no room for more of claude's output

	WantStructured bool          // a JSON schema was given
	MaxTurns       int           // for the message; 0: none
	MaxBudgetUSD   float64       // for the message; 0: none
	Deadline       time.Duration // for the message; 0: none
	Stall          time.Duration // for the message; 0: none
	Root           bool          // claude ran as root
	At             time.Time     // when it ended, for a time of day in a message; zero: not known
}

// Outcome is the judgement on one run.
type Outcome struct {
	Status  task.Status
	Reason  task.FailureReason // "" when completed
	Message string             // one line for people; may be "" when completed

	// Result is claude's answer: the text of the last result event, or its
	// structured output where one was asked for. The text of an error is no
	// answer; it is in Message.
	Result    []byte
	HasResult bool

	Requests   int        // answers of the model in the main conversation: what --max-turns counts
	Turns      int        // sum over the run's result events, and messages since the last one
	Usage      task.Usage // sum over the run's result events
	DurationMS int64      // sum over the run's result events, in milliseconds

	// TotalCost is the session's total in US dollars, all its runs together, as
	// of the last result event of this run; CostKnown is false without one.
	// CostPartial says that claude went on after it: what that cost is unknown.
	TotalCost   float64
	CostKnown   bool
	CostPartial bool

	SessionID string
	Version   string // of claude
	Model     string

	SessionLost bool      // --resume found no conversation, and nothing ran
	OnlyInit    bool      // claude wrote no event but init: it cannot have done anything
	RetryAt     time.Time // when a usage limit ends; zero when unknown
}

// Judge says what became of the run. The package comment has the order of the
// witnesses. It may be called again as more is known.
func (p *Parser) Judge(e End) Outcome {
	o := Outcome{
		Requests: p.requests, Turns: p.turns + p.messages, Usage: p.usage, DurationMS: p.durationMS,
		TotalCost: p.totalCost, CostKnown: p.costKnown, CostPartial: p.costKnown && p.messages > 0,
		OnlyInit:  p.progress.Events == p.inits && p.progress.Skipped == 0,
		SessionID: p.progress.SessionID, Version: p.progress.Version, Model: p.progress.Model,
	}
	o.Result, o.HasResult = p.answer(e.WantStructured)
	if e.Stopped == task.StopAnswered { // the answer counts, and not how its process ended
		e.Stopped, e.ExitCode, e.Signal, e.NoRecord = "", 0, "", false
	}
	switch {
	case e.Stopped != "":
		p.judgeStopped(&o, e)
	case e.NoRecord:
		died := "died"
		if e.RunnerSignal != "" {
			died = "was " + killedBy(e.RunnerSignal)
		}
		o.end(task.Interrupted, task.ReasonInterrupted, "the runner "+died+", so how claude ended is unknown"+p.unfinished(o))
	case p.lost(e):
		o.SessionLost = true
		o.end(task.Failed, task.ReasonSessionLost, "claude has no conversation with this session id")
	case p.last != nil && p.last.failed():
		p.judgeError(&o, e, p.last, errorText(p.last))
	case e.signal() != "":
		p.judgeSignal(&o, e)
	case p.interrupted:
		o.end(task.Interrupted, task.ReasonInterrupted, "claude was interrupted (SIGINT)"+p.unfinished(o))
	case p.last == nil && p.apiError == nil && (e.DiskFull || says(e.Stderr, noSpace)):
		o.end(task.Failed, task.ReasonDiskFull, "the disk was full, and claude "+exitText(e)+" before it answered")
	case p.last == nil:
		p.judgeSilent(&o, e)
	case e.ExitCode != 0:
		o.end(task.Failed, task.ReasonProcessFailed, "claude answered, but "+exitText(e))
	case e.WantStructured && !p.last.structured():
		o.end(task.Failed, task.ReasonStructuredOutput, "claude's last answer has no structured output")
		if p.structured != nil {
			o.Message += "; the one that it gave before is kept"
		}
	default:
		o.end(task.Completed, "", p.remarks(o))
	}
	return o
}

func (o *Outcome) end(status task.Status, reason task.FailureReason, message string) {
	o.Status, o.Reason, o.Message = status, reason, message
}

// answer is what the last result event answers. Where the turn after a
// background command gave no structured output, an earlier one is better than
// a text that the caller cannot read.
func (p *Parser) answer(wantStructured bool) ([]byte, bool) {
	switch {
	case p.last == nil || p.last.failed():
		return nil, false
	case wantStructured && p.structured != nil:
		return bytes.Clone(p.structured), true
	case p.last.Result != nil:
		return []byte(*p.last.Result), true
	}
	return nil, false
}

func (p *Parser) judgeStopped(o *Outcome, e End) {
	switch e.Stopped {
	case task.StopCancel:
		o.end(task.Cancelled, task.ReasonCancelled, "cancelled")
	case task.StopDeadline:
		o.end(task.Timeout, task.ReasonDeadline, "stopped at the deadline")
		if e.Deadline > 0 {
			o.Message += " of " + e.Deadline.String()
		}
	case task.StopOutputLimit:
		o.end(task.Failed, task.ReasonOutputLimit, "it wrote more than max_output allows")
	case task.StopStall:
		o.end(task.Failed, task.ReasonStalled, "stopped because claude did nothing")
		if e.Stall > 0 {
			o.Message += " for " + e.Stall.String()
		}
	case task.StopStartup:
		o.end(task.Failed, task.ReasonStartupTimeout, "stopped because claude did not begin")
	case task.StopBudget:
		o.end(task.Failed, task.ReasonBudget, "stopped because its budget is spent")
	case task.StopTerminated, task.StopAnswered:
		fallthrough
	default: // also a word of a later version
		o.end(task.Interrupted, task.ReasonInterrupted, "stopped because its runner was asked to end")
	}
	o.Message += p.unfinished(*o)
}

// noSpace is how programs tell a full disk.
var noSpace = []string{"no space left on device", "enospc", "disk quota exceeded", "edquot"}

func says(text []byte, words []string) bool {
	low := bytes.ToLower(text)
	return slices.ContainsFunc(words, func(w string) bool { return bytes.Contains(low, []byte(w)) })
}

// unfinished says what claude left when something else ended it.
func (p *Parser) unfinished(o Outcome) string {
	var s string
	if p.progress.Retrying != "" {
		s = ", while it retried the API (" + p.progress.Retrying + ")"
	}
	if o.HasResult {
		s += "; the answer that it had given is kept"
	}
	return s
}

// lost tells whether claude refused to resume. Nothing can have run: init comes
// before the first request.
func (p *Parser) lost(e End) bool {
	const text = "No conversation found with session ID"
	if p.progress.SawInit || e.ExitCode == 0 {
		return false
	}
	return bytes.Contains(e.Stderr, []byte(text)) ||
		p.last != nil && slices.ContainsFunc(p.last.Errors, func(s string) bool { return strings.HasPrefix(s, text) })
}

// judgeError is for an error that claude reported itself.
func (p *Parser) judgeError(o *Outcome, e End, ev *event, text string) {
	reason := p.reason(ev, text)
	switch {
	case reason == task.ReasonInterrupted && e.signal() != "":
		p.judgeSignal(o, e)
		return
	case reason == task.ReasonInterrupted:
		o.end(task.Interrupted, reason, "claude was interrupted (SIGINT)")
		return
	case reason == task.ReasonMaxTurns && e.MaxTurns > 0:
		text = fmt.Sprintf("reached the limit of %d turns", e.MaxTurns)
	case reason == task.ReasonMaxBudget && e.MaxBudgetUSD > 0:
		text = fmt.Sprintf("reached the budget of $%v", e.MaxBudgetUSD)
	case reason == task.ReasonUsageLimit:
		o.RetryAt = p.resetAt
		if o.RetryAt.IsZero() {
			o.RetryAt = resetInText(text, e.At)
		}
	}
	o.end(task.Failed, reason, oneLine(text, maxMessage))
}

func killedBy(sig string) string {
	if n := signals[sig]; n != 0 {
		return fmt.Sprintf("killed by signal %d (%s)", n, sig)
	}
	return "killed by signal " + oneLine(sig, maxTool)
}

// judgeSignal is for a signal that we did not send. A crash is claude's own
// failure; everything else came from outside.
func (p *Parser) judgeSignal(o *Outcome, e End) {
	sig := e.signal()
	text := killedBy(sig)
	switch {
	case crashes[sig]:
		o.end(task.Failed, task.ReasonProcessFailed, "claude crashed: "+text+p.unfinished(*o))
		return
	case sig == "SIGKILL":
		text += ", perhaps out of memory"
	}
	o.end(task.Interrupted, task.ReasonInterrupted, text+p.unfinished(*o))
}

// judgeSilent is for an end without any result event.
func (p *Parser) judgeSilent(o *Outcome, e End) {
	switch {
	case refusedRoot(e) && !p.progress.SawInit:
		o.end(task.Failed, task.ReasonPermissionRoot, "claude refuses to skip permissions as root")
	case e.ExitCode != 0 && p.apiError != nil:
		p.judgeError(o, e, p.apiError, p.apiText)
	case e.ExitCode != 0:
		o.end(task.Failed, task.ReasonProcessFailed, "claude "+exitText(e))
	default:
		o.end(task.Failed, task.ReasonNoResult, "claude ended with exit code 0 but gave no result")
		if p.progress.Skipped > 0 {
			o.Message += fmt.Sprintf("; lines of its output that were no events: %d", p.progress.Skipped)
		}
	}
}

func refusedRoot(e End) bool {
	return bytes.Contains(e.Stderr, []byte("cannot be used with root/sudo privileges")) ||
		e.Root && e.ExitCode != 0 && bytes.Contains(e.Stderr, []byte("--dangerously-skip-permissions"))
}

// exitText quotes the last line that claude wrote to stderr.
func exitText(e End) string {
	s := fmt.Sprintf("ended with exit code %d", e.ExitCode)
	if line := oneLine(lastLine(string(e.Stderr)), maxMessage); line != "" {
		s += ": " + line
	}
	return s
}

// remarks are what a good end does not show: claude ends with exit 0 also where
// it was not allowed to use a tool, where it no longer waited for something in
// the background, and where nothing was answered.
func (p *Parser) remarks(o Outcome) string {
	denied := make([]string, len(p.last.Denials))
	for i, d := range p.last.Denials {
		denied[i] = oneLine(d.Tool, maxTool)
	}
	stopped := max(len(p.stopped), int(p.last.Subagents.Killed))
	silent := ""
	switch {
	case len(bytes.TrimSpace(o.Result)) == 0:
		silent = "nothing was answered (" + count(o.Turns, "turn") + ")"
	case o.Turns == 0:
		silent = "the model was not asked (0 turns)"
	}
	parts := []string{
		silent,
		remark("tool calls that were denied", len(denied), denied),
		remark("background tasks that were stopped before they ended", stopped, p.stopped),
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return oneLine(strings.Join(parts, "; "), maxMessage)
}

// remark counts and names: "tool calls that were denied: 3 (Bash, Write)".
func remark(what string, n int, names []string) string {
	if n == 0 {
		return ""
	}
	var each []string
	for _, name := range names {
		if name != "" && !slices.Contains(each, name) {
			each = append(each, name)
		}
	}
	s := fmt.Sprintf("%s: %d", what, n)
	if len(each) > 0 {
		s += " (" + strings.Join(each, ", ") + ")"
	}
	return s
}
