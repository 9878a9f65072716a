package task

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// View is a task as it is shown outside: the result of every MCP tool and the
// object of every --json. Absent fields are left out, never null. The names
// task_id, status, elapsed_seconds, command, working_dir, result and error are
// those of the original server.
type View struct {
	TaskID          ID            `json:"task_id"`
	Name            string        `json:"name,omitempty"`
	Labels          []string      `json:"labels,omitempty"`
	Status          Status        `json:"status,omitempty"` // Public
	StatusMessage   string        `json:"status_message,omitempty"`
	FailureReason   FailureReason `json:"failure_reason,omitempty"`
	StopReason      StopReason    `json:"stop_reason,omitempty"` // why it was stopped; absent if it ended by itself
	CancelRequested bool          `json:"cancel_requested,omitempty"`

	CreatedAt  time.Time `json:"created_at,omitzero"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	RetryAt    time.Time `json:"retry_at,omitzero"` // when the usage limit ends that ended the task
	// DurationMS is the time with a process over all attempts, the running one
	// included; absent if none ever ran. ElapsedSeconds is the same in seconds.
	DurationMS     *int64   `json:"duration_ms,omitempty"`
	ElapsedSeconds *float64 `json:"elapsed_seconds,omitempty"`
	QueuePosition  int      `json:"queue_position,omitempty"` // from 1
	// Why a queued task does not run yet, until when, if that is known, and on what:
	// ids of tasks or names.
	WaitingFor   WaitingFor `json:"waiting_for,omitempty"`
	WaitingUntil time.Time  `json:"waiting_until,omitzero"`
	WaitingOn    []string   `json:"waiting_on,omitempty"`

	Attempt int `json:"attempt,omitempty"` // from 1

	ExitCode    *int    `json:"exit_code,omitempty"`
	Result      *string `json:"result,omitempty"`
	ResultBytes int64   `json:"result_bytes,omitempty"` // of the whole answer; Result may be a part of it
	Error       string  `json:"error,omitempty"`        // the failure's text, of a task that ended otherwise than completed
	SessionID   string  `json:"session_id,omitempty"`

	CostUSD       *float64 `json:"cost_usd,omitempty"`
	CostUncertain bool     `json:"cost_uncertain,omitempty"`
	NumTurns      *int     `json:"num_turns,omitempty"`
	Usage         *Usage   `json:"usage,omitempty"`

	ResumeTaskID string   `json:"resume_task_id,omitempty"` // the task whose session this one goes on with, or forked
	Fork         bool     `json:"fork,omitempty"`
	OnInterrupt  string   `json:"on_interrupt,omitempty"`
	Retries      *int     `json:"retries,omitempty"`
	RetryOn      []string `json:"retry_on,omitempty"`
	Notify       string   `json:"notify,omitempty"`
	WithCCTask   bool     `json:"with_cctask,omitempty"`

	Priority    int         `json:"priority,omitempty"`
	Group       string      `json:"group,omitempty"`
	Hold        bool        `json:"hold,omitempty"`
	NotBefore   time.Time   `json:"not_before,omitzero"` // the earliest start
	After       []string    `json:"after,omitempty"`
	WorkdirMode WorkdirMode `json:"workdir_mode,omitempty"`
	Worktree    *Worktree   `json:"worktree,omitempty"`
	Site        string      `json:"site,omitempty"` // absent: the owner's machine
	Host        string      `json:"host,omitempty"` // of the site, where it ran last
	Account     string      `json:"account,omitempty"`
	ParentID    ID          `json:"parent_id,omitempty"`
	RootID      ID          `json:"root_id,omitempty"`
	Depth       int         `json:"depth,omitempty"`

	WorkingDir     string  `json:"working_dir,omitempty"`
	Model          string  `json:"model,omitempty"`
	TimeoutSeconds float64 `json:"timeout,omitempty"`
	Command        string  `json:"command,omitempty"` // claude and the options that matter, without the prompt
	Prompt         string  `json:"prompt,omitempty"`  // the first PromptHeadRunes characters
	PromptBytes    int     `json:"prompt_bytes,omitempty"`

	Progress *Progress   `json:"progress,omitempty"`
	Stdout   *StreamView `json:"stdout,omitempty"`
	Stderr   *StreamView `json:"stderr,omitempty"`

	Note        string `json:"note,omitempty"`          // what was asked for fits other tasks too
	PollAfterMS int    `json:"poll_after_ms,omitempty"` // a good time to ask again, of a task that has not ended
	Next        string `json:"next,omitempty"`          // what to do now, for a model
}

// StreamView shows a stream of the last attempt: its size, where to read it,
// and, when somebody asked for it, its end.
type StreamView struct {
	Tail      *string `json:"tail,omitempty"`
	Bytes     int64   `json:"bytes"`               // of the whole stream as of now
	Truncated bool    `json:"truncated,omitempty"` // Tail is not the whole stream
	URI       string  `json:"uri"`
}

func NewView(t Task, now time.Time) View {
	v := View{
		TaskID: t.ID, Name: t.Spec.Name, Labels: t.Spec.Labels,
		Status: t.Status.Public(), StatusMessage: cmp.Or(t.Message, t.Waiting.Words(now)), FailureReason: t.Reason, StopReason: t.StopReason,
		CancelRequested: t.CancelRequested,
		CreatedAt:       t.CreatedAt, StartedAt: t.StartedAt, FinishedAt: t.FinishedAt, RetryAt: t.RetryAt,
		QueuePosition: t.QueuePosition, WaitingFor: t.Waiting.For, WaitingUntil: t.Waiting.Until, WaitingOn: t.Waiting.On, Attempt: t.Attempt,
		ExitCode: t.ExitCode, Result: t.Result, ResultBytes: t.ResultBytes, SessionID: t.SessionID,
		CostUncertain: t.CostUncertain, ResumeTaskID: t.Spec.ResumeTaskID, Fork: t.Spec.Fork, OnInterrupt: t.Spec.OnInterrupt, Notify: t.Spec.Notify,
		Retries: t.Spec.Retries, RetryOn: t.Spec.RetryOn, WithCCTask: t.Spec.WithCCTask,
		Priority: t.Spec.Priority, Group: t.Spec.Group, Hold: t.Spec.Hold, NotBefore: t.NotBefore, After: t.Spec.After,
		WorkdirMode: t.Spec.WorkdirMode, Worktree: t.Worktree, Site: t.Spec.Site, Host: t.Host, Account: t.Account, ParentID: t.ParentID, RootID: t.RootID, Depth: t.Depth,
		WorkingDir: t.Spec.WorkingDir, Model: cmp.Or(t.Spec.Model, t.Model), TimeoutSeconds: t.Spec.TimeoutSeconds,
		Command: command(t.Spec), Prompt: t.PromptHead, PromptBytes: t.PromptBytes,
		Progress: t.Progress, PollAfterMS: pollAfter(t, now), Next: next(t),
	}
	_, v.Note, _ = t.Fits().Choose(ToRead, now)
	if t.Status.Ended() && t.Status != Completed {
		v.Error = t.Message
		if v.Error == "" {
			v.Error = string(t.Reason)
		}
	}
	if t.StartedAt.IsZero() {
		return v
	}
	ms := t.Elapsed(now).Milliseconds()
	seconds := float64(ms) / 1000
	v.DurationMS, v.ElapsedSeconds = &ms, &seconds
	v.Stdout = &StreamView{Bytes: t.StdoutBytes, URI: StreamURI(t.ID, Stdout)}
	v.Stderr = &StreamView{Bytes: t.StderrBytes, URI: StreamURI(t.ID, Stderr)}
	// Only an ended attempt has a cost; the running one's is in Progress.
	if t.Status.Ended() || t.Attempt > 1 {
		t.CostUSD = RoundUSD(t.CostUSD) // an older record has the sum as it was
		v.CostUSD, v.NumTurns = &t.CostUSD, &t.NumTurns
		if t.Usage != (Usage{}) {
			v.Usage = &t.Usage
		}
	}
	return v
}

func StreamURI(id ID, s Stream) string { return "task://" + string(id) + "/" + string(s) }

// Elapsed is the time with a process. The sum in the record does not hold the
// running attempt, whose start is the last entry into running: StartedAt is
// the first attempt's.
func (t Task) Elapsed(now time.Time) time.Duration {
	d := time.Duration(t.DurationMS) * time.Millisecond
	if t.Status != Running {
		return d
	}
	// A clock that was set back must not show a negative time.
	return d + max(0, now.Sub(t.RunningSince()))
}

func (t Task) RunningSince() time.Time {
	start := t.StartedAt
	for _, c := range t.History {
		if c.To == Running {
			start = c.At
		}
	}
	return start
}

// pollAfter suggests milliseconds until the next look: soon for a fresh task,
// rarely for one that has been at it for long.
func pollAfter(t Task, now time.Time) int {
	if t.Status.Ended() {
		return 0
	}
	wait := now.Sub(t.QueuedAt) / 10
	return int(min(max(wait, 2*time.Second), 30*time.Second).Milliseconds())
}

// next says in a sentence or two what to do with a task in this status.
func next(t Task) string {
	id := string(t.ID)
	switch t.Status {
	case Queued, Starting, Running:
		return "check_task_status with this task_id and wait_seconds answers when it ends; several calls in one message wait in parallel."
	case Completed:
		return "Done. A new task with this id as resume_task_id goes on in its session; cleanup_task deletes the record."
	case Skipped:
		return ReasonDependency.Hint()
	case Failed, Timeout, Cancelled, Interrupted:
		hint := t.Hint()
		if hint == "" {
			hint = ReasonUnknown.Hint()
		}
		switch retry, none := noSession[t.Reason]; {
		case none && (!retry || t.Reason == ReasonSessionLost && t.Spec.ResumeTaskID != ""):
			return hint
		case none || t.Model == "" && t.NumTurns == 0: // nothing was begun
			return fmt.Sprintf("%s In a shell, `cctask retry %s` starts over.", hint, id)
		}
		return fmt.Sprintf("%s A new task with resume_task_id %s goes on in the same session; in a shell, `cctask resume %s` does so in this task and `cctask retry %s` starts over.", hint, id, id, id)
	}
	return ""
}

// ShellWords joins words so that they can be pasted into a shell.
func ShellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

func shorten(s string, runes int) string {
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	return string([]rune(s)[:runes]) + "…"
}

// quote makes a word safe to paste into a shell.
func quote(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:=,@%+", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
