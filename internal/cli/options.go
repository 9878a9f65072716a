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

// option is an option with its flag; or a rule of the policy, which has none.
type option struct {
	task.Option
	flag, arg, usage string
}

// with gives a task's option its flag.
func with(name, flag, arg, usage string) option {
	o, ok := task.Find(name)
	if !ok {
		panic("no option " + name)
	}
	return option{o, flag, arg, usage}
}

var taskOptions = []option{
	with("working_dir", "working-dir", "DIR", "directory in which claude works (default: this one)"),
	with("model", "model", "MODEL", "sonnet, opus, haiku or a full name (default: claude's own)"),
	with("name", "name", "NAME", "name by which the task can be asked for instead of its id"),
	with("labels", "label", "LABEL", "label to list tasks by; may be repeated"),
	with("timeout", "timeout", "TIME", "deadline of each attempt: seconds, or a time like 90s, 2h or 7d; 0 is none"),
	with("skip_permissions", "skip-permissions", "", "let claude use its tools without asking (default, unless restricted otherwise); =false denies"),
	with("permission_mode", "permission-mode", "MODE", strings.Join(task.PermissionModes, ", ")),
	with("allowed_tools", "allowed-tools", "TOOL", "tool that needs no permission, like Read or 'Bash(git log:*)'; may be repeated"),
	with("disallowed_tools", "disallowed-tools", "TOOL", "tool that must not be used; may be repeated"),
	with("append_system_prompt", "append-system-prompt", "TEXT", "text that is added to claude's system prompt"),
	with("max_turns", "max-turns", "NUMBER", "turns that the task may take, all attempts together; 0 is no limit"),
	with("max_budget_usd", "max-budget-usd", "USD", "dollars that the task may cost, all attempts together; 0 is no limit"),
	with("json_schema", "json-schema", "SCHEMA", "JSON Schema that the answer must fit, or the file of one"),
	with("add_dirs", "add-dirs", "DIR", "directory that claude may work in too; may be repeated"),
	with("literal", "literal", "", "take a prompt that begins with / as text, not as a slash command"),
	with("mcp_config", "mcp-config", "FILE", "MCP servers for the task, a file or inline JSON; may be repeated"),
	with("strict_mcp_config", "strict-mcp-config", "", "load only the MCP servers of --mcp-config (default); =false also those of user and project"),
	with("max_output", "max-output", "SIZE", "most bytes of stdout or stderr; beyond them the task is stopped and fails (default 1GiB)"),
	with("resume_task_id", "resume-task-id", "ID", "go on with that task's session, in its directory unless --working-dir is given"),
	with("fork", "fork", "", "with --resume-task-id: go on with a copy of the session, which stays as it is"),
	with("on_interrupt", "on-interrupt", "WHAT", "what follows a crash: resume lets the task go on by itself, a few times (default: nothing)"),
}

// keyOption is beside them where a task is submitted.
var keyOption = option{task.KeyOption, "idempotency-key", "KEY", "a `KEY`: the same command with the same one starts nothing and gives the first one's task"}

// policyRules are the keys of [policy], by the names in task.Policy.
var policyRules = []option{
	{Option: task.Option{Name: "allowed_dirs", Kind: task.KindPaths}},
	{Option: task.Option{Name: "max_permission_mode", Words: task.PermissionModes}},
	{Option: task.Option{Name: "allow_skip_permissions", Kind: task.KindToggle}},
	{Option: task.Option{Name: "allowed_models", Kind: task.KindList}},
	{Option: task.Option{Name: "max_timeout", Kind: task.KindSeconds, Most: task.MaxTimeout.Seconds()}},
	{Option: task.Option{Name: "max_budget_usd", Kind: task.KindNumber}},
	{Option: task.Option{Name: "extra_args", Kind: task.KindList}},
}

// wants says what fits, in the ways that it can be written here.
func (o option) wants() string {
	switch o.Kind {
	case task.KindSeconds:
		return wantsSpan
	case task.KindSize:
		return fmt.Sprintf("bytes, or a size like 500MB, from %.0f to %.0f", o.Least, o.Most)
	case task.KindText, task.KindNumber, task.KindInteger, task.KindList, task.KindPaths, task.KindToggle, task.KindObject:
	}
	return o.Allowed()
}

// fit gives v, from TOML or JSON, as its option holds it.
func (o option) fit(v any) (any, bool) {
	fitted, ok := o.ofKind(v)
	return fitted, ok && o.Allows(fitted)
}

func (o option) ofKind(v any) (any, bool) {
	if n, ok := v.(int64); ok {
		v = float64(n)
	}
	isNumber := o.Kind == task.KindNumber || o.Kind == task.KindSeconds
	switch v := v.(type) {
	case string:
		return o.fitString(v)
	case float64:
		return v, isNumber || (o.Kind == task.KindInteger || o.Kind == task.KindSize) && v == math.Trunc(v)
	case bool:
		return v, o.Kind == task.KindToggle
	case []any:
		items := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, false
			}
			items = append(items, s)
		}
		return items, o.Kind == task.KindList || o.Kind == task.KindPaths
	case map[string]any:
		return v, o.Kind == task.KindObject
	}
	return nil, false
}

func (o option) fitString(s string) (any, bool) {
	switch o.Kind {
	case task.KindText:
		return s, true
	case task.KindSeconds:
		var d span
		err := d.Set(s)
		return time.Duration(d).Seconds(), err == nil
	case task.KindSize:
		n, err := parseSize(s)
		return float64(n), err == nil
	case task.KindObject:
		return json.RawMessage(s), json.Valid([]byte(s))
	case task.KindNumber, task.KindInteger, task.KindList, task.KindPaths, task.KindToggle:
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
	if f.o.Kind == task.KindToggle {
		return "bool"
	}
	return f.o.arg
}

func (f optionFlag) Set(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("want valid UTF-8") // on its way as JSON it would become another text
	}
	var v any = s
	switch f.o.Kind {
	case task.KindList, task.KindPaths:
		so, _ := f.to[f.o.Name].([]string)
		all := append(so, s)
		f.to[f.o.Name] = all
		if !f.o.Allows(all) {
			return fmt.Errorf("want %s", f.o.wants())
		}
		return nil
	case task.KindToggle:
		if b, err := strconv.ParseBool(s); err == nil {
			v = b
		}
	case task.KindNumber, task.KindInteger:
		if n, err := strconv.ParseFloat(s, 64); err == nil {
			v = n
		}
	case task.KindObject:
		var err error
		if v, err = inlineOrFile(s); err != nil {
			return err
		}
	case task.KindText, task.KindSeconds, task.KindSize:
	}
	v, ok := f.o.fit(v)
	if !ok {
		return fmt.Errorf("want %s", f.o.wants())
	}
	f.to[f.o.Name] = v
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
