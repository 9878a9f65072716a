package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/mcp"
)

// kept is a Service that keeps the last submission, which has passed all checks.
type kept struct {
	engine.Service
	spec *task.Spec
}

var errKept = errors.New("kept")

func (k *kept) Submit(_ context.Context, s engine.Submission) (task.Task, error) {
	k.spec = &s.Spec
	return task.Task{}, errKept
}

// doors are the ways by which an option comes in: each gives the specification
// that a value makes of it, or why it is refused.
var doors = map[string]func(t *testing.T, o task.Option, v any) (task.Spec, error){
	"flag": func(t *testing.T, o task.Option, v any) (task.Spec, error) {
		texts := []string{fmt.Sprint(v)}
		switch v := v.(type) {
		case []string:
			texts = v
		case float64:
			texts = []string{strconv.FormatFloat(v, 'f', -1, 64)}
		case json.RawMessage:
			texts = []string{string(v)}
		case map[string]string:
			texts = nil
			for name, value := range v {
				texts = append(texts, name+"="+value)
			}
		}
		f, cmd := taskFlags{}, &cobra.Command{}
		f.register(cmd)
		if o.Name == "fork" {
			texts = append(texts, "--resume-task-id=x")
		}
		var args []string
		for _, text := range texts {
			if !strings.HasPrefix(text, "--") {
				text = "--" + o.FlagName() + "=" + text
			}
			args = append(args, text)
		}
		if len(texts) == 0 {
			args = []string{"--" + o.FlagName() + "="}
		}
		if err := cmd.ParseFlags(args); err != nil {
			return task.Spec{}, err
		}
		return made(f.options)
	},
	"[defaults]": func(t *testing.T, o task.Option, v any) (task.Spec, error) {
		text := fmt.Sprint(v)
		switch v := v.(type) {
		case string:
			text = strconv.Quote(v)
		case json.RawMessage:
			text = strconv.Quote(string(v))
		case []string:
			b, _ := json.Marshal(v)
			text = string(b)
		case map[string]string:
			text = "{}"
			for name, value := range v {
				text = fmt.Sprintf("{%q = %q}", name, value)
			}
		case float64:
			text = strconv.FormatFloat(v, 'f', -1, 64)
		}
		a, _ := withConfig(t, "[defaults]\n"+o.Name+" = "+text+"\n", nil)
		s, err := a.settings()
		if err != nil {
			return task.Spec{}, err
		}
		return made(s.File.Defaults)
	},
	"--each": func(t *testing.T, o task.Option, v any) (task.Spec, error) {
		e := &each{Caller: engine.Caller{WorkingDir: "/", Claude: "/bin/sh"}, file: "f", keys: map[string]int{}}
		if err := e.specification(1, arguments1(o, v)); err != nil {
			return task.Spec{}, err
		}
		return e.subs[0].Spec, nil
	},
	"MCP": func(t *testing.T, o task.Option, v any) (task.Spec, error) { return called(t, arguments1(o, v)) },
	"MCP, held by options": func(t *testing.T, o task.Option, v any) (task.Spec, error) {
		held := strings.Replace(arguments1(o, v), `"prompt":"x"`, `"idempotency_key":null`, 1)
		return called(t, `{"prompt":"x","options":`+held+`}`)
	},
}

