package fakeapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Kind tells what a request to /v1/messages is for.
type Kind string

// The kinds of requests that the CLI sends.
const (
	KindMain  Kind = "main"  // a turn of the session itself
	KindAgent Kind = "agent" // a turn of a subagent inside a session
	KindSide  Kind = "side"  // the CLI's own errand: a title, a summary of a web page
)

// Conversation is what a script gets to see of a request.
type Conversation struct {
	Prompt      string       // the newest prompt, to the byte
	Turn        int          // assistant messages since that prompt
	ToolResults []ToolResult // since that prompt, in the order in which the tools were asked for
	Session     string       // the CLI's session id
	Kind        Kind
	Model       string
	System      string
	Tools       []string
	Stream      bool
	Raw         json.RawMessage // the whole body

	calls    []string // ids of the tools asked for since the prompt
	messages int      // tells a repeated request from a resumed prompt with the same words
}

// ToolResult is the outcome of a tool that an earlier turn asked for.
type ToolResult struct {
	ID      string
	Text    string
	IsError bool
}

type wireRequest struct {
	Model    string          `json:"model"`
	Stream   bool            `json:"stream"`
	System   json.RawMessage `json:"system"`
	Messages []wireMessage   `json:"messages"`
	Tools    []struct {
		Name string `json:"name"`
	} `json:"tools"`
}

type wireMessage struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

type wireBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	ID        string          `json:"id"` // of a tool_use
	ToolUseID string          `json:"tool_use_id"`
	Content   json.RawMessage `json:"content"`
	IsError   bool            `json:"is_error"`
}

func parseConversation(header http.Header, body []byte) (Conversation, error) {
	var w wireRequest
	if err := json.Unmarshal(body, &w); err != nil {
		return Conversation{}, fmt.Errorf("parse request: %w", err)
	}
	c := Conversation{
		Session: header.Get("X-Claude-Code-Session-Id"), Model: w.Model, Stream: w.Stream, Raw: body, messages: len(w.Messages),
	}
	for _, t := range w.Tools {
		c.Tools = append(c.Tools, t.Name)
	}
	var err error
	if c.System, err = flatten(w.System); err != nil {
		return c, fmt.Errorf("parse system: %w", err)
	}
	for i, m := range w.Messages {
		if err := c.add(m); err != nil {
			return c, fmt.Errorf("parse message %d: %w", i, err)
		}
	}
	// The CLI sends the results of parallel tools as they came in.
	slices.SortStableFunc(c.ToolResults, func(a, b ToolResult) int {
		return cmp.Compare(slices.Index(c.calls, a.ID), slices.Index(c.calls, b.ID))
	})
	c.Kind = kindOf(header, w)
	return c, nil
}

// kindOf recognises an errand by its missing tools: the CLI offers tools in
// every turn of a session, and none in a title or a summary.
func kindOf(header http.Header, w wireRequest) Kind {
	switch {
	case len(w.Tools) == 0:
		return KindSide
	case header.Get("X-Claude-Code-Agent-Id") != "":
		return KindAgent
	default:
		return KindMain
	}
}

// add follows the conversation by one message. A prompt forgets what came
// before it. Messages of the role system are the CLI's own.
func (c *Conversation) add(m wireMessage) error {
	switch m.Role {
	case "assistant":
		c.Turn++
	case "user":
	default:
		return nil
	}
	list, err := blocks(m.Content)
	if err != nil {
		return err
	}
	for _, b := range list {
		if err := c.addBlock(b, m.Role == "user"); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conversation) addBlock(b wireBlock, user bool) error {
	switch {
	case b.Type == "tool_result":
		text, err := flatten(b.Content)
		if err != nil {
			return err
		}
		c.ToolResults = append(c.ToolResults, ToolResult{ID: b.ToolUseID, Text: text, IsError: b.IsError})
	case b.Type == "tool_use":
		c.calls = append(c.calls, b.ID)
	case b.Type == "text" && user && !injected(b.Text):
		c.Prompt, c.Turn, c.ToolResults, c.calls = b.Text, 0, nil, nil
	}
	return nil
}

// injected tells whether the CLI itself put a text among the user's.
func injected(text string) bool {
	for _, tag := range []string{"system-reminder", "task-notification", "local-command-stdout", "local-command-caveat"} {
		if strings.HasPrefix(text, "<"+tag+">") {
			return true
		}
	}
	return strings.HasPrefix(text, "[Request interrupted by user") || strings.HasPrefix(text, "[Your previous response had no visible output")
}

// blocks reads the two forms of content: a string, or a list of blocks.
func blocks(content json.RawMessage) ([]wireBlock, error) {
	if len(content) == 0 || string(content) == "null" {
		return nil, nil
	}
	if content[0] == '"' {
		var s string
		err := json.Unmarshal(content, &s)
		return []wireBlock{{Type: "text", Text: s}}, err
	}
	var list []wireBlock
	err := json.Unmarshal(content, &list)
	return list, err
}

// flatten joins the texts of a content.
func flatten(content json.RawMessage) (string, error) {
	list, err := blocks(content)
	var b strings.Builder
	for _, x := range list {
		b.WriteString(x.Text)
	}
	return b.String(), err
}
