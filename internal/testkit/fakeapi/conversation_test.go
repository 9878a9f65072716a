package fakeapi

import (
	"net/http"
	"testing"
)

// Tools that ran in parallel answer in any order; a script counts them in the
// order in which it asked.
func TestResultsInTheOrderOfTheirCalls(t *testing.T) {
	t.Parallel()
	c, err := parseConversation(http.Header{}, []byte(`{"messages":[
		{"role":"user","content":"before"},
		{"role":"assistant","content":[{"type":"tool_use","id":"old","name":"Bash","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"old","content":"x"}]},
		{"role":"user","content":"go"},
		{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"Bash","input":{}},{"type":"tool_use","id":"b","name":"Bash","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"b","content":"B"},{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"A"}]}]},
		{"role":"assistant","content":"a text is no prompt"}
	]}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Prompt != "go" || c.Turn != 2 || len(c.ToolResults) != 2 || c.ToolResults[0].Text != "A" || c.ToolResults[1].Text != "B" {
		t.Errorf("%+v", c)
	}
}
