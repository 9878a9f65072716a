package runner

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cctask/internal/sys"
)

var allKinds = []string{"plain", "setsid", "double", "stubborn", "forks"}

// treeLaunch is a claude that starts leaves and goes on as then says. dead
// tells whether none of the leaves is alive.
func treeLaunch(t *testing.T, kinds string, then ...string) (l Launch, dead func() bool) {
	t.Helper()
	alive := filepath.Join(t.TempDir(), "alive")
	return childLaunch(t, append([]string{"tree", alive, kinds}, then...)...), func() bool { return noLeaf(t, alive) }
}

// noLeaf tells whether no process holds its shared lock on alive.
func noLeaf(t *testing.T, alive string) bool {
	t.Helper()
	fd, err := openLock(alive)
	if err != nil {
		t.Error(err)
		return false
	}
	defer unix.Close(fd)
	err = sys.Lock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		t.Error(err)
	}
	return err == nil
}

func TestDeadlineKillsTheTree(t *testing.T) {
	t.Parallel()
	var l Launch
	var r *Run
	var rec Record
	// How long the tree takes to stand is a matter of the machine.
	for limit, ready := 1500*time.Millisecond, false; !ready; limit *= 2 {
		tree, dead := treeLaunch(t, strings.Join(allKinds, ","), "hang")
		l, l.Deadline, l.Grace = tree, limit, 200*time.Millisecond
		r = prepare(t, l, "")
		start(t, r)
		rec = ended(t, r)
		if ready = strings.Contains(read(t, r.Stdout()), "ready\nready"); ready && !dead() {
			t.Error("a leaf lives")
		}
	}
	if rec.Stopped != StopDeadline || rec.Signal != "SIGTERM" || rec.ExitCode != 143 || rec.Leftovers < len(allKinds)-1 {
		t.Errorf("record %+v", rec)
	}
	if d := rec.StoppedAt.Sub(rec.StartedAt); d < l.Deadline {
		t.Errorf("stopped after %v", d)
	}
	if got := read(t, r.Stdout()); got != "ready\nready\n" {
		t.Errorf("stdout %q", got)
	}
}

func TestCancelKillsTheTree(t *testing.T) {
	t.Parallel()
	for _, kind := range allKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			l, dead := treeLaunch(t, kind, "hang")
			l.Grace = 200 * time.Millisecond
			r := prepare(t, l, "")
			start(t, r)
			untilSaid(t, r, "ready\nready")
			if dead() {
				t.Fatal("the leaf died early")
			}
			if err := r.Stop(StopCancel); err != nil {
				t.Fatal(err)
			}
			if rec := ended(t, r); rec.Stopped != StopCancel || rec.Signal != "SIGTERM" || (rec.Leftovers == 0) != (kind == "plain") {
				t.Errorf("record %+v", rec)
			}
			if !dead() {
				t.Error("a leaf lives")
			}
		})
	}
}

func TestNormalEndKillsTheTree(t *testing.T) {
	t.Parallel()
	l, dead := treeLaunch(t, strings.Join(allKinds, ","), "exit", "4")
	_, rec := run(t, l, "")
	if !dead() {
		t.Error("a leaf lives")
	}
	if rec.ExitCode != 4 || rec.Stopped != "" || rec.Leftovers < len(allKinds) {
		t.Errorf("record %+v", rec)
	}
}

// Only the wrapper is our child; the claude behind it gets its time to end well.
func TestCancelReachesBehindAWrapper(t *testing.T) {
	t.Parallel()
	l := childLaunch(t, "wrapper", "wrapper", "saves")
	l.Grace = time.Minute
	r := prepare(t, l, "")
	start(t, r)
	untilSaid(t, r, "ready")
	if err := r.Stop(StopCancel); err != nil {
		t.Fatal(err)
	}
	if rec := ended(t, r); rec.Stopped != StopCancel || rec.Signal != "SIGTERM" || rec.Leftovers != 0 {
		t.Errorf("record %+v", rec)
	}
	if got := read(t, r.Stdout()); got != "ready\nsaved\n" {
		t.Errorf("stdout %q", got)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "polite"), "")
	start(t, r)
	untilSaid(t, r, "ready")
	for range 3 { // once is enough, more do no harm
		if err := r.Stop(StopCancel); err != nil {
			t.Fatal(err)
		}
	}
	rec := ended(t, r)
	if rec.Stopped != StopCancel || rec.ExitCode != 7 || rec.Signal != "" || rec.StoppedAt.IsZero() {
		t.Errorf("record %+v", rec)
	}
	if got := read(t, r.Stdout()); got != "ready\ngot terminated\n" {
		t.Errorf("stdout %q", got)
	}
	for _, reason := range []string{"", "no word", strings.Repeat("x", 33)} {
		if err := r.Stop(reason); err == nil {
			t.Errorf("the reason %q was taken", reason)
		}
	}
}

