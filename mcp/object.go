package mcp

import (
	"encoding/json"
	"unsafe"

	"github.com/tidwall/gjson"
)

// members gives the members of an object as they are written, without a copy:
// encoding/json makes one at each level, and a message may be 16 MiB. The last
// of two with the same name counts. It is nil if text is no object. text must
// be valid JSON.
func members(text []byte) map[string]json.RawMessage {
	object := gjson.Parse(unsafe.String(unsafe.SliceData(text), len(text)))
	if !object.IsObject() {
		return nil
	}
	all := map[string]json.RawMessage{}
	object.ForEach(func(name, value gjson.Result) bool {
		var key string
		_ = json.Unmarshal([]byte(name.Raw), &key) // which mends what is not UTF-8
		all[key] = text[value.Index : value.Index+len(value.Raw) : value.Index+len(value.Raw)]
		return true
	})
	return all
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
