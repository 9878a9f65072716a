package task

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is what an option's value is.
type Kind int

// The kinds, with the Go types of their values.
const (
	KindText    Kind = iota // string
	KindNumber              // float64
	KindInteger             // float64, a whole one
	KindSeconds             // float64; at the command line also a time like 90s
	KindSize                // float64, whole bytes; at the command line also 500MB
	KindList                // []string
	KindPaths               // []string, directories or files; inline JSON is left as it is
	KindToggle              // bool
	KindObject              // json.RawMessage
)

// Option is an option by its name in Spec, the MCP tools, [defaults] and the
// lines of --each, and what is allowed for it by every one of these doors.
type Option struct {
	Name        string
	Kind        Kind
	Least, Most float64  // of a number
	Chars       int      // most of a text, or of each item of a list; 0: no bound
	Items       int      // most of a list; 0: no bound
	Words       []string // nil: any text
	// BlankIsNone lets a client that fills in every argument give an empty text or
	// list for none. It is false where that would do something else than what an
	// empty one looks like. At the command line an empty value is refused always:
	// there it is a variable that was not set.
	BlankIsNone bool
	One         bool // belongs to one task: no default in the settings file

	of func(*Spec) any // the value in a specification
}

const mostItems, mostArgument, mostPath = 256, 1000, 4096

// Options are the options of a task. Their bounds are said here and nowhere else.
var Options = []Option{
	{Name: "working_dir", Chars: mostPath, BlankIsNone: true, One: true, of: func(s *Spec) any { return s.WorkingDir }},
	{Name: "model", Chars: 128, BlankIsNone: true, of: func(s *Spec) any { return s.Model }},
	{Name: "skip_permissions", Kind: KindToggle, of: func(s *Spec) any { return s.SkipPermissions }},
	{Name: "timeout", Kind: KindSeconds, Most: MaxTimeout.Seconds(), of: func(s *Spec) any { return s.TimeoutSeconds }},
	{Name: "name", Chars: MaxName, BlankIsNone: true, One: true, of: func(s *Spec) any { return s.Name }},
	{Name: "labels", Kind: KindList, Items: MaxLabels, Chars: MaxName, BlankIsNone: true, of: func(s *Spec) any { return s.Labels }},
	{Name: "permission_mode", Words: PermissionModes, of: func(s *Spec) any { return s.PermissionMode }},
	{Name: "allowed_tools", Kind: KindList, Items: mostItems, Chars: mostArgument, of: func(s *Spec) any { return s.AllowedTools }},
	{Name: "disallowed_tools", Kind: KindList, Items: mostItems, Chars: mostArgument, BlankIsNone: true, of: func(s *Spec) any { return s.DisallowedTools }},
	{Name: "append_system_prompt", Chars: 100_000, BlankIsNone: true, of: func(s *Spec) any { return s.AppendSystemPrompt }},
	{Name: "max_turns", Kind: KindInteger, Most: 100_000, of: func(s *Spec) any { return float64(s.MaxTurns) }},
	{Name: "max_budget_usd", Kind: KindNumber, Most: 1e6, of: func(s *Spec) any { return s.MaxBudgetUSD }},
	{Name: "json_schema", Kind: KindObject, of: func(s *Spec) any { return s.JSONSchema }},
	{Name: "add_dirs", Kind: KindPaths, Items: 64, Chars: mostPath, BlankIsNone: true, of: func(s *Spec) any { return s.AddDirs }},
	{Name: "literal", Kind: KindToggle, of: func(s *Spec) any { return s.Literal }},
	{Name: "mcp_config", Kind: KindPaths, Items: 32, Chars: 100_000, BlankIsNone: true, of: func(s *Spec) any { return s.MCPConfig }},
	{Name: "strict_mcp_config", Kind: KindToggle, of: func(s *Spec) any { return s.StrictMCPConfig }},
	{Name: "max_output", Kind: KindSize, Least: 1, Most: 1 << 40, of: func(s *Spec) any { return float64(s.MaxOutput) }},
	{Name: "resume_task_id", Chars: 200, One: true, of: func(s *Spec) any { return s.ResumeTaskID }},
	{Name: "fork", Kind: KindToggle, One: true, of: func(s *Spec) any { return s.Fork }},
	{Name: "on_interrupt", Words: []string{OnInterruptResume}, BlankIsNone: true, of: func(s *Spec) any { return s.OnInterrupt }},
}

