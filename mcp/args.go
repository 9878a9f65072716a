package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"cctask/engine/task"
)

// schema is the part of JSON Schema that our input schemas use. Arguments are
// checked against the very schema that the client was shown.
type schema struct {
	Type        string             `json:"type"`
	Properties  map[string]*schema `json:"properties"`
	Required    []string           `json:"required"`
	Enum        []string           `json:"enum"`
	Minimum     *float64           `json:"minimum"`
	Maximum     *float64           `json:"maximum"`
	MinLength   int                `json:"minLength"` // characters
	MaxLength   int                `json:"maxLength"` // characters; 0: no bound
	Items       *schema            `json:"items"`
	MaxItems    int                `json:"maxItems"` // 0: no bound
	Description string             `json:"description"`
}

// decode checks raw against the schema and fills dst. The error, a
// *task.Error, names each bad argument, what was given and what is allowed.
// null for an optional argument counts as absent.
func (s *schema) decode(raw json.RawMessage, dst any) error {
	given := members(raw)
	var faults []string
	for _, name := range sortedKeys(given) {
		if s.Properties[name] == nil {
			faults = append(faults, fmt.Sprintf("%s: no such argument, allowed are %s", clip(name, 60), strings.Join(sortedKeys(s.Properties), ", ")))
		}
	}
	for _, name := range sortedKeys(s.Properties) {
		p := s.Properties[name]
		value, ok := given[name]
		ok = ok && string(value) != "null"
		switch {
		case !ok && slices.Contains(s.Required, name):
			faults = append(faults, fmt.Sprintf("%s: missing, required is %s", name, p.allowed()))
		case ok && !p.fits(value):
			faults = append(faults, fmt.Sprintf("%s: given %s, allowed is %s", name, quoted(value), p.allowed()))
		}
	}
	if len(faults) > 0 {
		return badArguments(faults)
	}
	// The names are ours to the letter and the values fit, so that only an
	// argument given twice, first with a value that does not fit, can fail.
	// null leaves dst's default as it is.
	if len(raw) > 0 && json.Unmarshal(raw, dst) != nil {
		return badArguments([]string{"arguments: the same argument is given twice"})
	}
	return nil
}

func badArguments(faults []string) error {
	return &task.Error{Code: task.CodeInvalid, Message: strings.Join(faults, "; "), Hint: "Correct the arguments and call again; nothing was started or changed."}
}

func (s *schema) fits(raw json.RawMessage) bool {
	switch s.Type {
	case "string":
		var v string
		const longest = 12 // bytes of a character, written as two escapes
		if raw[0] != '"' || s.MaxLength > 0 && len(raw) > 2+longest*s.MaxLength || json.Unmarshal(raw, &v) != nil {
			return false
		}
		n := utf8.RuneCountInString(v)
		return n >= s.MinLength && (s.MaxLength == 0 || n <= s.MaxLength) && (s.Enum == nil || slices.Contains(s.Enum, v))
	case "number", "integer":
		var v float64
		if raw[0] == '"' || json.Unmarshal(raw, &v) != nil || s.Type == "integer" && v != math.Trunc(v) {
			return false
		}
		return (s.Minimum == nil || v >= *s.Minimum) && (s.Maximum == nil || v <= *s.Maximum)
	case "boolean":
		return string(raw) == "true" || string(raw) == "false"
	case "array":
		var v []json.RawMessage
		if json.Unmarshal(raw, &v) != nil || s.MaxItems > 0 && len(v) > s.MaxItems {
			return false
		}
		return !slices.ContainsFunc(v, func(item json.RawMessage) bool { return !s.Items.fits(item) })
	case "object":
		return raw[0] == '{'
	}
	return false
}

// allowed says in words what fits.
func (s *schema) allowed() string {
	switch s.Type {
	case "string":
		switch {
		case s.Enum != nil:
			return "one of " + strings.Join(s.Enum, ", ")
		case s.MaxLength > 0:
			return fmt.Sprintf("a string of %d to %d characters", s.MinLength, s.MaxLength)
		case s.MinLength > 0:
			return "a string that is not empty"
		}
		return "a string"
	case "number", "integer":
		kind := map[string]string{"number": "a number", "integer": "a whole number"}[s.Type]
		if s.Minimum != nil && s.Maximum != nil {
			return fmt.Sprintf("%s from %.0f to %.0f", kind, *s.Minimum, *s.Maximum)
		}
		return kind
	case "boolean":
		return "true or false"
	case "object":
		return "a JSON object"
	case "array":
		if s.MaxItems == 0 {
			return "a list, each item " + s.Items.allowed()
		}
		return fmt.Sprintf("a list of at most %d items, each %s", s.MaxItems, s.Items.allowed())
	}
	panic("schema of type " + s.Type) // embedded at build time
}

// quoted shows a value in a line.
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
