package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startWith goes as far as a started claude.
func startWith(t *testing.T, l *Launcher, r *Run, env ...string) Record {
	t.Helper()
	rec, err := l.Start(t.Context(), r, env)
	if err != nil || rec.State != StateRunning {
		t.Fatalf("start: %+v, %v", rec, err)
	}
	return rec
}

// Whatever one attempt asks for, the next one begins as the first did.
func TestRunnerIsReused(t *testing.T) {
	t.Parallel()
	l := newLauncher(t)
	once := func(change func(l *Launch), child ...string) (string, int) {
		t.Helper()
		launch := childLaunch(t, child...)
		if change != nil {
			change(&launch)
		}
		r := prepare(t, launch, "")
		pid := startWith(t, l, r).RunnerPID
		ended(t, r)
		return strings.ReplaceAll(read(t, r.Stdout()), r.Dir(), "DIR"), pid
	}
	limits, first := once(nil, "limits")
	fds, _ := once(nil, "fds")
	mask, nice := 0o007, 19
	odd, _ := once(func(l *Launch) { l.Umask, l.NoFile, l.WorkDir = &mask, 55, "/" }, "limits")
	if !strings.HasPrefix(odd, "007 55 ") {
		t.Errorf("the odd one has %q", odd)
	}
	again, pid := once(nil, "limits")
	if again != limits || pid != first {
		t.Errorf("umask, open files and niceness are %q, then %q; runner %d, then %d", limits, again, first, pid)
	}
	if again, _ := once(nil, "fds"); again != fds {
		t.Errorf("descriptors %q, then %q", fds, again)
	}
	once(func(l *Launch) { l.Nice = &nice }, "limits")
	if again, _ := once(nil, "limits"); again != limits {
		t.Errorf("after a nice one: %q, then %q", limits, again)
	}
}

// Only the privileged get a niceness back: a runner that has raised its own serves no
// other attempt. Not parallel: the umask is the process's.
func TestNicenessWearsARunner(t *testing.T) {
	worn, own := make(chan bool), make(chan bool, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends without its rights
		defer unix.Umask(unix.Umask(0o077))
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		_ = unix.Capset(&header, &none[0])
		nice, _ := Niceness()
		a := attempt{runner: &runner{}, launch: Launch{Nice: &nice}}
		a.takeOn()()
		own <- a.worn
		nice = min(nice+1, 19)
		a.takeOn()()
		now, _ := Niceness()
		worn <- a.worn || now != nice
	}()
	if <-own {
		t.Error("the runner's own niceness wears it")
	}
	if !<-worn {
		t.Error("a niceness that stays is not noticed")
	}
}

// A hint to stop that comes when its attempt has ended means nothing to the next one.
func TestLateHintStopsNobody(t *testing.T) {
	t.Parallel()
	l := newLauncher(t)
	for range 30 {
		r := prepare(t, childLaunch(t, "exit", "0"), "")
		runner := startWith(t, l, r).RunnerPID
		ended(t, r)
		for range 3 {
			if err := syscall.Kill(runner, syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
		}
		next := prepare(t, childLaunch(t, "exit", "0"), "")
		startWith(t, l, next)
		if rec := ended(t, next); rec.Stopped != "" || rec.ExitCode != 0 {
			t.Fatalf("record %+v", rec)
		}
	}
}

// A reason that was written down before there was a runner is seen after the exec.
func TestStopBeforeTheStart(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "hang"), "")
	if err := r.Stop("budget"); err != nil {
		t.Fatal(err)
	}
	startWith(t, newLauncher(t), r)
	if rec := ended(t, r); rec.Stopped != "budget" {
		t.Errorf("record %+v", rec)
	}
}

// The hint may get lost: the runner looks by itself.
func TestStopWithoutAHint(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "hang"), "")
	startWith(t, newLauncher(t), r)
	if err := r.writeStop("stall"); err != nil {
		t.Fatal(err)
	}
	if rec := ended(t, r); rec.Stopped != "stall" {
		t.Errorf("record %+v", rec)
	}
}

// A runner that is stopped between its order and the intent is killed, and another one
// has the order.
func TestStoppedRunnerIsReplaced(t *testing.T) {
	t.Parallel()
	l := newLauncher(t)
	l.Hire(1)
	stopped := l.idle[0].proc
	if err := stopped.proc.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r := prepare(t, childLaunch(t, "exit", "3"), "")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	rec, err := l.Start(ctx, r, nil)
	if err != nil || rec.RunnerPID == stopped.proc.Pid {
		t.Fatalf("%+v, %v", rec, err)
	}
	<-stopped.done
	if rec := ended(t, r); rec.ExitCode != 3 {
		t.Errorf("record %+v", rec)
	}
}

