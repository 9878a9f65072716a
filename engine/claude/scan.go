package claude

import (
	"bytes"
	"encoding/json"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"

	"cctask/engine/task"
)

// scan reads what the parser needs of an assistant or user event, which are most of
// claude's bytes. encoding/json would look at each byte six times, twice for every level that
// reads itself; a long answer cost its owner four times what it takes to pack it. line
// must be valid JSON: gjson asks nothing.
func scan(line []byte) (ev *event, m message) {
	ev = &event{}
	members(whole(line), func(key string, v gjson.Result) {
		switch key {
		case "parent_tool_use_id":
			ev.Parent = text(v)
		case "error":
			ev.Error = text(v)
		case "message":
			m = messageOf(v)
		}
	})
	return ev, m
}

// isJSON tells whether a line is JSON. gjson's check is four times as fast as that of
// encoding/json, and calls itself for each level: a line that may have many goes to the other.
func isJSON(line []byte) bool {
	const levels = 1000
	if bytes.Count(line, []byte("{"))+bytes.Count(line, []byte("[")) < levels {
		return gjson.ValidBytes(line)
	}
	return json.Valid(line)
}

// typeOf is the type of a line that is valid JSON; "" if it is no event.
func typeOf(line []byte) string { return text(whole(line).Get("type")) }

// whole is a line without a copy: what is taken out of it is copied by text.
func whole(line []byte) gjson.Result {
	return gjson.Parse(unsafe.String(unsafe.SliceData(line), len(line)))
}

func members(v gjson.Result, f func(key string, v gjson.Result)) {
	if v.IsObject() {
		v.ForEach(func(key, v gjson.Result) bool { f(key.Str, v); return true })
	}
}

func text(v gjson.Result) string {
	if v.Type != gjson.String {
		return ""
	}
	return strings.Clone(strings.ToValidUTF8(v.Str, "\uFFFD"))
}

func messageOf(v gjson.Result) (m message) {
	members(v, func(key string, v gjson.Result) {
		switch {
		case key == "id":
			m.ID = text(v)
		case key == "model":
			m.Model = text(v)
		case key == "usage":
			n := func(of string) int64 { return v.Get(of).Int() }
			m.Usage = task.Usage{
				InputTokens: n("input_tokens"), OutputTokens: n("output_tokens"),
				CacheCreationTokens: n("cache_creation_input_tokens"), CacheReadTokens: n("cache_read_input_tokens"),
			}
		case key == "content" && v.Type == gjson.String:
			m.Content = blocks{{Type: "text", Text: text(v)}}
		case key == "content" && v.IsArray():
			m.Content = nil
			v.ForEach(func(_, v gjson.Result) bool { m.Content = append(m.Content, blockOf(v)); return true })
		}
	})
	return m
}

func blockOf(v gjson.Result) (b block) {
	input := ""
	members(v, func(key string, v gjson.Result) {
		switch key {
		case "type":
			b.Type = text(v)
		case "id":
			b.ID = text(v)
		case "tool_use_id":
			b.ToolUseID = text(v)
		case "text":
			b.Text = text(v)
		case "name":
			b.Name = text(v)
		case "input":
			input = v.Raw
		}
	})
	if input != "" {
		_ = b.Input.UnmarshalJSON([]byte(input)) // it never fails
	}
	return b
}
