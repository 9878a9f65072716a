package fakeapi

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
)

// Turn is one answer of the scripted model.
type Turn struct {
	Steps []Step // played in this order
	Usage Usage  // zero: DefaultUsage
	Stop  string // stop_reason; "": tool_use if there is a tool, else end_turn
}

// Step is one part of an answer; exactly one field is set. Waits that come
// before the first content also hold back the response header.
type Step struct {
	Text  string
	Tool  *ToolUse
	Delay time.Duration
	Hold  string   // blocks until Release of this name
	Hang  bool     // blocks until the client or the server ends
	Drop  bool     // cuts the connection
	Fail  *Failure // an HTTP error in place of the answer; only before the first content
	Times int      // of Hang, Drop, Fail: only the first n tries of the turn meet it; 0: all
}

// Failure is an HTTP error.
type Failure struct {
	Status  int
	Message string        // "": one that fits the status
	After   time.Duration // the retry-after header, in whole seconds; 0: none
	Limit   bool          // the usage limit of a subscription, reset after After; the CLI must have a token
}

// ToolUse asks the CLI to run a tool.
type ToolUse struct {
	Name  string `json:"name"`
	Input any    `json:"input"`
}

// Usage is what a turn is said to have consumed, in tokens.
type Usage struct{ Input, Output int }

// DefaultUsage is the usage of a turn that names none.
var DefaultUsage = Usage{Input: 100, Output: 20}

// CostPerTurn is what CLI 2.1.330 computes for DefaultUsage with its default
// model, in US dollars.
const CostPerTurn = 0.0008

// Cost is total_cost_usd of a session with that many turns of DefaultUsage
// on the CLI's default model, up to the rounding of floats.
func Cost(turns int) float64 { return float64(turns) * CostPerTurn }

// Say is the turn that ends a run with a text.
func Say(text string) Turn { return Turn{Steps: []Step{{Text: text}}} }

// Call is the turn that asks for tools, all at once.
func Call(tools ...ToolUse) Turn {
	var t Turn
	for _, u := range tools {
		t.Steps = append(t.Steps, Step{Tool: &u})
	}
	return t
}

// Refuse is the turn that fails with an HTTP status; "" is a message that
// fits it.
func Refuse(status int, message string) Turn {
	return Turn{Steps: []Step{{Fail: &Failure{Status: status, Message: message}}}}
}

// echoLimit is the longest prompt, in bytes, that the default answer repeats.
const echoLimit = 200

// DefaultText is the answer to a prompt without directives: what arrived, so
// that a test can compare bytes without looking into the server.
func DefaultText(prompt string) string {
	sum := fmt.Sprintf("received %d bytes sha256:%x", len(prompt), sha256.Sum256([]byte(prompt)))
	if len(prompt) > echoLimit {
		return sum
	}
	return "You said: " + prompt + "\n" + sum
}

func (t Turn) stop() string {
	if t.Stop != "" {
		return t.Stop
	}
	for _, s := range t.Steps {
		if s.Tool != nil {
			return "tool_use"
		}
	}
	return "end_turn"
}

func (t Turn) usage() Usage {
	if t.Usage == (Usage{}) {
		return DefaultUsage
	}
	return t.Usage
}

// lines is a text of n numbered lines.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i+1)
	}
	return b.String()
}
