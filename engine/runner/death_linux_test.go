package runner

import (
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"cctask/internal/sys"
)

// killRunner leaves a tree without a runner.
func killRunner(t *testing.T, r *Run, rec Record) {
	t.Helper()
	if err := syscall.Kill(rec.RunnerPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := ended(t, r); got.State != StateRunning || got.Exited {
		t.Errorf("record of a killed runner %+v", got)
	}
}

func TestRunnerKilled(t *testing.T) {
	t.Parallel()
	l, dead := treeLaunch(t, "plain,setsid,stubborn", "hang")
	r := prepare(t, l, "")
	rec := start(t, r)
	untilSaid(t, r, "ready")
	claude := sys.Find(rec.ClaudePID)
	killRunner(t, r, rec)
	until(t, "claude dies by its parent's death", func() bool { return gone(claude.PID, claude.Start) })
	if dead() {
		t.Fatal("nothing is left to sweep")
	}
	n, err := r.Sweep(t.Context(), nil)
	if err != nil || n < 3 {
		t.Errorf("swept %d, %v", n, err)
	}
	if !dead() {
		t.Error("a leaf lives")
	}
	if n, err := r.Sweep(t.Context(), nil); err != nil || n != 0 {
		t.Errorf("second sweep: %d, %v", n, err)
	}
}

// The wrapper dies with its runner; the claude behind it gets its time all the same.
func TestSweepReachesBehindAWrapper(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "wrapper", "saves"), "")
	rec := start(t, r)
	untilSaid(t, r, "ready")
	killRunner(t, r, rec)
	if _, err := r.Sweep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := read(t, r.Stdout()); got != "ready\nsaved\n" {
		t.Errorf("stdout %q", got)
	}
}

// Under an owner that is a subreaper even those are found who dropped the
// marker and fork for ever.
func TestRunnerKilledUnderAnOwner(t *testing.T) {
	t.Parallel()
	o := newOwner(t, "subreaper")
	base := t.TempDir()
	bystander, other := o.start(runDir(base), "hang")
	alive := filepath.Join(t.TempDir(), "alive")
	r, rec := o.start(runDir(base), "tree", alive, strings.Join(allKinds, ","), "stubborn")
	untilSaid(t, r, "ready\nready")
	killRunner(t, r, rec)
	o.order("sweep", r.Dir())
	if !noLeaf(t, alive) {
		t.Error("a leaf lives")
	}
	if lives(rec.ClaudePID) {
		t.Error("claude lives")
	}
	if !lives(other.ClaudePID) {
		t.Error("the sweep killed the claude of another run")
	}
	until(t, "the owner buries its orphans", func() bool { return o.order("zombies") == "0" })
	if got := o.order("exec"); got != "ok" {
		t.Error(got)
	}
	if alive, err := bystander.Alive(); err != nil || !alive {
		t.Errorf("the other run: alive %v, %v", alive, err)
	}
}

func TestSweepRefusesALiveRun(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "hang"), "")
	rec := start(t, r)
	if _, err := r.Sweep(t.Context(), nil); err == nil {
		t.Error("no error")
	}
	if !lives(rec.ClaudePID) {
		t.Error("claude was killed")
	}
}

func TestOwnerKilled(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(pid int) error{
		"alone":     func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) },
		"its group": func(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOwner(t, "plain")
			r, _ := o.start(runDir(t.TempDir()), "polite")
			untilSaid(t, r, "ready")
			if err := kill(o.pid); err != nil {
				t.Fatal(err)
			}
			o.kill() // waits
			if alive, err := r.Alive(); err != nil || !alive {
				t.Fatalf("alive %v, %v", alive, err)
			}
			if err := r.Stop(StopCancel); err != nil {
				t.Fatal(err)
			}
			rec := ended(t, r)
			if rec.State != StateEnded || rec.ExitCode != 7 || rec.Stopped != StopCancel {
				t.Errorf("record %+v", rec)
			}
			if got := read(t, r.Stdout()); got != "ready\ngot terminated\n" {
				t.Errorf("stdout %q", got)
			}
		})
	}
}