// called is what a call of a tool submits.
func called(t *testing.T, arguments string) (task.Spec, error) {
	k := &kept{}
	s := mcp.New(mcp.Config{Service: k, Defaults: func() (engine.Caller, error) { return engine.Caller{WorkingDir: "/", Claude: "/bin/sh"}, nil }})
	call := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"start_cc_task_async","arguments":%s}}`, arguments)
	var out bytes.Buffer
	if err := s.Serve(t.Context(), strings.NewReader(call+"\n"), &out); err != nil {
		t.Fatal(err)
	}
	if k.spec == nil {
		return task.Spec{}, errors.New(out.String())
	}
	return *k.spec, nil
}

// arguments1 is a JSON object with one option, and what it needs.
func arguments1(o task.Option, v any) string {
	all := map[string]any{"prompt": "x", o.Name: v}
	if o.Name == "fork" {
		all["resume_task_id"] = "x"
	}
	b, _ := json.Marshal(all)
	return string(b)
}

func made(options task.Draft) (task.Spec, error) {
	m := engine.Caller{WorkingDir: "/", Claude: "/bin/sh", Defaults: options}
	sub, err := m.Submission("x", "", task.Draft{})
	return sub.Spec, err
}

// edges are values of an option at its bounds, and beyond them.
func edges(o task.Option) (good, bad []any) {
	text := func(n int) string { return "/" + strings.Repeat("a", max(0, n-1)) }
	switch o.Kind {
	case task.KindText, task.KindPath:
		bad = append(bad, "")
		if o.Words != nil {
			for _, w := range o.Words {
				good = append(good, w)
			}
			return good, append(bad, "nope", o.Words[0]+" ")
		}
		longest := text(o.Chars)
		switch o.Name {
		case "working_dir":
			longest = "/" // it has to be there
		case "start_at":
			longest = "2099-01-01T06:00:00Z"
		case "settings":
			longest = "{}"
		case "fallback_model":
			longest = strings.Repeat("a", 128) + "," + strings.Repeat("b", 128)
		}
		return append(good, longest), append(bad, text(o.Chars+1))
	case task.KindNumber, task.KindSeconds, task.KindInteger, task.KindSize:
		good, bad = append(good, o.Most, o.Least), append(bad, o.Least-1, o.Most+1, 1e300)
		if o.Kind == task.KindInteger || o.Kind == task.KindSize {
			bad = append(bad, 1.5)
		}
		return good, bad
	case task.KindList, task.KindPaths:
		items := func(n int, item string) []string { return slices.Repeat([]string{item}, n) }
		item := text(o.Chars)
		if o.Name == "mcp_config" || o.Kind == task.KindPaths {
			item = "/" // it has to be there
		}
		if o.Words != nil {
			return append(good, o.Words[:1], o.Words[:2]), append(bad, []string{"nope"}, items(o.Items+1, o.Words[0]))
		}
		return append(good, items(o.Items, "/"), []string{item}), append(bad, items(0, ""), items(o.Items+1, "/"), []string{"a", ""}, []string{text(o.Chars + 1)})
	case task.KindObjects: // no option of a task
	case task.KindToggle:
		return append(good, true, false), append(bad, "yes")
	case task.KindVars:
		return append(good, map[string]string{"A": "b"}), append(bad, map[string]string{}, map[string]string{"A B": "c"}, map[string]string{"A": strings.Repeat("a", o.Chars+1)})
	case task.KindObject:
		return append(good, json.RawMessage(`{"type":"object"}`)), append(bad, json.RawMessage(`[1]`))
	}
	return nil, nil
}

// Every option is held to the same bounds by every door, and means the same.
func TestEveryOptionByEveryDoor(t *testing.T) {
	for _, o := range task.Options {
		good, bad := edges(o)
		for _, door := range slices.Sorted(maps.Keys(doors)) {
			if o.One && door == "[defaults]" {
				continue
			}
			for _, v := range good {
				spec, err := doors[door](t, o, v)
				want, err1 := doors["--each"](t, o, v)
				if err != nil && !refusedElsewhere(err) || err1 == nil && err == nil && shown(spec) != shown(want) {
					t.Errorf("%s by %s: %.60v gives %.200s, %v; by --each %.200s", o.Name, door, v, shown(spec), err, shown(want))
				}
			}
			for _, v := range bad {
				if strings.HasPrefix(door, "MCP") && o.BlankIsNone && slices.Contains([]string{"", "[]", "map[]"}, fmt.Sprint(v)) {
					continue // none
				}
				if _, err := doors[door](t, o, v); err == nil || refusedElsewhere(err) && o.Kind != task.KindObject {
					t.Errorf("%s by %s: %.60v is not refused: %v", o.Name, door, v, err)
				}
			}
		}
	}
}

// refusedElsewhere tells whether a refusal is about files, which the bounds are not.
func refusedElsewhere(err error) bool {
	return strings.Contains(err.Error(), "no such file") || strings.Contains(err.Error(), "does not exist") || strings.Contains(err.Error(), "mcp_config: /")
}

func shown(s task.Spec) string {
	b, _ := json.Marshal(s)
	return string(b)
}
