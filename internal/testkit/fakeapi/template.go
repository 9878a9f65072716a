package fakeapi

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

const templateOpen = "${result."

// fill replaces ${result.N} and ${result.N.field...} in everything that a
// turn is going to say.
func (t Turn) fill(results []ToolResult) (Turn, error) {
	steps := make([]Step, len(t.Steps))
	for i, s := range t.Steps {
		var err error
		if s.Text, err = fillText(s.Text, results); err != nil {
			return t, err
		}
		if s.Tool != nil {
			input, err := fillAny(s.Tool.Input, results)
			if err != nil {
				return t, err
			}
			s.Tool = &ToolUse{Name: s.Tool.Name, Input: input}
		}
		steps[i] = s
	}
	t.Steps = steps
	return t, nil
}

// fillAny goes down to the strings of a decoded JSON value. Other values, such
// as a script's own structs, have no templates.
func fillAny(v any, results []ToolResult) (any, error) {
	switch v := v.(type) {
	case string:
		return fillText(v, results)
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			var err error
			if out[i], err = fillAny(x, results); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			var err error
			if out[k], err = fillAny(x, results); err != nil {
				return nil, err
			}
		}
		return out, nil
	default:
		return v, nil
	}
}

func fillText(s string, results []ToolResult) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, templateOpen)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		path, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", fmt.Errorf("template %s%.40s has no end", templateOpen, rest)
		}
		value, err := lookup(strings.Split(path, "."), results)
		if err != nil {
			return "", fmt.Errorf("template %s%s}: %w", templateOpen, path, err)
		}
		b.WriteString(value)
		s = after
	}
}

// lookup follows a path: the number of a tool result, then fields and indexes
// of its JSON.
func lookup(path []string, results []ToolResult) (string, error) {
	n, err := strconv.Atoi(path[0])
	if err != nil || n < 0 || n >= len(results) {
		return "", fmt.Errorf("there are %d tool results", len(results))
	}
	text := results[n].Text
	if len(path) == 1 {
		return text, nil
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return "", fmt.Errorf("the tool result is not JSON but %.200q", text)
	}
	for _, key := range path[1:] {
		next, ok := child(v, key)
		if !ok {
			return "", fmt.Errorf("no %q in %.200q", key, text)
		}
		v = next
	}
	if s, ok := v.(string); ok {
		return s, nil
	}
	out, err := json.Marshal(v)
	return string(out), err
}

func child(v any, key string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		x, ok := v[key]
		return x, ok
	case []any:
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(v) {
			return nil, false
		}
		return v[i], true
	default:
		return nil, false
	}
}
