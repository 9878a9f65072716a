package claude

import (
	"encoding/json"
	"errors"

	"cctask/engine/task"
)

// event is the top level of a line, without its message: most of claude's
// bytes are in messages and tool results, and skipping them is cheap.
type event struct {
	Type    string `json:"type"`
	Subtype string `json:"subtype"`
	Parent  string `json:"parent_tool_use_id"` // set on events of subagents

	// system/init
	SessionID string `json:"session_id"`
	Version   string `json:"claude_code_version"`
	Model     string `json:"model"`

	// assistant and result: errors of the API; api_retry has error too
	Error          string `json:"error"`
	APIError       string `json:"api_error"`
	APIErrorStatus int    `json:"api_error_status"`

	// system/task_notification
	Status  string `json:"status"`
	Summary string `json:"summary"`

	// system/background_tasks_changed
	Tasks []struct{} `json:"tasks"` // all that go on

	// system/api_retry
	Attempt     int     `json:"attempt"`
	MaxRetries  int     `json:"max_retries"`
	DelayMS     float64 `json:"retry_delay_ms"`
	ErrorStatus int     `json:"error_status"`

	// rate_limit_event
	RateLimit struct {
		Status   string  `json:"status"`
		ResetsAt float64 `json:"resetsAt"` // epoch seconds
	} `json:"rate_limit_info"`

	// result
	IsError        bool              `json:"is_error"`
	Result         *string           `json:"result"`
	Structured     json.RawMessage   `json:"structured_output"`
	Errors         []string          `json:"errors"`
	TerminalReason string            `json:"terminal_reason"`
	NumTurns       int               `json:"num_turns"`
	DurationMS     int64             `json:"duration_ms"`
	TotalCost      *float64          `json:"total_cost_usd"`
	Usage          task.Usage        `json:"usage"`
	Billed         map[string]Billed `json:"modelUsage"`
	Denials        []struct {
		Tool string `json:"tool_name"`
	} `json:"permission_denials"`
	Subagents struct {
		Killed killed `json:"killed"`
	} `json:"subagent_stats"`
}

// killed counts the subagents that claude itself stopped: by who stopped them,
// where the model and the person are others, or as one number.
type killed int

func (k *killed) UnmarshalJSON(b []byte) error {
	var by struct{ System int }
	if json.Unmarshal(b, &by) != nil {
		_ = json.Unmarshal(b, &by.System) // anything else is no count, and no reason to lose the result
	}
	*k = killed(by.System)
	return nil
}

// failed tells whether a result event is one of an error.
func (e *event) failed() bool { return e.IsError || (e.Subtype != "success" && e.Subtype != "") }

// structured tells whether the result has a structured output.
func (e *event) structured() bool {
	return len(e.Structured) > 0 && string(e.Structured) != "null"
}

// message is the message of an assistant or user event. Some system events
// have a plain string of that name.
type message struct {
	ID      string     `json:"id"`
	Model   string     `json:"model"`
	Content blocks     `json:"content"`
	Usage   task.Usage `json:"usage"`
}

// synthetic marks messages that claude wrote itself in place of the model.
func (m *message) synthetic() bool { return m.Model == "<synthetic>" }

type block struct {
	Type string `json:"type"`
	ID   string `json:"id"` // of a tool_use
	// ToolUseID is of a tool_result: which call it answers.
	ToolUseID string `json:"tool_use_id"`

	Text    string    `json:"text"`
	Name    string    `json:"name"`
	Input   toolInput `json:"input"`
	Content texts     `json:"content"` // of a tool_result
	IsError bool      `json:"is_error"`
}

// blocks is the content of a message: a list, or a string, which stands for
// one text block.
type blocks []block

// UnmarshalJSON takes both forms and never fails.
func (b *blocks) UnmarshalJSON(data []byte) error {
	if text, ok := decodeString(data); ok {
		*b = blocks{{Type: "text", Text: text}}
	} else {
		decode(data, (*[]block)(b))
	}
	return nil
}

// texts is the content of a tool's result, in the same two forms. It is a type
// of its own so that nesting ends here: each level of UnmarshalJSON reads its
// data again, and a line that nests deeply would take time without bound.
type texts []struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// UnmarshalJSON takes both forms and never fails.
func (t *texts) UnmarshalJSON(data []byte) error {
	if text, ok := decodeString(data); ok {
		*t = texts{{Type: "text", Text: text}}
		return nil
	}
	type plain texts
	decode(data, (*plain)(t))
	return nil
}

func decodeString(data []byte) (string, bool) {
	var s string
	ok := len(data) > 0 && data[0] == '"' && decode(data, &s)
	return s, ok
}

// toolInput is what a tool is asked to do, in one short line.
type toolInput string

// UnmarshalJSON keeps the argument that says most, or a piece of the JSON.
func (t *toolInput) UnmarshalJSON(data []byte) error {
	var in struct {
		Command      string `json:"command"`
		FilePath     string `json:"file_path"`
		NotebookPath string `json:"notebook_path"`
		Pattern      string `json:"pattern"`
		URL          string `json:"url"`
		Query        string `json:"query"`
		Skill        string `json:"skill"`
		Description  string `json:"description"`
		Prompt       string `json:"prompt"`
	}
	decode(data, &in)
	for _, v := range []string{
		in.Command, in.FilePath, in.NotebookPath, in.Pattern, in.URL, in.Query, in.Skill, in.Description, in.Prompt,
	} {
		if v != "" {
			*t = toolInput(oneLine(v, maxTool))
			return nil
		}
	}
	if len(data) > 2 { // not {}
		*t = toolInput(oneLine(string(data[:min(len(data), 4*maxTool)]), maxTool))
	}
	return nil
}

// decode reads what fits. A field of an unexpected type is left out: claude's
// fields are optional, and one that changed must not hide the others.
func decode(data []byte, v any) bool {
	err := json.Unmarshal(data, v)
	var mismatch *json.UnmarshalTypeError
	return err == nil || errors.As(err, &mismatch)
}

func eventOf(line []byte) *event {
	var ev event
	decode(line, &ev)
	return &ev
}

func decodeMessage(line []byte) message {
	var m struct {
		Message message `json:"message"`
	}
	decode(line, &m)
	return m.Message
}
