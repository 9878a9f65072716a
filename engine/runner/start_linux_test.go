package runner

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A launcher that is dead when the runner answers is no reason to stop.
func TestLauncherDiesBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "polite"), "")
	j, err := newLauncher(t).take(false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := encodeOrder(order{r.dir, r.launch}, nil)
	if err == nil {
		err = sendOrder(j.hand.conn, b, r.lock)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = j.hand.conn.Close()
	r.dropLock()
	untilSaid(t, r, "ready")
	if err := r.Stop(StopCancel); err != nil {
		t.Fatal(err)
	}
	if rec := ended(t, r); rec.State != StateEnded || rec.ExitCode != 7 {
		t.Errorf("record %+v", rec)
	}
	<-j.hand.proc.done
}

// A run that is opened while its runner starts can be stopped.
func TestStopDuringTheStart(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "hang"), "")
	stopped := make(chan error, 1)
	again, err := Open(r.Dir())
	if err != nil {
		t.Fatal(err)
	}
	go func() { stopped <- again.Stop(StopCancel) }()
	if _, err := launcher.Start(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if rec := ended(t, r); rec.Stopped != StopCancel {
		t.Errorf("record %+v", rec)
	}
}

// The record is written on a disk that is full, and a run that cannot be
// prepared leaves nothing.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := unix.Mount("none", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("no right to mount:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	r := prepareIn(t, disk, childLaunch(t, "flood", "1000000"), "")
	start(t, r)
	rec := ended(t, r)
	if rec.State != StateEnded || rec.ExitCode != 0 || rec.StdoutBytes == 0 || rec.StdoutBytes >= 1000000 || !rec.DiskFull {
		t.Errorf("record %+v", rec)
	}
	if err := os.WriteFile(filepath.Join(disk, "more"), make([]byte, 1<<20), 0o600); err == nil {
		t.Error("the disk is not full")
	}
	dir := runDir(disk)
	if _, err := launcher.Prepare(dir, childLaunch(t, "exit", "0"), make([]byte, 1<<20)); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("prepare: %v", err)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("a half-prepared run was left")
	}
}

// A runner costs little while it waits.
func TestMemory(t *testing.T) {
	t.Parallel()
	if raceEnabled {
		t.Skip("the race detector has a memory of its own")
	}
	r := prepare(t, childLaunch(t, "hang"), "")
	rec := start(t, r)
	untilSaid(t, r, "ready")
	kib := 0
	until(t, "the runner gives memory back", func() bool {
		kib = 0
		for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/smaps_rollup", rec.RunnerPID))) {
			if f := strings.Fields(line); strings.HasPrefix(line, "Private_") {
				n, err := strconv.Atoi(f[1])
				if err != nil {
					t.Fatal(err)
				}
				kib += n
			}
		}
		return kib < 5000
	})
	t.Logf("%d KiB private", kib)
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		r := prepare(b, Launch{Argv: []string{"/bin/true"}, WorkDir: "/"}, "p")
		start(b, r)
		b.StopTimer()
		ended(b, r)
		b.StartTimer()
	}
}
