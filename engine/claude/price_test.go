package claude

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"cctask/engine/task"
)

// The estimate of a run that has no result yet is what its result would say, but for
// the output, of which the events say little.
func TestEstimateIsWhatTheResultSays(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tool", "denied", "background", "subagent"} {
		out, _ := record(t, name)
		p := NewParser()
		for line := range strings.Lines(string(out)) {
			before, billed := Prices{}.Estimate(p.Unbilled()), p.Progress().CostUSD
			if _, err := p.Write([]byte(line)); err != nil {
				t.Fatal(err)
			}
			if cost := p.Progress().CostUSD - billed; cost > 0 && (before < cost*0.6 || before > cost*1.2) {
				t.Errorf("%s: estimated %.6f, billed %.6f", name, before, cost)
			}
		}
		if left := (Prices{}).Estimate(p.Unbilled()); left != 0 {
			t.Errorf("%s: %.6f is not billed at the end", name, left)
		}
	}
}

// The blocks of one message are events of their own; its input is paid once.
func TestEachMessageIsPaidOnce(t *testing.T) {
	t.Parallel()
	p := NewParser()
	block := func(id, text string) {
		line := fmt.Sprintf(`{"type":"assistant","message":{"id":%q,"model":"claude-sonnet","content":[{"type":"text","text":%q}],"usage":{"input_tokens":1000,"output_tokens":1}}}`+"\n", id, text)
		if _, err := p.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	block("a", "x")
	block("a", "y")
	if u := p.Unbilled()["claude-sonnet"]; u != (task.Usage{InputTokens: 1000, OutputTokens: 1}) {
		t.Errorf("%+v", u)
	}
	block("b", strings.Repeat("z", 4*1000))
	if u := p.Unbilled()["claude-sonnet"]; u.InputTokens != 2000 || u.OutputTokens < 1000 || u.OutputTokens > 1100 {
		t.Errorf("%+v", u)
	}
}

// A short call of a tool is estimated at about what the API bills for it.
func TestShortOutputIsEstimated(t *testing.T) {
	t.Parallel()
	p := NewParser()
	for id := range 3 {
		line := fmt.Sprintf(`{"type":"assistant","message":{"id":"msg_%d","model":"claude-opus","content":[{"type":"tool_use","id":"toolu_01","name":"Bash","input":{"command":"true","description":"run a scripted command"}}],"usage":{"input_tokens":100,"output_tokens":1}}}`+"\n", id)
		if _, err := p.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if usd := (Prices{}).Estimate(p.Unbilled()); usd < 3*0.0008*0.85 || usd > 3*0.0008*1.1 {
		t.Errorf("three calls of $0.0008 are estimated at $%v", usd)
	}
}

func TestPricesAreLearned(t *testing.T) {
	t.Parallel()
	p := Prices{}
	used := map[string]task.Usage{"new": {InputTokens: 1e6, OutputTokens: 1e6}}
	if usd := p.Estimate(used); usd != 24 {
		t.Errorf("an unknown model: %v", usd)
	}
	p.Learn(map[string]Billed{"new": {Input: 1000, Output: 1000, USD: 0.24}, "none": {}})
	if usd := p.Estimate(used); math.Abs(usd-240) > 1e-6 {
		t.Errorf("learned: %v", usd)
	}
}
