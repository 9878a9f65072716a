package task

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of a specification.
const (
	MaxPrompt        = 4 << 20 // bytes; claude itself refuses some megabytes more
	MaxName          = 100     // characters, of a label too
	MaxLabels        = 32
	MaxTimeout       = 30 * 24 * time.Hour
	DefaultMaxOutput = 1 << 30 // bytes a stream
	PromptHeadRunes  = 200
)

// NewestRef is what people call the newest task; no task may have it as its name.
const NewestRef = "last"

// Spec is what a task is to do. The prompt travels and is kept apart.
type Spec struct {
	WorkingDir string `json:"working_dir"` // absolute; "" in a submission with ResumeTaskID: that task's
	Claude     string `json:"claude"`      // absolute path of the claude binary, resolved by the front
	Model      string `json:"model,omitempty"`
	// SkipPermissions: nil means true unless PermissionMode or AllowedTools
	// restrict the task; Effective resolves it.
	SkipPermissions *bool `json:"skip_permissions,omitempty"`
	// TimeoutSeconds is the deadline from the start of claude; 0 is none.
	TimeoutSeconds float64 `json:"timeout,omitempty"`
	// StallTimeout is how many seconds claude may be silent while nothing that it
	// waits for is under way; nil: DefaultStall, 0: for ever.
	StallTimeout *float64 `json:"stall_timeout,omitempty"`

	Name               string          `json:"name,omitempty"`
	Labels             []string        `json:"labels,omitempty"`
	PermissionMode     string          `json:"permission_mode,omitempty"`
	AllowedTools       []string        `json:"allowed_tools,omitempty"`
	DisallowedTools    []string        `json:"disallowed_tools,omitempty"`
	AppendSystemPrompt string          `json:"append_system_prompt,omitempty"`
	MaxTurns           int             `json:"max_turns,omitempty"`
	MaxBudgetUSD       float64         `json:"max_budget_usd,omitempty"`
	JSONSchema         json.RawMessage `json:"json_schema,omitempty"`
	AddDirs            []string        `json:"add_dirs,omitempty"`
	Literal            bool            `json:"literal,omitempty"` // a leading / is text, not a command
	MCPConfig          []string        `json:"mcp_config,omitempty"`
	StrictMCPConfig    *bool           `json:"strict_mcp_config,omitempty"` // nil: true
	MaxOutput          int64           `json:"max_output,omitempty"`        // bytes a stream; 0: DefaultMaxOutput

	// ResumeTaskID is a task whose session this one goes on with: any reference
	// in a submission, the id in a record. With Fork it goes on with a copy.
	ResumeTaskID string `json:"resume_task_id,omitempty"`
	Fork         bool   `json:"fork,omitempty"`
	// OnInterrupt is what follows an end that neither we nor claude wanted: ""
	// (it stays interrupted) or OnInterruptResume.
	OnInterrupt string `json:"on_interrupt,omitempty"`
	// Retries is how often in a row it may be tried again by itself; nil: as [retry]
	// says. RetryOn are the reasons to do so; nil: those of the table of retries.
	Retries *int     `json:"retries,omitempty"`
	RetryOn []string `json:"retry_on,omitempty"`
	// WithCCTask gives the task the MCP server of its own owner.
	WithCCTask bool `json:"with_cctask,omitempty"`
	// Notify is a command for a shell that is told of the task's end.
	Notify string `json:"notify,omitempty"`

	// Claude's further options.
	Effort         string          `json:"effort,omitempty"`
	FallbackModel  string          `json:"fallback_model,omitempty"` // one or several with commas
	SystemPrompt   string          `json:"system_prompt,omitempty"`
	Agent          string          `json:"agent,omitempty"`
	Agents         json.RawMessage `json:"agents,omitempty"`
	Tools          []string        `json:"tools,omitempty"`           // nil: claude's own choice; NoneOfThem: none
	Settings       string          `json:"settings,omitempty"`        // a file or inline JSON
	SettingSources []string        `json:"setting_sources,omitempty"` // as Tools
	PluginDirs     []string        `json:"plugin_dirs,omitempty"`
	Betas          []string        `json:"betas,omitempty"`

	// Env are variables of the task's own. They travel in its environment and are
	// kept as that is, so that no record and no dump can hold their values.
	Env      map[string]string `json:"-"`
	EnvNames []string          `json:"env_names,omitempty"`

	Site string `json:"site,omitempty"` // where it runs, by its name in the settings; "": the owner's machine

	// When it starts.
	Priority int    `json:"priority,omitempty"` // the higher goes first; -100 to 100
	Group    string `json:"group,omitempty"`    // shares a number of slots; "": DefaultGroup
	Hold     bool   `json:"hold,omitempty"`     // until somebody releases it
	StartAt  string `json:"start_at,omitempty"` // as it was given, a time or 2h; Task.NotBefore is the moment
	// After are the tasks whose ends it waits for: REF, REF:any or REF:failed, with
	// any reference in a submission and the id in a record.
	After       []string    `json:"after,omitempty"`
	WorkdirMode WorkdirMode `json:"workdir_mode,omitempty"`
}