// KeyOption is the idempotency key of a submission, which is no part of its Spec.
var KeyOption = Option{Name: "idempotency_key", Chars: 200, One: true}

// Find gives the option of that name.
func Find(name string) (Option, bool) {
	i := slices.IndexFunc(Options, func(o Option) bool { return o.Name == name })
	if i < 0 {
		return Option{}, false
	}
	return Options[i], true
}

// Allows tells whether v, which somebody gave and which is of the option's kind,
// is within its bounds.
func (o Option) Allows(v any) bool {
	switch v := v.(type) {
	case string:
		n := utf8.RuneCountInString(v)
		return n > 0 && (o.Chars == 0 || n <= o.Chars) && (o.Words == nil || slices.Contains(o.Words, v))
	case float64: // NaN is not within
		return v >= o.Least && (o.Most == 0 || v <= o.Most)
	case []string:
		bad := func(item string) bool { return !o.Allows(item) }
		return len(v) > 0 && (o.Items == 0 || len(v) <= o.Items) && !slices.ContainsFunc(v, bad)
	}
	return true
}

// Allowed says in words what is allowed.
func (o Option) Allowed() string {
	text := "a string that is not empty"
	switch {
	case len(o.Words) == 1:
		text = strconv.Quote(o.Words[0])
	case o.Words != nil:
		text = "one of " + strings.Join(o.Words, ", ")
	case o.Chars > 0:
		text = fmt.Sprintf("a string of 1 to %d characters", o.Chars)
	}
	switch o.Kind {
	case KindNumber, KindSeconds, KindInteger, KindSize:
		text = "a number"
		if o.Kind == KindInteger || o.Kind == KindSize {
			text = "a whole number"
		}
		if o.Most > 0 {
			text += fmt.Sprintf(" from %.0f to %.0f", o.Least, o.Most)
		}
	case KindToggle:
		return "true or false"
	case KindObject:
		return "a JSON object"
	case KindList, KindPaths:
		if o.Items == 0 {
			return "a list, each item " + text
		}
		return fmt.Sprintf("a list of 1 to %d items, each %s", o.Items, text)
	case KindText:
	}
	return text
}

// checkBounds looks at what a specification has; a zero value is one that
// nobody gave.
func (s *Spec) checkBounds() error {
	for _, o := range Options {
		v, given, texts := o.of(s), true, []string(nil)
		switch w := v.(type) {
		case float64:
			given = w != 0
		case string:
			given, texts = w != "", []string{w}
		case []string:
			given, texts = len(w) > 0, w
		case json.RawMessage:
			texts = []string{string(w)}
		}
		if given && !o.Allows(v) {
			return o.Refuse(v)
		}
		if err := checkTexts(o.Name, texts...); err != nil {
			return err
		}
	}
	return nil
}

// checkTexts refuses bytes that cannot stand in an argument of a process.
func checkTexts(field string, texts ...string) error {
	for _, v := range texts {
		if strings.ContainsRune(v, 0) {
			return invalid(field, "contains a NUL byte", "Remove it.")
		}
		if !utf8.ValidString(v) {
			return invalid(field, fmt.Sprintf("%.200q is not valid UTF-8", v), "Convert it to UTF-8; a file or directory of such a name must be renamed.")
		}
		// Linux cuts one argument at 128 KiB.
		if len(v) > 120<<10 {
			return invalid(field, fmt.Sprintf("has an entry of %d bytes", len(v)), "Use at most 120 KiB; put longer text into a file.")
		}
	}
	return nil
}

// Refuse is the error about a value that is not allowed.
func (o Option) Refuse(v any) error {
	given, err := json.Marshal(v)
	if err != nil { // NaN, infinite
		given = fmt.Append(nil, v)
	}
	const most = 80 // characters of it that are shown
	return invalid(o.Name, fmt.Sprintf("given %s, allowed is %s", shorten(string(given), most), o.Allowed()), "Correct it, or leave it out.")
}
