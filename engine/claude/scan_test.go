package claude

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Both checks say the same of a line that nests deeply, and of none too deep for a stack.
func TestIsJSON(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		`{"a":[1,2,{"b":"\u00e4"}]}`: true, `{"a":[1,2,{"b":"\u00e"}]}`: false, `{"a":01}`: false, `{"a":1}x`: false, "{\"a\":\"\x01\"}": false,
		strings.Repeat("[", 5000) + strings.Repeat("]", 5000): true, strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20): false,
		strings.Repeat("[", 30<<20): false,
	} {
		if got := isJSON([]byte(line)); got != want || want && !json.Valid([]byte(line)) {
			t.Errorf("%.40q: %v", line, got)
		}
	}
}

// What scan reads is what encoding/json reads, of all recorded events and of those
// whose fields have other types than they should.
func TestScanReadsWhatJSONReads(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(streams, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := [][]byte{
		[]byte(`{"type":"assistant","message":{"content":"a string"},"parent_tool_use_id":null}`),
		[]byte(`{"type":"assistant","message":"a string","error":5}`),
		[]byte(`{"type":"assistant","message":{"id":7,"model":null,"content":[5,null,{"type":["text"],"text":{"a":1},"id":true},{"input":[1]},{"input":"x","text":"b\ud800c\u0000\n"}]}}`),
		[]byte("{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"\xff\"}]}}"),
		[]byte(`{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"x"}]}]}}`),
		[]byte(`[{"type":"assistant"}]`), []byte(`"assistant"`),
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, bytes.Split(data, []byte("\n"))...)
	}
	seen := 0
	for _, line := range lines {
		want := eventOf(line)
		if !bytes.HasPrefix(line, []byte("{")) || want.Type != "assistant" && want.Type != "user" {
			if kind := typeOf(line); kind != want.Type {
				t.Errorf("%.200s: type %q", line, kind)
			}
			continue
		}
		seen++
		got, m := scan(line)
		wantMessage := decodeMessage(line)
		for i := range wantMessage.Content {
			wantMessage.Content[i].Content, wantMessage.Content[i].IsError = nil, false
		}
		if typeOf(line) != want.Type || got.Parent != want.Parent || got.Error != want.Error || !reflect.DeepEqual(m, wantMessage) {
			t.Errorf("%.300s:\ngot  %+v %+v\nwant %+v %+v", line, got, m, want, wantMessage)
		}
	}
	if seen < 50 {
		t.Errorf("only %d events of %d files", seen, len(files))
	}
}
