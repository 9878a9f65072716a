package engine

import (
	"testing"

	"cctask/engine/task"
)

// row is one line of the recovery table in ARCHITECTURE.md; a nil field is any.
type row struct {
	name                                                 string
	recorded, earlier, dir, alive, intent, final, cancel *bool
	statuses                                             []task.Status
	want                                                 action
}

var yes, no = ptr(true), ptr(false)

func ptr(b bool) *bool { return &b }

var (
	idle  = []task.Status{task.Queued, task.Completed, task.Failed, task.Timeout, task.Cancelled, task.Interrupted}
	ended = idle[1:]
	live  = []task.Status{task.Starting, task.Running}
)

var recoveryTable = []row{
	{name: "no record", recorded: no, dir: yes, want: doSetAside},
	{name: "of an earlier attempt", recorded: yes, earlier: yes, dir: yes, want: doSeal},
	{name: "nothing there", recorded: yes, earlier: no, dir: no, statuses: idle, want: doNothing},
	{name: "claimed, no directory", recorded: yes, earlier: no, dir: no, statuses: live[:1], want: doRequeue},
	{name: "ran, no directory", recorded: yes, earlier: no, dir: no, statuses: live[1:], want: doInterrupt},
	{name: "claimed, no intent", recorded: yes, earlier: no, dir: yes, alive: no, intent: no, statuses: live[:1], want: doRequeue},
	{name: "live runner", recorded: yes, earlier: no, dir: yes, alive: yes, cancel: no, statuses: live, want: doFollow},
	{name: "live runner, cancel requested", recorded: yes, earlier: no, dir: yes, alive: yes, cancel: yes, statuses: live, want: doStop},
	{name: "ended or died after the intent", recorded: yes, earlier: no, dir: yes, alive: no, intent: yes, statuses: live, want: doFollow},
	{name: "running without an intent: a torn record", recorded: yes, earlier: no, dir: yes, alive: no, intent: no, statuses: live[1:], want: doFollow},
	{name: "queued, unused directory", recorded: yes, earlier: no, dir: yes, alive: no, intent: no, statuses: idle[:1], want: doDiscard},
	{name: "queued, used or live directory", recorded: yes, earlier: no, dir: yes, intent: yes, statuses: idle[:1], want: doSeal},
	{name: "queued, live directory", recorded: yes, earlier: no, dir: yes, alive: yes, intent: no, statuses: idle[:1], want: doSeal},
	{name: "done", recorded: yes, earlier: no, dir: yes, statuses: ended, want: doSeal},
}

func (r row) matches(f facts) bool {
	for want, got := range map[**bool]bool{
		&r.recorded: f.recorded, &r.earlier: f.earlier, &r.dir: f.dir, &r.alive: f.alive,
		&r.intent: f.intent, &r.final: f.final, &r.cancel: f.cancel,
	} {
		if *want != nil && **want != got {
			return false
		}
	}
	if len(r.statuses) == 0 {
		return true
	}
	for _, s := range r.statuses {
		if s == f.status {
			return true
		}
	}
	return false
}

// possible leaves out what cannot be found.
func possible(f facts) bool {
	switch {
	case !f.dir && (f.alive || f.intent || f.final || f.earlier || !f.recorded):
		return false
	case f.final && !f.intent:
		return false
	case !f.recorded && (f.status != "" || f.earlier || f.cancel):
		return false
	case f.recorded && f.status == "":
		return false
	}
	return true
}

func TestPlanIsTheTable(t *testing.T) {
	statuses := append([]task.Status{""}, task.Statuses...)
	used := map[string]bool{}
	for bits := range 1 << 7 {
		for _, status := range statuses {
			bit := func(n int) bool { return bits&(1<<n) != 0 }
			f := facts{
				recorded: bit(0), status: status, earlier: bit(1), dir: bit(2),
				alive: bit(3), intent: bit(4), final: bit(5), cancel: bit(6),
			}
			if !possible(f) {
				continue
			}
			var fits []row
			for _, r := range recoveryTable {
				if r.matches(f) {
					fits = append(fits, r)
				}
			}
			if len(fits) != 1 {
				t.Fatalf("%+v fits %d rows of the table", f, len(fits))
			}
			used[fits[0].name] = true
			if got := plan(f); got != fits[0].want {
				t.Errorf("%s: %+v: plan = %q, the table says %q", fits[0].name, f, got, fits[0].want)
			}
		}
	}
	if len(used) != len(recoveryTable) {
		t.Errorf("only %d of %d rows can happen", len(used), len(recoveryTable))
	}
}

// What may have run is never started again by a recovery.
func TestPlanNeverRunsTwice(t *testing.T) {
	for bits := range 1 << 7 {
		for _, status := range task.Statuses {
			bit := func(n int) bool { return bits&(1<<n) != 0 }
			f := facts{recorded: bit(0), status: status, earlier: bit(1), dir: bit(2), alive: bit(3), intent: bit(4), final: bit(5), cancel: bit(6)}
			if possible(f) && plan(f) == doRequeue && (f.intent || f.alive || f.status == task.Running) {
				t.Errorf("%+v is queued again though claude may have run", f)
			}
		}
	}
}
