package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cctask/engine/task"
)

// kind is what an option's value may be, in the settings file, in a line of a
// --each file, and as the text of a flag.
type kind int

const (
	text kind = iota
	number
	integer
	seconds
	size
	list
	paths // a list of directories or files; inline JSON is left as it is
	toggle
	object
)

// wants says what fits a kind.
var wants = map[kind]string{
	text: "a string", number: "a number", integer: fmt.Sprintf("a whole number up to %d", math.MaxInt32), seconds: wantsSpan,
	size: "bytes, or a size like 500MB", list: "a list of strings", paths: "a list of paths",
	toggle: "true or false", object: "a JSON object",
}

// option is a task's option by its name in task.Spec and the MCP tools, with
// its flag; or a rule of the policy.
type option struct {
	name, flag, arg, usage string
	kind                   kind
	one                    bool // belongs to one task: no default in the settings file
}

var taskOptions = []option{
	{name: "working_dir", flag: "working-dir", arg: "DIR", usage: "directory in which claude works (default: this one)", one: true},
	{name: "model", flag: "model", arg: "MODEL", usage: "sonnet, opus, haiku or a full name (default: claude's own)"},
	{name: "name", flag: "name", arg: "NAME", usage: "name by which the task can be asked for instead of its id", one: true},
	{name: "labels", flag: "label", arg: "LABEL", usage: "label to list tasks by; may be repeated", kind: list},
	{name: "timeout", flag: "timeout", arg: "TIME", usage: "deadline of each attempt: seconds, or a time like 90s, 2h or 7d; 0 is none", kind: seconds},
	{name: "skip_permissions", flag: "skip-permissions", usage: "let claude use its tools without asking (default, unless restricted otherwise); =false denies", kind: toggle},
	{name: "permission_mode", flag: "permission-mode", arg: "MODE", usage: strings.Join(task.PermissionModes, ", ")},
	{name: "allowed_tools", flag: "allowed-tools", arg: "TOOL", usage: "tool that needs no permission, like Read or 'Bash(git log:*)'; may be repeated", kind: list},
	{name: "disallowed_tools", flag: "disallowed-tools", arg: "TOOL", usage: "tool that must not be used; may be repeated", kind: list},
	{name: "append_system_prompt", flag: "append-system-prompt", arg: "TEXT", usage: "text that is added to claude's system prompt"},
	{name: "max_turns", flag: "max-turns", arg: "NUMBER", usage: "turns that the task may take, all attempts together; 0 is no limit", kind: integer},
	{name: "max_budget_usd", flag: "max-budget-usd", arg: "USD", usage: "dollars that the task may cost, all attempts together; 0 is no limit", kind: number},
	{name: "json_schema", flag: "json-schema", arg: "SCHEMA", usage: "JSON Schema that the answer must fit, or the file of one", kind: object},
	{name: "add_dirs", flag: "add-dirs", arg: "DIR", usage: "directory that claude may work in too; may be repeated", kind: paths},
	{name: "literal", flag: "literal", usage: "take a prompt that begins with / as text, not as a slash command", kind: toggle},
	{name: "mcp_config", flag: "mcp-config", arg: "FILE", usage: "MCP servers for the task, a file or inline JSON; may be repeated", kind: paths},
	{name: "strict_mcp_config", flag: "strict-mcp-config", usage: "load only the MCP servers of --mcp-config (default); =false also those of user and project", kind: toggle},
	{name: "max_output", flag: "max-output", arg: "SIZE", usage: "most bytes of stdout or stderr; beyond them the task is stopped (default 1GiB)", kind: size},
	{name: "resume_task_id", flag: "resume-task-id", arg: "ID", usage: "go on with that task's session, in its directory unless --working-dir is given", one: true},
	{name: "fork", flag: "fork", usage: "with --resume-task-id: go on with a copy of the session, which stays as it is", kind: toggle, one: true},
	{name: "on_interrupt", flag: "on-interrupt", arg: "WHAT", usage: "what follows a crash: resume lets the task go on by itself, a few times (default: nothing)"},
}

// policyRules are the keys of [policy], by the names in task.Policy.
var policyRules = []option{
	{name: "allowed_dirs", kind: paths},
	{name: "max_permission_mode"},
	{name: "allow_skip_permissions", kind: toggle},
	{name: "allowed_models", kind: list},
	{name: "max_timeout", kind: seconds},
	{name: "max_budget_usd", kind: number},
	{name: "extra_args", kind: list},
}

// fit gives v, from TOML or JSON, as its option holds it.
func (o option) fit(v any) (any, bool) {
	if n, ok := v.(int64); ok {
		v = float64(n)
	}
	switch v := v.(type) {
	case string:
		return o.fitString(v)
	case float64:
		ok := o.kind == number || o.kind == integer || o.kind == seconds || o.kind == size
		finite := !math.IsNaN(v) && !math.IsInf(v, 0)
		return v, ok && finite && (v == math.Trunc(v) || o.kind == number || o.kind == seconds) && (o.kind != integer || math.Abs(v) <= math.MaxInt32)
	case bool:
		return v, o.kind == toggle
	case []any:
		items := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok || s == "" {
				return nil, false
			}
			items = append(items, s)
		}
		return items, o.kind == list || o.kind == paths
	case map[string]any:
		return v, o.kind == object
	}
	return nil, false
}

func (o option) fitString(s string) (any, bool) {
	switch o.kind {
	case text:
		return s, true
	case seconds:
		var d span
		err := d.Set(s)
		return time.Duration(d).Seconds(), err == nil
	case size:
		n, err := parseSize(s)
		return float64(n), err == nil
	case object:
		return json.RawMessage(s), json.Valid([]byte(s))
	case number, integer, list, paths, toggle:
	}
	return nil, false
}

// optionFlag is an option as a flag; what is given goes into a map.
type optionFlag struct {
	o  option
	to map[string]any
}

func (f optionFlag) String() string { return "" }

func (f optionFlag) Type() string {
	if f.o.kind == toggle {
		return "bool"
	}
	return f.o.arg
}

func (f optionFlag) Set(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("want valid UTF-8") // on its way as JSON it would become another text
	}
	var v any = s
	switch f.o.kind {
	case list, paths:
		so, _ := f.to[f.o.name].([]string)
		f.to[f.o.name] = append(so, s)
		return nil
	case toggle:
		if b, err := strconv.ParseBool(s); err == nil {
			v = b
		}
	case number, integer:
		if n, err := strconv.ParseFloat(s, 64); err == nil {
			v = n
		}
	case object:
		var err error
		if v, err = inlineOrFile(s); err != nil {
			return err
		}
	case text, seconds, size:
	}
	v, ok := f.o.fit(v)
	if !ok {
		return fmt.Errorf("want %s", wants[f.o.kind])
	}
	f.to[f.o.name] = v
	return nil
}

// specOf makes a specification of options, the later layers over the earlier.
func specOf(layers ...map[string]any) (task.Spec, error) {
	var all map[string]any
	for _, l := range layers {
		all = task.Overlay(all, l)
	}
	var s task.Spec
	err := remarshal(all, &s)
	return s, err
}

func remarshal(from, to any) error {
	b, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		return badInput(fmt.Sprintf("the options cannot be understood: %v", err), "Correct the options.")
	}
	return nil
}

// inlineOrFile is JSON as it stands, or what the named file holds.
func inlineOrFile(s string) (string, error) {
	if task.IsInline(s) {
		return s, nil
	}
	b, err := os.ReadFile(s)
	return string(b), err
}
