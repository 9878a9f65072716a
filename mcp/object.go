package mcp

import (
	"bytes"
	"encoding/json"
)

// members gives the members of an object as they are written, without a copy:
// encoding/json makes one at each level, and a message may be 16 MiB. The last
// of two with the same name counts. It is nil if text is no object. text must
// be valid JSON.
func members(text []byte) map[string]json.RawMessage {
	const space = " \t\r\n"
	text = bytes.TrimLeft(text, space)
	if len(text) == 0 || text[0] != '{' {
		return nil
	}
	all := map[string]json.RawMessage{}
	for text = text[1:]; ; {
		text = bytes.TrimLeft(text, space+",")
		if text[0] == '}' {
			return all
		}
		name, rest := cutValue(text)
		value, rest := cutValue(bytes.TrimLeft(rest, space+":"))
		all[unquote(name)] = value
		text = rest
	}
}

// cutValue cuts valid JSON behind the value that it begins with.
func cutValue(text []byte) (value, rest []byte) {
	level := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			if level == 0 {
				return text[: i+1 : i+1], text[i+1:]
			}
		case '{', '[':
			level++
		case '}', ']', ',', ' ', '\t', '\r', '\n':
			if level == 0 { // behind a number or a word
				return text[:i:i], text[i:]
			}
			if text[i] == '}' || text[i] == ']' {
				if level--; level == 0 {
					return text[: i+1 : i+1], text[i+1:]
				}
			}
		}
	}
	return text, nil
}

func unquote(name []byte) (s string) {
	_ = json.Unmarshal(name, &s)
	return s
}

// shape is how deep brackets are nested in text, and how many values it has at
// least, strings not looked into.
func shape(text []byte) (deepest, values int) {
	level, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		case c == ',':
			values++
		}
	}
	return deepest, values
}
