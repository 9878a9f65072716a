package task

import (
	"cmp"
	"path/filepath"
	"strings"
	"time"
)

// WaitingFor is why a queued task does not run yet.
type WaitingFor string

// The reasons, in the order in which they are looked at: the first that holds is shown.
const (
	WaitHeld          WaitingFor = "held"           // a person holds it
	WaitStartAt       WaitingFor = "start_at"       // its own start time has not come
	WaitRetryAt       WaitingFor = "retry_at"       // the pause before a retry
	WaitDependency    WaitingFor = "dependency"     // another task has not ended
	WaitUsageLimit    WaitingFor = "usage_limit"    // the account's gate is closed
	WaitBudget        WaitingFor = "budget"         // a budget is spent
	WaitGroupPaused   WaitingFor = "group_paused"   // a person paused the group
	WaitPolicy        WaitingFor = "policy"         // the settings file cannot be read
	WaitDirectory     WaitingFor = "directory"      // another task has the directory for itself
	WaitClaudeMissing WaitingFor = "claude_missing" // the claude binary is not there for the moment
	WaitSite          WaitingFor = "site"           // the site is full or silent
	WaitGroupSlot     WaitingFor = "group_slot"     // as many of the group run as may
	WaitSlot          WaitingFor = "slot"           // as many tasks run as may
	WaitStartingUp    WaitingFor = "starting_up"    // it is next, when the machine has started the ones before
)

var WaitingFors = []WaitingFor{
	WaitHeld, WaitStartAt, WaitRetryAt, WaitDependency, WaitUsageLimit, WaitBudget, WaitGroupPaused, WaitPolicy,
	WaitDirectory, WaitClaudeMissing, WaitSite, WaitGroupSlot, WaitSlot, WaitStartingUp,
}

// Waiting is why, until when and on what a queued task waits.
type Waiting struct {
	For   WaitingFor `json:"for,omitempty"`
	Until time.Time  `json:"until,omitzero"` // zero: nobody knows
	On    []string   `json:"on,omitempty"`   // ids of tasks, or names of what For speaks of
	// Names are what people call the tasks in On.
	Names []string `json:"names,omitempty"`
}

// Words say it to people, in this place's time; "" for a task that only waits for its turn.
func (w Waiting) Words(now time.Time) string {
	on := strings.Join(w.Names, ", ")
	if on == "" {
		on = strings.Join(w.On, ", ")
	}
	until := ""
	if !w.Until.IsZero() {
		until = " until " + clockTime(w.Until, now)
	}
	switch w.For {
	case WaitHeld:
		return "held"
	case WaitStartAt:
		return "starts at " + clockTime(w.Until, now)
	case WaitRetryAt:
		return "tries again at " + clockTime(w.Until, now)
	case WaitDependency:
		return "waits for " + on
	case WaitUsageLimit:
		return cmp.Or(strings.Join(w.Names, ", "), "usage limit") + until
	case WaitBudget:
		return "budget " + on + " is spent" + until + "; " + RaiseBudget
	case WaitGroupPaused:
		if on == "" {
			return "the queue is paused"
		}
		return "group " + on + " is paused"
	case WaitPolicy:
		return "the settings file cannot be read"
	case WaitDirectory:
		if filepath.IsAbs(on) { // several others have parts of it
			return "directory in use below " + on
		}
		return "directory in use by " + on
	case WaitClaudeMissing:
		return "claude is not there: " + on
	case WaitSite:
		return strings.TrimSpace("no room "+on) + until
	case WaitGroupSlot:
		return "group " + on + " is full"
	case WaitSlot, WaitStartingUp:
	}
	return ""
}

// clockTime is a moment as of this place, without its date if that is today's.
func clockTime(at, now time.Time) string {
	at, now = at.Local(), now.Local()
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return at.Format("15:04")
	}
	return at.Format("2006-01-02 15:04")
}