func TestIdleRunnerKilled(t *testing.T) {
	t.Parallel()
	l := newLauncher(t)
	for range 20 {
		l.Hire(1)
		l.mu.Lock()
		idle := l.idle[0].proc
		l.mu.Unlock()
		_ = idle.proc.Kill()
		r := prepare(t, childLaunch(t, "exit", "3"), "")
		startWith(t, l, r)
		if rec := ended(t, r); rec.ExitCode != 3 {
			t.Errorf("record %+v", rec)
		}
	}
}

// An order may be larger than what the socket holds.
func TestLargeOrder(t *testing.T) {
	t.Parallel()
	var env []string
	for i := range 12 {
		env = append(env, fmt.Sprintf("V%02d=%s", i, strings.Repeat("x", 100_000)))
	}
	r, _ := run(t, childLaunch(t, "env"), "", env...)
	if got := read(t, r.Stdout()); !strings.HasPrefix(got, strings.Join(env, "\n")+"\n") {
		t.Errorf("%d bytes came", len(got))
	}
}

// What was secret of one attempt is not to be found in the runner during the next.
func TestEnvironmentIsForgotten(t *testing.T) {
	t.Parallel()
	for _, size := range []int{3000, 100_000} {
		l := newLauncher(t)
		word := fmt.Sprintf("%x", rand.Uint64())
		secret := strings.Repeat(word, 1+size/len(word))
		r := prepare(t, childLaunch(t, "hang"), "")
		runner := startWith(t, l, r, "SECRET="+secret).RunnerPID
		until(t, "the runner forgets", func() bool {
			n, err := inMemory(runner, word)
			if errors.Is(err, fs.ErrPermission) {
				t.Skip("no right to read the memory of a child:", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			return n == 0
		})
	}
}

// inMemory counts a word in what a process has for itself.
func inMemory(pid int, word string) (n int, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		b := make([]byte, 1<<20)
		for ; from < to; from += int64(len(b)) {
			got, _ := mem.ReadAt(b[:min(int64(len(b)), to-from)], from)
			n += bytes.Count(b[:got], []byte(word))
		}
	}
	return n, nil
}

// A deadline that passes when claude has ended, while what it left is swept, changes
// nothing of the end.
func TestDeadlineAfterTheEnd(t *testing.T) {
	t.Parallel()
	a := attempt{runner: &runner{leave: make(chan struct{})}, run: &Run{dir: t.TempDir()}, rec: Record{State: StateRunning, Exited: true}}
	if err := a.run.writeStop(StopCancel); err != nil {
		t.Fatal(err)
	}
	a.heed(&watch{deadline: time.Now()})
	if a.rec.Stopped != "" {
		t.Errorf("stopped by %s", a.rec.Stopped)
	}
}

// Wherever the owner dies between order and answer, claude runs once or cannot have run.
func TestOwnerDiesAfterTheOrder(t *testing.T) {
	t.Parallel()
	began, prepared := 0, 0
	for i := range 100 {
		r := prepare(t, childLaunch(t, "exit", "5"), "")
		l := newLauncher(t)
		j, err := l.take(false)
		if err != nil {
			t.Fatal(err)
		}
		b, err := encodeOrder(order{r.dir, r.launch}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 { // not all of it
			b = b[:len(b)-rand.IntN(len(b))]
		}
		if err := sendOrder(j.hand.conn, b, r.lock); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		_ = j.hand.conn.Close()
		r.dropLock()
		<-j.hand.proc.done
		if alive, err := r.Alive(); err != nil || alive {
			t.Fatalf("alive %v, %v", alive, err)
		}
		switch rec, err := readRecord(r.path(statusName)); {
		case err == nil && rec.State == StateEnded && rec.ExitCode == 5:
			began++
		case err == nil && rec.State == StatePrepared:
			prepared++
		default:
			t.Fatalf("record %+v, %v", rec, err)
		}
	}
	t.Logf("%d ran, %d did not", began, prepared)
	if began == 0 || prepared == 0 {
		t.Error("one of the two sides was not met")
	}
}

// Wherever a runner dies between order and answer, claude does not run twice, and not at
// all where the launcher says so.
func TestRunnerDiesAfterTheOrder(t *testing.T) {
	t.Parallel()
	l := newLauncher(t)
	outcome := map[string]int{}
	for range 100 {
		l.Hire(1)
		l.mu.Lock()
		victim := l.idle[len(l.idle)-1].proc
		l.mu.Unlock()
		mark := filepath.Join(t.TempDir(), "mark")
		r := prepare(t, Launch{Argv: []string{"/bin/sh", "-c", "echo ran >>" + mark}, WorkDir: "/"}, "")
		go func() {
			time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
			_ = victim.proc.Kill()
		}()
		rec, err := l.Start(t.Context(), r, []string{"PATH=/bin:/usr/bin"})
		if err != nil && !errors.Is(err, ErrNotStarted) {
			t.Fatalf("%+v, %v", rec, err)
		}
		<-victim.done
		if err == nil {
			rec = ended(t, r)
			if _, err := r.Sweep(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		ran, _ := os.ReadFile(mark)
		outcome[fmt.Sprintf("%s, ran %d", rec.State, bytes.Count(ran, []byte("ran")))]++
		if n := bytes.Count(ran, []byte("ran")); n > 1 || n > 0 && err != nil || rec.State == StateEnded && n != 1 {
			t.Fatalf("claude ran %d times: %+v, %v", n, rec, err)
		}
	}
	t.Log(outcome)
}

// The runners of the version before know SIGUSR1 and no file.
func TestOldRunnerIsStopped(t *testing.T) {
	t.Parallel()
	r := prepare(t, Launch{}, "")
	old := spawn(true, []string{quick}, "child", "old", r.Dir())
	old.ExtraFiles = []*os.File{r.lock}
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	r.dropLock()
	again, err := Open(r.Dir())
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the old runner names itself", func() bool { rec, err := again.Record(); return err == nil && rec.RunnerPID != 0 })
	if err := again.Stop(StopCancel); err != nil {
		t.Fatal(err)
	}
	if err := old.Wait(); err != nil {
		t.Fatal(err)
	}
	if rec := ended(t, again); rec.Stopped != StopCancel {
		t.Errorf("record %+v", rec)
	}
	if err := again.Remove(); err != nil {
		t.Error(err)
	}
}

// Nor does a signal by itself stop anything any more.
func TestSignalAloneStopsNothing(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "polite"), "")
	rec := startWith(t, newLauncher(t), r)
	untilSaid(t, r, "ready")
	if err := syscall.Kill(rec.RunnerPID, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(rec.ClaudePID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if rec := ended(t, r); rec.Stopped != "" || rec.ExitCode != 7 {
		t.Errorf("record %+v", rec)
	}
}

// One idle runner stays, the others leave when they were idle for long, or have served enough.
func TestIdleRunnersLeave(t *testing.T) {
	t.Parallel()
	l := newLauncher(t)
	l.Hire(3)
	l.mu.Lock()
	all := append([]*hand(nil), l.idle...)
	all[0].since = time.Now().Add(-idleFor)
	all[1].since = time.Now().Add(-idleFor)
	l.mu.Unlock()
	l.trim()
	<-all[0].proc.done
	<-all[1].proc.done
	l.mu.Lock()
	left := len(l.idle)
	all[2].served = maxServed - 1
	l.mu.Unlock()
	if left != 1 {
		t.Fatalf("%d are left", left)
	}
	r := prepare(t, childLaunch(t, "exit", "0"), "")
	if rec := startWith(t, l, r); rec.RunnerPID != all[2].proc.proc.Pid {
		t.Errorf("record %+v", rec)
	}
	ended(t, r)
	<-all[2].proc.done
}

// An owner may die when it was told of an end, and has not recorded it yet.
func TestUnheardEndIsReported(t *testing.T) {
	t.Parallel()
	l := newLauncher(t)
	r := prepare(t, childLaunch(t, "exit", "0"), "")
	name := filepath.Join(filepath.Dir(r.Dir()), "report")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	runner := startWith(t, l, r)
	if rec := ended(t, r); rec.Boot != bootID() {
		t.Errorf("record %+v", rec)
	}
	l.Close()
	until(t, "the runner leaves", func() bool { return gone(runner.RunnerPID, runner.RunnerStart) })
	if rec, err := readRecord(r.path(statusName)); err != nil || rec.Boot != "" {
		t.Errorf("the end that was perhaps not heard was not kept: %+v, %v", rec, err)
	}
	if got := strings.Count(read(t, name), "held=false"); got != 3 {
		t.Errorf("%d reports", got)
	}
}
