package task

import (
	"math"
	"time"
)

// Task is the record of a task: what lists load. Output, answer, prompts and
// environment lie apart.
type Task struct {
	ID     ID     `json:"id"`
	Spec   Spec   `json:"spec"`
	Policy Policy `json:"policy,omitzero"` // of the front that submitted it; bounds each start, beside the owner's
	// RealDir is the working directory without links, as it was at submission;
	// "" if that is how it was named.
	RealDir     string `json:"real_dir,omitempty"`
	PromptBytes int    `json:"prompt_bytes"`
	PromptHead  string `json:"prompt_head"` // the first 200 characters
	// Template is the prompt with places for what other tasks answer, and Refs say which
	// tasks those are; each attempt that does it from the beginning fills it in anew.
	Template string        `json:"template,omitempty"`
	Refs     map[string]ID `json:"refs,omitempty"`
	Status   Status        `json:"status"`

	Message string        `json:"message,omitempty"` // the outcome or wait, for people
	Reason  FailureReason `json:"reason,omitempty"`  // set by every end but completed
	// StopReason says why we stopped the last attempt; "" if we did not.
	StopReason StopReason `json:"stop_reason,omitempty"`

	Seq     uint64 `json:"seq"`     // the place in the queue, taken at each entry into queued
	Attempt int    `json:"attempt"` // the number of the current or last attempt, from 1
	Limits  Limits `json:"limits,omitzero"`

	// NotBefore is the earliest start of a queued task: its own start time, or the
	// end of the pause before a retry.
	NotBefore time.Time `json:"not_before,omitzero"`
	Host      string    `json:"host,omitempty"` // of its site, where it ran last; "": this machine
	// Account names the credentials that claude uses, never the secret itself.
	Account string `json:"account,omitempty"`

	// The task in which this one was submitted, the first of that line, and how
	// many stand between; none for a task that a person or another program submitted.
	ParentID ID  `json:"parent_id,omitempty"`
	RootID   ID  `json:"root_id,omitempty"`
	Depth    int `json:"depth,omitempty"`

	// Worktree is that of the mode worktree, from the first claim on.
	Worktree *Worktree `json:"worktree,omitempty"`

	CreatedAt  time.Time `json:"created_at"`
	QueuedAt   time.Time `json:"queued_at"`
	StartedAt  time.Time `json:"started_at,omitzero"`  // of the first attempt that ran
	FinishedAt time.Time `json:"finished_at,omitzero"` // of the last attempt

	// CancelRequested is persisted before the runner is told, so that a crash
	// between the two does not forget the wish.
	CancelRequested bool `json:"cancel_requested,omitempty"`

	// The last attempt's.
	RetryAt     time.Time `json:"retry_at,omitzero"` // when the usage limit that ended it ends
	SessionID   string    `json:"session_id,omitempty"`
	Model       string    `json:"model,omitempty"` // as claude's init event names it
	ExitCode    *int      `json:"exit_code,omitempty"`
	ResultBytes int64     `json:"result_bytes,omitempty"`
	StdoutBytes int64     `json:"stdout_bytes,omitempty"`
	StderrBytes int64     `json:"stderr_bytes,omitempty"`

	// Sums over all attempts.
	CostUSD       float64 `json:"cost_usd"`
	CostUncertain bool    `json:"cost_uncertain,omitempty"`
	NumTurns      int     `json:"num_turns"`
	DurationMS    int64   `json:"duration_ms"` // time with a process; the running attempt is not in it
	Usage         Usage   `json:"usage"`

	History []Change `json:"history"`

	// Not stored; filled by the engine when a task is asked for.
	Attempts      []Attempt `json:"attempts,omitempty"` // by Get and Wait only
	Result        *string   `json:"result,omitempty"`   // by Get and Wait only; at most MaxInlineResult bytes
	QueuePosition int       `json:"queue_position,omitempty"`
	Waiting       Waiting   `json:"waiting,omitzero"`
	Progress      *Progress `json:"progress,omitempty"`
	Version       uint64    `json:"version,omitempty"` // grows with every visible change of a live task
	Match         *Match    `json:"match,omitempty"`   // by Get only; nil: what was asked for fits no other task
}

// BeingRemoved is the message of a task that was stopped to be removed.
const BeingRemoved = "it is being removed"

// MaxInlineResult bounds the answer inside a Task; the whole one is an output
// stream of its own.
const MaxInlineResult = 256 << 10

// Stored is the record without what the engine fills in.
func (t Task) Stored() Task {
	t.Attempts, t.Result, t.QueuePosition, t.Waiting, t.Progress, t.Version, t.Match = nil, nil, 0, Waiting{}, nil, 0, nil
	return t
}

// MayStart tells whether the task may be started, or started again, without
// being asked for. Its environment is kept no longer.
func (t Task) MayStart() bool {
	goesOn := t.Spec.OnInterrupt == OnInterruptResume || t.Spec.Retries == nil || *t.Spec.Retries > 0
	return t.Status == Queued || t.Status == Starting || t.Status == Running && goesOn
}

// AttemptKind says why an attempt was made.
type AttemptKind string

const (
	First  AttemptKind = "first"  // of a new task
	Resume AttemptKind = "resume" // goes on in the session of an earlier one
	Retry  AttemptKind = "retry"  // the original prompt in a new session
	Auto   AttemptKind = "auto"   // by itself, after an end that may pass
	Fresh  AttemptKind = "fresh"  // by itself, because claude had lost the session to resume
)