// OnInterruptResume lets an interrupted task go on by itself at once, at most
// MaxAutoResumes times until somebody resumes or retries it, whatever Retries says.
const (
	OnInterruptResume = "resume"
	MaxAutoResumes    = 3
)

// NoneOfThem is the only item of a list that is given and empty.
const NoneOfThem = "none"

// TakeEnv moves the task's own variables into the environment that it is given,
// where the last one of a name wins, and keeps their names.
func (s *Spec) TakeEnv(env []string) []string {
	names := slices.Sorted(maps.Keys(s.Env))
	for _, name := range names {
		env = append(slices.Clip(env), name+"="+s.Env[name])
	}
	s.EnvNames = slices.Compact(slices.Sorted(slices.Values(append(names, s.EnvNames...))))
	s.Env = nil
	return env
}

func (s Spec) Timeout() time.Duration { return Seconds(s.TimeoutSeconds).Duration() }

// DefaultStall is Spec.StallTimeout of a task that gives none.
const DefaultStall = 10 * time.Minute

// Stall is the most silence as a duration; 0: there is no bound.
func (s Spec) Stall() time.Duration {
	if s.StallTimeout == nil {
		return DefaultStall
	}
	return Seconds(*s.StallTimeout).Duration()
}

// SkipsPermissions resolves the default: true, as in the original server,
// unless the task is restricted.
func (s Spec) SkipsPermissions() bool {
	if s.SkipPermissions != nil {
		return *s.SkipPermissions
	}
	return s.PermissionMode == "" && len(s.AllowedTools) == 0
}

// Strict tells whether claude loads only the MCP servers that the task names.
func (s Spec) Strict() bool { return s.StrictMCPConfig == nil || *s.StrictMCPConfig }

// OutputLimit is the most bytes that a stream may grow to.
func (s Spec) OutputLimit() int64 {
	if s.MaxOutput > 0 {
		return s.MaxOutput
	}
	return DefaultMaxOutput
}

// Anchor makes the paths absolute, each by abs.
func (s *Spec) Anchor(abs func(option, path string) (string, error)) (err error) {
	each := func(o Option, path *string) {
		if err == nil && !IsInline(*path) {
			*path, err = abs(o.Name, *path)
		}
	}
	for _, o := range Options {
		_, given := o.Get(s)
		// Without one it is this front's, or the other task's.
		missing := o.Name == "working_dir" && s.ResumeTaskID == ""
		switch p := o.at(s).(type) {
		case *string:
			if o.Kind == KindPath && (given || missing) {
				each(o, p)
			}
		case *[]string:
			if o.Kind == KindPaths {
				*p = slices.Clone(*p) // it may be that of the defaults
				for i := range *p {
					each(o, &(*p)[i])
				}
			}
		}
	}
	return err
}

// IsInline tells JSON from the name of a file that holds it.
func IsInline(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), "{") }

// Abs makes an option's path absolute. A relative one counts from base; base is ""
// where there is none, and nowhere says why.
func Abs(option, path, base, nowhere string) (string, error) {
	switch {
	case filepath.IsAbs(path):
		return filepath.Clean(path), nil
	case base == "" && path == "":
		return "", invalid(option, "is missing, and "+nowhere, "Give "+option+" as an absolute path.")
	case base == "":
		return "", invalid(option, fmt.Sprintf("%q is not an absolute path, and %s", path, nowhere), "Give "+option+" as an absolute path.")
	}
	return filepath.Join(base, path), nil
}

