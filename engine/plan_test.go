package engine

import (
	"slices"
	"testing"

	"cctask/engine/runner"
	"cctask/engine/task"
)

// row is one line of the recovery table in ARCHITECTURE.md; a nil field is any.
type row struct {
	name                                                         string
	recorded, earlier, there, intent, final, cancel, job, reboot *bool
	lives                                                        []runner.Life
	statuses                                                     []task.Status
	want                                                         action
}

var yes, no = ptr(true), ptr(false)

func ptr(b bool) *bool { return &b }

var (
	idle  = []task.Status{task.Queued, task.Completed, task.Failed, task.Timeout, task.Cancelled, task.Interrupted, task.Skipped}
	ended = idle[1:]
	live  = []task.Status{task.Starting, task.Running}

	lives = []runner.Life{runner.Gone, runner.Up, runner.Pending, runner.Unknown}
	gone  = lives[:1]
	// What waits for room and what nobody can tell of is treated as what lives.
	perhaps = lives[1:]
)

var recoveryTable = []row{
	{name: "no record", recorded: no, there: yes, want: doSetAside},
	{name: "of an earlier attempt", recorded: yes, earlier: yes, there: yes, want: doSeal},
	{name: "nothing there", recorded: yes, earlier: no, there: no, statuses: idle, want: doNothing},
	{name: "up, pending or unknown", recorded: yes, earlier: no, lives: perhaps, cancel: no, statuses: live, want: doFollow},
	{name: "up, pending or unknown; cancel requested", recorded: yes, earlier: no, lives: perhaps, cancel: yes, statuses: live, want: doStop},
	{name: "claimed, not begun", recorded: yes, earlier: no, lives: gone, intent: no, job: no, reboot: no, statuses: live[:1], want: doRequeue},
	{name: "claimed, not begun, host started anew", recorded: yes, earlier: no, lives: gone, intent: no, reboot: yes, statuses: live[:1], want: doInterrupt},
	{name: "claimed, not begun, has a job", recorded: yes, earlier: no, lives: gone, intent: no, job: yes, reboot: no, statuses: live[:1], want: doInterrupt},
	{name: "ran, no run", recorded: yes, earlier: no, there: no, lives: gone, statuses: live[1:], want: doInterrupt},
	{name: "claimed, ended or died after the intent", recorded: yes, earlier: no, there: yes, lives: gone, intent: yes, reboot: no, statuses: live[:1], want: doFollow},
	{name: "claimed, ended before the host started anew", recorded: yes, earlier: no, there: yes, lives: gone, final: yes, reboot: yes, statuses: live[:1], want: doFollow},
	{name: "claimed, died with its host", recorded: yes, earlier: no, there: yes, lives: gone, intent: yes, final: no, reboot: yes, statuses: live[:1], want: doInterrupt},
	{name: "running, ended or died", recorded: yes, earlier: no, there: yes, lives: gone, statuses: live[1:], want: doFollow},
	{name: "queued, unused run", recorded: yes, earlier: no, there: yes, lives: gone, intent: no, statuses: idle[:1], want: doDiscard},
	{name: "queued, used run", recorded: yes, earlier: no, there: yes, lives: gone, intent: yes, statuses: idle[:1], want: doSeal},
	{name: "queued, live run", recorded: yes, earlier: no, there: yes, lives: perhaps, statuses: idle[:1], want: doSeal},
	{name: "done", recorded: yes, earlier: no, there: yes, statuses: ended, want: doSeal},
}

func (r row) matches(f facts) bool {
	for want, got := range map[**bool]bool{
		&r.recorded: f.recorded, &r.earlier: f.earlier, &r.there: f.there,
		&r.intent: f.intent, &r.final: f.final, &r.cancel: f.cancel, &r.job: f.job, &r.reboot: f.rebooted,
	} {
		if *want != nil && **want != got {
			return false
		}
	}
	return (len(r.statuses) == 0 || slices.Contains(r.statuses, f.status)) && (len(r.lives) == 0 || slices.Contains(r.lives, f.life))
}