func TestSIGTERMIgnored(t *testing.T) {
	t.Parallel()
	l := childLaunch(t, "stubborn")
	l.Grace = 200 * time.Millisecond
	r := prepare(t, l, "")
	start(t, r)
	untilSaid(t, r, "ready")
	if err := r.Stop(StopCancel); err != nil {
		t.Fatal(err)
	}
	rec := ended(t, r)
	if rec.Stopped != StopCancel || rec.Signal != "SIGKILL" || rec.ExitCode != 137 {
		t.Errorf("record %+v", rec)
	}
	if d := rec.EndedAt.Sub(rec.StoppedAt); d < l.Grace {
		t.Errorf("killed after %v", d)
	}
}

func TestRunnerTerminated(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		r := prepare(t, childLaunch(t, "polite"), "")
		runner := start(t, r).RunnerPID
		untilSaid(t, r, "ready")
		if err := syscall.Kill(runner, sig); err != nil {
			t.Fatal(err)
		}
		if rec := ended(t, r); rec.Stopped != StopTerminated || rec.ExitCode != 7 {
			t.Errorf("%v: record %+v", sig, rec)
		}
	}
}

// All of it may come between two looks, and claude may have ended by then.
func TestOutputLimitAtOnce(t *testing.T) {
	t.Parallel()
	for most, stopped := range map[int64]string{2000: StopOutputLimit, 100_000: "", 0: ""} {
		l := childLaunch(t, "flood", "100000")
		l.MaxOutput = most
		_, rec := run(t, l, "")
		if rec.Stopped != stopped || rec.ExitCode != 0 || rec.Signal != "" || rec.StdoutBytes != 100_000 || rec.StoppedAt.IsZero() != (stopped == "") {
			t.Errorf("at most %d: %+v", most, rec)
		}
	}
}

func TestOutputLimit(t *testing.T) {
	t.Parallel()
	l := childLaunch(t, "cat")
	l.MaxOutput = 1 << 20
	l.Argv = []string{"/bin/cat", "/dev/zero"}
	r := prepare(t, l, "")
	start(t, r)
	rec := ended(t, r)
	if rec.Stopped != StopOutputLimit || rec.Signal != "SIGTERM" || rec.StdoutBytes <= l.MaxOutput {
		t.Errorf("record %+v", rec)
	}
	l = childLaunch(t, "flood", "1000")
	l.MaxOutput = 1000
	if _, rec := run(t, l, ""); rec.Stopped != "" || rec.StdoutBytes != 1000 {
		t.Errorf("at the limit: %+v", rec)
	}
}

func TestNoZombiesDuringTheRun(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "orphans", "20"), "")
	runner := start(t, r).RunnerPID
	untilSaid(t, r, "ready")
	until(t, "no zombies", func() bool { return zombiesOf(runner) == 0 })
}

// orphaned is a start by an owner that lets go of its runner.
func orphaned(t *testing.T, r *Run) Record {
	t.Helper()
	l := newLauncher(t)
	rec, err := l.Start(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return rec
}

func TestReport(t *testing.T) {
	t.Parallel()
	l := childLaunch(t, "exit", "0")
	l.Owner = []byte(`{"jobs":4}`)
	r := prepare(t, l, "")
	name := filepath.Join(filepath.Dir(r.Dir()), "report")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	runner := orphaned(t, r)
	ended(t, r)
	until(t, "the runner leaves", func() bool { return gone(runner.RunnerPID, runner.RunnerStart) })
	if rec, err := readRecord(r.path(statusName)); err != nil || rec.Boot != "" {
		t.Errorf("the end that nobody heard was not kept: %+v, %v", rec, err)
	}
	line := filepath.Base(r.Dir()) + ` held=false owner={"jobs":4}` + "\n"
	if got := read(t, name); got != strings.Repeat(line, 3) {
		t.Errorf("reports:\n%s", got)
	}
}

func TestReportEndsWithTheDirectory(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "exit", "0"), "")
	// Every write to a directory fails, so no report succeeds.
	if err := os.Mkdir(filepath.Join(filepath.Dir(r.Dir()), "report"), 0o700); err != nil {
		t.Fatal(err)
	}
	runner := orphaned(t, r)
	ended(t, r)
	if gone(runner.RunnerPID, runner.RunnerStart) {
		t.Error("the runner left without a report")
	}
	if err := r.Remove(); err != nil {
		t.Fatal(err)
	}
	until(t, "the runner leaves", func() bool { return gone(runner.RunnerPID, runner.RunnerStart) })
}

func gone(pid int, start uint64) bool {
	p, ok := readProcess(pid)
	return !ok || p.zombie || p.start != start
}

func lives(pid int) bool {
	p, ok := readProcess(pid)
	return ok && !p.zombie
}