// modelPattern is what a model may be named like: an alias, a full name, a
// provider's ARN or path. Anything else could be an option or a shell's word.
var modelPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9._:/\[\]-]{1,128}$`) })

var PermissionModes = []string{"default", "acceptEdits", "auto", "bypassPermissions", "manual", "dontAsk", "plan"}

// CheckPrompt refuses what claude could not take to the byte.
func CheckPrompt(p string) error {
	switch {
	case len(p) > MaxPrompt:
		return invalid("prompt", fmt.Sprintf("has %d bytes, at most %d are allowed", len(p), MaxPrompt), "Put the material into a file in the working directory and name the file in the prompt.")
	case !utf8.ValidString(p):
		return invalid("prompt", "is not valid UTF-8", "Convert it to UTF-8, or put the bytes into a file and name the file in the prompt.")
	case strings.ContainsRune(p, 0):
		return invalid("prompt", "contains a NUL byte", "Remove it, or put the bytes into a file and name the file in the prompt.")
	case strings.TrimSpace(p) == "":
		return invalid("prompt", "is blank", "Say what claude is to do.")
	}
	return nil
}

// Check refuses a specification that claude would misread. It looks at the
// words only; whether the files exist is the engine's question.
func (s Spec) Check() error {
	if err := s.checkBounds(); err != nil {
		return err
	}
	checks := []struct {
		bad         bool
		field, what string
		hint        string
	}{
		{!filepath.IsAbs(s.WorkingDir) && (s.WorkingDir != "" || s.ResumeTaskID == ""), "working_dir", fmt.Sprintf("%q is not an absolute path", s.WorkingDir), "Give the directory from the root."},
		{!filepath.IsAbs(s.Claude) && s.Site == "", "claude", fmt.Sprintf("%q is not an absolute path", s.Claude), "Install Claude Code, or set CCTASK_CLAUDE to its path."},
		{s.Model != "" && !modelPattern().MatchString(s.Model), "model", fmt.Sprintf("%q is not a model name", s.Model), "Use sonnet, opus, haiku or a full model name."},
		{s.SkipPermissions != nil && *s.SkipPermissions && (s.PermissionMode != "" || len(s.AllowedTools) > 0), "skip_permissions", "true contradicts permission_mode and allowed_tools", "Leave skip_permissions out: a restricted task does not skip permissions."},
		{s.Name != "" && !isWord(s.Name), "name", "is too long, has control characters, or begins or ends with a space", wordHint},
		{s.Name == NewestRef, "name", fmt.Sprintf("%q means the newest task, whatever it is called", NewestRef), "Choose another name."},
		{isID(s.Name), "name", fmt.Sprintf("%q could be the id of another task", s.Name), "Choose another name."},
		{slices.ContainsFunc(s.Labels, func(l string) bool { return !isWord(l) }), "labels", "has one that is empty or too long, has control characters, or begins or ends with a space", wordHint},
		{slices.ContainsFunc(s.fallbacks(), func(m string) bool { return !modelPattern().MatchString(m) }), "fallback_model", fmt.Sprintf("%q is not a model name, or several with commas", s.FallbackModel), "Use sonnet, opus, haiku or full model names."},
		{s.Agent != "" && !isWord(s.Agent), "agent", "is too long, has control characters, or begins or ends with a space", wordHint},
		{slices.Contains(s.Tools, NoneOfThem) && len(s.Tools) > 1, "tools", "none stands beside others", "Name tools, or none alone."},
		{slices.Contains(s.SettingSources, NoneOfThem) && len(s.SettingSources) > 1, "setting_sources", "none stands beside others", "Name sources, or none alone."},
		{s.Group != "" && !isWord(s.Group), "group", "is too long, has control characters, or begins or ends with a space", wordHint},
		{!isStart(s.StartAt), "start_at", fmt.Sprintf("%q is not a time", s.StartAt), "Write how far ahead it is (90m, 2h, 1d12h), 23:30, a date with a time ('2026-11-01 15:04') or RFC 3339."},
		{s.Fork && s.ResumeTaskID == "", "fork", "true needs resume_task_id", "Name the task whose session is to be forked."},
	}
	for _, c := range checks {
		if c.bad {
			return invalid(c.field, c.what, c.hint)
		}
	}
	return checkText("claude", s.Claude)
}

// fallbacks are the models of fallback_model.
func (s Spec) fallbacks() []string {
	if s.FallbackModel == "" {
		return nil
	}
	return strings.Split(s.FallbackModel, ",")
}

func isObject(raw []byte) bool {
	return json.Valid(raw) && strings.HasPrefix(strings.TrimSpace(string(raw)), "{")
}

var wordHint = fmt.Sprintf("Use 1 to %d characters in one line.", MaxName)

// isWord tells whether s can be shown and typed as a name.
func isWord(s string) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= MaxName && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, unicode.IsControl)
}

func isID(s string) bool {
	_, err := ParseID(s)
	return err == nil
}

func invalid(field, what, hint string) error {
	return &Error{Code: CodeInvalid, Message: field + ": " + what, Hint: hint}
}

// Head is the beginning of a prompt for lists.
func Head(prompt string) string {
	n := 0
	for i := range prompt {
		if n == PromptHeadRunes {
			return prompt[:i]
		}
		n++
	}
	return prompt
}