// possible leaves out what cannot be found.
func possible(f facts) bool {
	switch {
	case !f.there && (f.intent || f.final || f.earlier || !f.recorded):
		return false
	case !f.there && (f.life == runner.Up || f.life == runner.Pending):
		return false
	case !f.there && f.life == runner.Unknown && !f.status.Live(): // nobody asks then
		return false
	case f.life == runner.Pending && f.intent:
		return false
	case f.final && !f.intent:
		return false
	case !f.recorded && (f.status != "" || f.earlier || f.cancel || f.job || f.rebooted):
		return false
	case f.recorded && f.status == "":
		return false
	}
	return true
}

// all facts that can be found.
func all() (list []facts) {
	for bits := range 1 << 8 {
		for _, status := range append([]task.Status{""}, task.Statuses...) {
			for _, life := range lives {
				bit := func(n int) bool { return bits&(1<<n) != 0 }
				f := facts{
					recorded: bit(0), status: status, earlier: bit(1), there: bit(2), life: life,
					intent: bit(3), final: bit(4), cancel: bit(5), job: bit(6), rebooted: bit(7),
				}
				if possible(f) {
					list = append(list, f)
				}
			}
		}
	}
	return list
}

func TestPlanIsTheTable(t *testing.T) {
	used := map[string]bool{}
	for _, f := range all() {
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
	if len(used) != len(recoveryTable) {
		t.Errorf("only %d of %d rows can happen", len(used), len(recoveryTable))
	}
}

// What may have run is never started again by a recovery, and what may still run is
// never judged.
func TestPlanNeverRunsTwice(t *testing.T) {
	for _, f := range all() {
		do := plan(f)
		if do == doRequeue && (f.intent || f.life != runner.Gone || f.status == task.Running || f.job || f.rebooted) {
			t.Errorf("%+v is queued again though claude may have run", f)
		}
		if do == doInterrupt && f.life != runner.Gone {
			t.Errorf("%+v is judged though it may still run", f)
		}
	}
}

type place struct {
	Site
	runner.Place
}

func (p place) Where() runner.Place { return p.Place }

// A run of a start that came to nothing may be back after a power loss: it goes before its
// task starts, and nothing of it is taken for the task's.
func TestRunOfAQueuedTaskAfterAPowerLoss(t *testing.T) {
	e := &Engine{site: place{Place: runner.Place{Boot: "now"}}}
	for boot, want := range map[string]action{"before": doDiscard, "now": doSeal} {
		s := &runner.Sight{Life: runner.Gone, Rec: runner.Record{State: runner.StateIntent, Boot: boot}}
		if got := plan(e.factsOf(&task.Task{Status: task.Queued, Attempt: 1}, task.Attempt{}, 1, s)); got != want {
			t.Errorf("%s: %s, want %s", boot, got, want)
		}
	}
}

// What becomes of a worktree is the table of ARCHITECTURE.md.
func TestPlanTree(t *testing.T) {
	t.Parallel()
	tree := func(s task.TreeState) *task.Worktree { return &task.Worktree{State: s} }
	for name, c := range map[string]struct {
		facts treeFacts
		want  treeAction
	}{
		"no worktree":        {treeFacts{ended: true}, treeLeave},
		"live":               {treeFacts{tree: tree("")}, treeLeave},
		"live again, kept":   {treeFacts{tree: tree(task.TreeKept)}, treeLeave},
		"queued, removed":    {treeFacts{tree: tree(task.TreeRemoved)}, treeLeave},
		"ended, not seen":    {treeFacts{ended: true, tree: tree("")}, treeLook},
		"ended with changes": {treeFacts{ended: true, tree: tree(task.TreeKept)}, treeLeave},
		"ended with none":    {treeFacts{ended: true, tree: tree(task.TreeRemoved)}, treeRemove},
	} {
		if got := planTree(c.facts); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
