package mcp

import (
	"encoding/json"
	"maps"
	"testing"
)

// FuzzMembers: an object is taken apart as encoding/json does it.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : 1 , "b":[1,{"c":"}\""}] ,"\u0061":null}`, `{"a":"\\","b":-1e5}`, `{"":{}}`, `[]`, `null`, `"{"`, `{"a":true}`, "\n{\"a\":\"\\\"}\"\r}\t", "{\"\xff\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		var want map[string]json.RawMessage
		_ = json.Unmarshal(text, &want)
		if got := members(text); (got == nil) != (want == nil) || !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	})
}
