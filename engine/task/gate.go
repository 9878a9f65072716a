package task

import (
	"cmp"
	"time"
)

// Gate says that an account is closed: nothing of it starts, what runs goes on. From
// Until on one task goes first as a probe, and opens it for the others.
type Gate struct {
	Account string        `json:"account"`
	Reason  FailureReason `json:"reason"` // usage_limit, auth or billing
	Message string        `json:"message,omitempty"`
	By      ID            `json:"by,omitempty"`    // the task whose end closed it
	Since   time.Time     `json:"since,omitzero"`  // the first of the ends in a row
	Until   time.Time     `json:"until,omitzero"`  // by the clock on the wall
	Fails   int           `json:"fails,omitempty"` // ends in a row that told no time
	Probe   ID            `json:"probe,omitempty"`

	// Not stored; filled by the engine.
	Queued int `json:"queued"`
}

// The pauses of a gate.
const (
	GateMargin   = 2 * time.Second    // after the time that was told
	gateFarthest = 8 * 24 * time.Hour // no limit is longer than a week
)

// GateEnd is an end that closes a gate.
type GateEnd struct {
	Task    ID
	Reason  FailureReason
	Message string
	ResetAt time.Time // zero: it was not told
}

// Closed is g after an end that closes it, whether it was open before or not. Without a
// time that was told the pauses grow, from first to most.
func (g Gate) Closed(e GateEnd, now time.Time, first, most time.Duration) Gate {
	probe, closed := g.Probe == e.Task, !g.Until.IsZero()
	told := e.ResetAt.After(now)
	if closed && !probe && !told {
		return g // it ran already as the gate was closed, and tells nothing new
	}
	n := Gate{Account: g.Account, Reason: e.Reason, Message: e.Message, By: e.Task, Since: g.Since}
	if !closed {
		n.Since = now.Round(0)
	}
	if told {
		n.Until = e.ResetAt.Add(GateMargin)
		if farthest := now.Add(gateFarthest); n.Until.After(farthest) {
			n.Until = farthest
		}
	} else {
		n.Until = now.Add(min(first<<min(g.Fails, 10), most))
		n.Fails = g.Fails + 1
	}
	if closed && !probe { // of two that ran the later time holds, and the probe goes on
		n.Probe = g.Probe
		if g.Until.After(n.Until) {
			n.Until = g.Until
		}
	}
	n.Until = n.Until.Round(0)
	return n
}

// Says is why the gate is closed, in a word or two.
func (g Gate) Says() string {
	words := map[FailureReason]string{ReasonAuth: "login refused", ReasonBilling: "no credit"}
	return cmp.Or(words[g.Reason], "usage limit")
}