// Attempt is one run of claude for a task.
type Attempt struct {
	N         int         `json:"n"`
	Kind      AttemptKind `json:"kind"`
	Key       string      `json:"key,omitempty"` // idempotency key of the resume or retry
	SessionID string      `json:"session_id"`
	Resumes   bool        `json:"resumes,omitempty"` // --resume instead of --session-id
	ForkOf    string      `json:"fork_of,omitempty"` // the session that SessionID begins as a copy of
	// PromptN is the attempt under which this attempt's prompt is kept.
	PromptN int `json:"prompt_n"`
	// Unfilled says that its prompt is the task's Template still.
	Unfilled bool `json:"unfilled,omitempty"`
	// Untouched says that claude ended before it did anything in its session. A
	// record from before this field does not say so.
	Untouched bool `json:"untouched,omitempty"`

	// Where it runs: site and boot are recorded before it starts there, host and job after.
	Site string `json:"site,omitempty"` // "": the owner's machine
	Host string `json:"host,omitempty"`
	Boot string `json:"boot,omitempty"` // of the host: what started before another boot ended with it
	Job  string `json:"job,omitempty"`  // the site's own name for it

	Status     Status        `json:"status"`
	Reason     FailureReason `json:"reason,omitempty"`
	StopReason StopReason    `json:"stop_reason,omitempty"`
	Message    string        `json:"message,omitempty"`
	CreatedAt  time.Time     `json:"created_at"`
	StartedAt  time.Time     `json:"started_at,omitzero"`
	FinishedAt time.Time     `json:"finished_at,omitzero"`

	RetryAt       time.Time `json:"retry_at,omitzero"` // when the usage limit that ended it ends
	ExitCode      *int      `json:"exit_code,omitempty"`
	Signal        string    `json:"signal,omitempty"` // e.g. "SIGKILL"
	ClaudeVersion string    `json:"claude_version,omitempty"`
	Model         string    `json:"model,omitempty"` // as claude's init event names it
	CostUSD       float64   `json:"cost_usd"`
	CostUncertain bool      `json:"cost_uncertain,omitempty"`
	NumTurns      int       `json:"num_turns"`
	// Requests are the answers of the model: what max_turns counts. num_turns is claude's
	// own number, in which tools that run side by side are several.
	Requests    int   `json:"requests,omitempty"`
	DurationMS  int64 `json:"duration_ms"`
	Usage       Usage `json:"usage"`
	StdoutBytes int64 `json:"stdout_bytes"`
	StderrBytes int64 `json:"stderr_bytes"`
	ResultBytes int64 `json:"result_bytes"`
}

// RoundUSD drops what floating point adds to a sum of costs: 0.014000000000000002.
func RoundUSD(usd float64) float64 { return math.Round(usd*1e6) / 1e6 }

// Usage counts tokens, as claude's result event reports them.
type Usage struct {
	InputTokens         int64 `json:"input_tokens"`
	OutputTokens        int64 `json:"output_tokens"`
	CacheCreationTokens int64 `json:"cache_creation_input_tokens"`
	CacheReadTokens     int64 `json:"cache_read_input_tokens"`
}

func (u Usage) Add(v Usage) Usage {
	return Usage{
		u.InputTokens + v.InputTokens, u.OutputTokens + v.OutputTokens,
		u.CacheCreationTokens + v.CacheCreationTokens, u.CacheReadTokens + v.CacheReadTokens,
	}
}

// Progress is what a running claude is doing, read from its event stream.
type Progress struct {
	Turns    int     `json:"turns"`
	LastTool string  `json:"last_tool,omitempty"` // e.g. "Bash go test ./..."
	LastText string  `json:"last_text,omitempty"` // the last line that claude said, shortened
	Retrying string  `json:"retrying,omitempty"`  // e.g. "attempt 3 of 10: overloaded"
	Stalled  string  `json:"stalled,omitempty"`   // e.g. "nothing for 5m, stopped at 10m"
	CostUSD  float64 `json:"cost_usd,omitempty"`  // so far, an estimate until the result
	// Answered says that claude has answered and stays for work in the background,
	// after which it may answer again; the task has its answer as Result.
	Answered bool      `json:"answered,omitempty"`
	Events   int       `json:"events,omitempty"`
	At       time.Time `json:"at,omitzero"` // of the last event
}

// Flying is what the running attempt has cost so far, by estimate.
func (t Task) Flying() float64 {
	if t.Progress == nil || !t.Status.Live() {
		return 0
	}
	return t.Progress.CostUSD
}

// Doing is what claude is at, in a few words.
func (p Progress) Doing() string {
	switch {
	case p.Retrying != "":
		return p.Retrying
	case p.Stalled != "":
		return "stalled: " + p.Stalled
	case p.Answered:
		return "answered; its process goes on"
	}
	return p.LastTool
}

// Stream names a byte stream of an attempt.
type Stream string

// The streams. Result and Prompt are read the same way as the outputs.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
	Result Stream = "result"
	Prompt Stream = "prompt"
)

type Output struct {
	ID      ID     `json:"id"`
	Attempt int    `json:"attempt"`
	Stream  Stream `json:"stream"`
	Offset  int64  `json:"offset"` // of Data's first byte
	Data    []byte `json:"data"`
	Size    int64  `json:"size"` // of the whole stream as of now
	Done    bool   `json:"done"` // the attempt has ended: Size is final
}
