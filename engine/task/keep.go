package task

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// KeepPolicy says which ended tasks may go. Zero fields keep for ever.
type KeepPolicy struct {
	Age   time.Duration // since the end
	Count int           // ended tasks kept
	Size  int64         // bytes of prompts, answers and outputs kept, as stored
}

// Expiry is an ended task that a rule of the policy lets go.
type Expiry struct {
	ID   ID
	Rule string // the setting, as "keep-age=30d"
}

// Doom is what a policy would delete at one moment, if it ran to its end.
type Doom struct {
	Expired int            `json:"expired"`
	Ended   int            `json:"ended"`  // all tasks that have ended
	Rules   map[string]int `json:"rules"`  // how many each rule lets go
	Newest  time.Time      `json:"newest"` // the last time that any record tells
}

// String says how many of how many, and under which settings.
func (d Doom) String() string {
	var under []string
	for _, rule := range slices.Sorted(maps.Keys(d.Rules)) {
		under = append(under, fmt.Sprintf("%d under %s", d.Rules[rule], rule))
	}
	return fmt.Sprintf("%d of %d ended tasks (%s)", d.Expired, d.Ended, strings.Join(under, ", "))
}

// Covers tells whether a later pass lets tasks go by no other rule: that of a
// setting which was changed since is another accident.
func (d Doom) Covers(later Doom) bool {
	for rule := range later.Rules {
		if d.Rules[rule] == 0 {
			return false
		}
	}
	return true
}

// HoldTime is how long a suspicious pass of the retention waits, so that a
// person can look at the clock and the settings.
const HoldTime = 24 * time.Hour

// farBefore is how long before now the newest record lies when the clock is
// doubted rather than the person's diligence.
const farBefore = 7 * 24 * time.Hour

// Suspicious says why a pass that would delete so much waits; "": it need not.
func (d Doom) Suspicious(now time.Time) string {
	switch {
	case d.Expired == 0:
		return ""
	case now.Sub(d.Newest) > farBefore:
		return "the newest record is of " + d.Newest.Local().Format(time.DateTime) + ": is the clock right?"
	case 2*d.Expired > d.Ended:
		return "more than half at once"
	}
	return ""
}

// Hold is a pass of the retention that waits; the zero Hold is none.
type Hold struct {
	Since time.Time `json:"since"`
	Doom  Doom      `json:"doom"`
	Why   string    `json:"why"`
}

// Until is when it no longer waits.
func (h Hold) Until() time.Time { return h.Since.Add(HoldTime) }

func (h Hold) String() string {
	if h.Since.IsZero() {
		return ""
	}
	return fmt.Sprintf("the retention waits until %s before it deletes %s: %s; keep_age = \"0\", keep_count and keep_size in the settings file keep them, after `cctask daemon stop`",
		h.Until().Local().Format(time.DateTime), h.Doom, h.Why)
}