// nested is a run with an owner born in its tree, which has a run beside it.
func nested(t *testing.T) (outer *Run, outerRec Record, inner *Run, innerRec Record, o *owner, dead func() bool) {
	t.Helper()
	alive, base := filepath.Join(t.TempDir(), "alive"), t.TempDir()
	outer = prepareIn(t, base, childLaunch(t, "nest", alive, base), "")
	outerRec = start(t, outer)
	untilSaid(t, outer, "ready")
	// Where the outer runner is killed, the leaf has neither a mark nor a parent
	// that sweeps: the one that escapes.
	leaf := leafProc(t, alive, "double")
	t.Cleanup(func() { _ = leaf.Signal(syscall.SIGKILL, nil) })
	o = dialOwner(t, base)
	inner, innerRec = o.start(runDir(base), "polite")
	untilSaid(t, inner, "ready")
	return outer, outerRec, inner, innerRec, o, func() bool { return noLeaf(t, alive) }
}

func checkNested(t *testing.T, inner *Run, innerRec Record, o *owner) {
	t.Helper()
	if got := o.order("exec"); got != "ok" {
		t.Errorf("the owner: %s", got)
	}
	if !lives(innerRec.ClaudePID) {
		t.Error("the inner claude was killed")
	}
	if err := inner.Stop(StopCancel); err != nil {
		t.Fatal(err)
	}
	if rec := ended(t, inner); rec.State != StateEnded || rec.ExitCode != 7 {
		t.Errorf("the inner record %+v", rec)
	}
}

// An owner that was born in a task's tree, and its runners, outlive the task.
func TestSparedOwnerAndRunner(t *testing.T) {
	t.Parallel()
	outer, _, inner, innerRec, o, dead := nested(t)
	if err := outer.Stop(StopCancel); err != nil {
		t.Fatal(err)
	}
	if rec := ended(t, outer); rec.State != StateEnded || rec.Leftovers == 0 {
		t.Errorf("the outer record %+v", rec)
	}
	if !dead() {
		t.Error("a leaf lives")
	}
	checkNested(t, inner, innerRec, o)
}

// The same, with the owner dead: its runner became a child of the outer one.
func TestSparedRunnerAlone(t *testing.T) {
	t.Parallel()
	outer, _, inner, innerRec, o, dead := nested(t)
	o.kill()
	if err := outer.Stop(StopCancel); err != nil {
		t.Fatal(err)
	}
	ended(t, outer)
	if !dead() {
		t.Error("a leaf lives")
	}
	if !lives(innerRec.ClaudePID) {
		t.Error("the inner claude was killed")
	}
	if err := inner.Stop(StopCancel); err != nil {
		t.Fatal(err)
	}
	if rec := ended(t, inner); rec.ExitCode != 7 {
		t.Errorf("the inner record %+v", rec)
	}
}

// The outer runner is killed: the owner from its tree sweeps that tree, in
// which it lives itself.
func TestSparedOwnerSweepsItsOwnTree(t *testing.T) {
	t.Parallel()
	outer, outerRec, inner, innerRec, o, _ := nested(t)
	killRunner(t, outer, outerRec)
	claude := sys.Find(outerRec.ClaudePID)
	o.order("sweep", outer.Dir())
	// Its runner's death may have begun to end it before the sweep looked: such a
	// process has no marker any more, nor runs, but it is still in the table.
	until(t, "the outer claude is gone", func() bool { return gone(claude.PID, claude.Start) })
	checkNested(t, inner, innerRec, o)
}

func leafProc(t *testing.T, alive, kind string) sys.Process {
	t.Helper()
	pid, err := strconv.Atoi(read(t, alive+"."+kind))
	if err != nil {
		t.Fatal(err)
	}
	return sys.Find(pid)
}
