package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cctask/engine/task"
)

// input is a row of the arguments of a tool: what is allowed, and what a
// model is told of it. It is not told of bounds: each word of a schema is paid
// for in every session, and a refusal names the bound.
type input struct {
	task.Option
	required bool
	only     string // the one tool that shows it; the others take it without a word
	as       string // the tool where a long text stands: in the others it is referred to
}

// rareName is the argument that holds the options that few tasks need.
const rareName = "options"

// longText is how many characters of a text are said by each tool.
const longText = 62

// inputs are the arguments of a tool, in the order in which they are shown.
type inputs []input

func (as inputs) schema(tool string) json.RawMessage {
	type property struct {
		Type        string         `json:"type"`
		Enum        []string       `json:"enum,omitempty"`
		Items       map[string]any `json:"items,omitempty"`
		Default     any            `json:"default,omitempty"`
		Description string         `json:"description"`
	}
	var b bytes.Buffer
	var required, rare []string
	for _, a := range as {
		if a.Rare {
			rare = append(rare, strings.TrimSuffix(a.Name+" ("+a.Says+")", " ()"))
			continue
		}
		if a.Name == rareName {
			a.Says += strings.Join(rare, ", ") + "."
		}
		if a.only != "" && a.only != tool {
			continue
		}
		if a.as != "" && a.as != tool && len(a.Says) > longText {
			a.Says = "As in " + a.as + "."
		}
		p := property{Type: jsonTypes[a.Kind], Enum: a.Words, Default: a.Usual, Description: a.Says}
		if p.Type == "array" {
			p.Items, p.Enum = map[string]any{"type": "string"}, nil
			if a.Kind == task.KindObjects {
				p.Items["type"] = "object"
			}
			if a.Words != nil {
				p.Items["enum"] = a.Words
			}
		}
		text, err := encode(p)
		if err != nil {
			panic(err) // a table of ours
		}
		fmt.Fprintf(&b, ",%q:%s", a.Name, text)
		if a.required {
			required = append(required, a.Name)
		}
	}
	demand := ""
	if required != nil {
		demand = fmt.Sprintf(`,"required":["%s"]`, strings.Join(required, `","`))
	}
	return json.RawMessage(`{"type":"object","properties":{` + b.String()[1:] + "}" + demand + `,"additionalProperties":false}`)
}

var jsonTypes = map[task.Kind]string{
	task.KindText: "string", task.KindPath: "string", task.KindNumber: "number", task.KindSeconds: "number", task.KindInteger: "integer", task.KindSize: "integer",
	task.KindList: "array", task.KindPaths: "array", task.KindToggle: "boolean", task.KindObject: "object", task.KindVars: "object", task.KindObjects: "array",
}

// decode checks raw and fills dst. The error, a *task.Error, names each bad
// argument, what was given and what is allowed. It gives the arguments as they
// are meant: without those that were left out in a roundabout way, as null or
// blank, and without the quotes that some clients put around every value.
func (as inputs) decode(raw json.RawMessage, dst any) (map[string]json.RawMessage, error) {
	given := members(raw)
	faults, clean := as.lift(given)
	clean = clean && len(raw) > 0
	for _, name := range sortedKeys(given) {
		if !slices.ContainsFunc(as, func(a input) bool { return a.Name == name }) {
			faults = append(faults, as.unknown(name))
		}
	}
	for _, a := range as {
		value, ok := given[a.Name]
		switch meant := meaning(a.Option, value); {
		case a.Name == rareName:
		case !ok || string(value) == "null" || meant == nil && !a.required:
			if a.required {
				faults = append(faults, fmt.Sprintf("%s: missing, required is %s", a.Name, a.Allowed()))
			}
			clean = clean && !ok
			delete(given, a.Name)
		case !fits(a.Option, meant):
			shown := quoted(value)
			if a.Kind == task.KindVars {
				shown = "something else" // a value may be a secret
			}
			faults = append(faults, fmt.Sprintf("%s: given %s, allowed is %s", a.Name, shown, a.Allowed()))
		case &meant[0] != &value[0]:
			given[a.Name], clean = meant, false
		}
	}
	if len(faults) > 0 {
		slices.Sort(faults)
		return nil, badArguments(faults)
	}
	if !clean {
		var err error
		if raw, err = encode(given); err != nil {
			return nil, fmt.Errorf("read the arguments: %w", err)
		}
	}
	// The names are ours to the letter and the values fit, so that only an
	// argument given twice, first with a value that does not fit, can fail.
	if json.Unmarshal(raw, dst) != nil {
		return nil, badArguments([]string{"arguments: the same argument is given twice"})
	}
	return given, nil
}

// lift takes the rare options out of the argument that holds them. They may stand
// beside it too.
func (as inputs) lift(given map[string]json.RawMessage) (faults []string, clean bool) {
	i := slices.IndexFunc(as, func(a input) bool { return a.Name == rareName })
	raw, ok := given[rareName]
	if i < 0 || !ok {
		return nil, true
	}
	delete(given, rareName)
	held := meaning(as[i].Option, raw)
	if string(held) == "null" {
		return nil, false
	}
	if !fits(as[i].Option, held) {
		return []string{fmt.Sprintf("%s: given %s, allowed is %s", rareName, quoted(raw), as[i].Allowed())}, false
	}
	rest := members(held)
	for _, name := range sortedKeys(rest) {
		switch _, twice := given[name]; {
		case twice:
			faults = append(faults, fmt.Sprintf("%s: %s stands beside it too", rareName, clip(name, 60)))
		default:
			given[name] = rest[name]
		}
	}
	return faults, false
}

func (as inputs) unknown(name string) string {
	if name == manyName {
		return name + ": only start_cc_task_async takes several"
	}
	names := make([]string, len(as))
	for i, a := range as {
		names[i] = a.Name
	}
	if near := task.Nearest(name, names); near != "" {
		return fmt.Sprintf("%s: no such argument, the nearest is %s", clip(name, 60), near)
	}
	slices.Sort(names)
	return fmt.Sprintf("%s: no such argument, allowed are %s", clip(name, 60), strings.Join(names, ", "))
}

func badArguments(faults []string) error {
	return &task.Error{Code: task.CodeInvalid, Message: strings.Join(faults, "; "), Hint: "Correct the arguments and call again; nothing was started or changed."}
}

// meaning is what the client means by raw: nil, none, by a blank where that is
// the same; what is inside of the quotes, where it put the JSON of a number, a
// list and so on into a string, which no model can mend; else raw.
func meaning(o task.Option, raw json.RawMessage) json.RawMessage {
	var text string
	if len(raw) == 0 {
		return nil
	}
	isText := raw[0] == '"'
	if isText && !o.IsText() && json.Unmarshal(raw, &text) == nil {
		inner := bytes.TrimSpace([]byte(text))
		if deep, values := shape(inner); deep <= maxDepth && values <= maxValues && json.Valid(inner) && inner[0] != '"' && ofKind(o, inner) {
			raw = inner
		}
	}
	if o.BlankIsNone && slices.Contains([]string{`""`, "[]", "{}"}, string(raw)) {
		return nil
	}
	return raw
}

func fits(o task.Option, raw json.RawMessage) bool {
	v, ok := o.Of(raw)
	return ok && o.Allows(v)
}

func ofKind(o task.Option, raw json.RawMessage) bool {
	_, ok := o.Of(raw)
	return ok
}

func quoted(raw json.RawMessage) string {
	return clip(string(plainHTML(bytes.Clone(raw[:min(len(raw), 1000)]))), 80)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
