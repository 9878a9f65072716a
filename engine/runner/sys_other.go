//go:build !linux

package runner

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Without a subreaper, a parent-death signal and /proc this system degrades:
// a stop kills claude's process group, and what has left it escapes.

func selfPath(name string) string { return name }

func claudeAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// ArgLimits are the most bytes of a command line with its environment, each
// string with its end and its pointer, and of one string of it.
func ArgLimits() (all, one int) { return 1 << 20, 1 << 20 }

func bootID() string {
	id, _ := unix.Sysctl("kern.bootsessionuuid")
	return id
}

func becomeSubreaper() error { return nil }

func leaveSubreaper() error { return nil }

// Become does nothing on this system: orphans fall to init.
func Become() error { return nil }

func closeLeaked(last int) error {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= last {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
	return nil
}

// Name does nothing on this system, where a process is called as its file.
func Name(string) {}

// Niceness is this process's.
func Niceness() (int, error) { return unix.Getpriority(unix.PRIO_PROCESS, 0) }

func (a *attempt) sweep() {
	if unix.Kill(-a.rec.ClaudePID, unix.SIGKILL) == nil {
		a.rec.Leftovers = 1
	}
}

// Sweep kills what is left of claude's process group after its runner died.
func (r *Run) Sweep(_ context.Context, _ Spare) (killed int, err error) {
	if alive, err := r.Alive(); err != nil || alive {
		if alive {
			err = fmt.Errorf("sweep %s: its runner lives", r.dir)
		}
		return 0, err
	}
	rec, err := r.Record()
	if err != nil || rec.ClaudePID == 0 || rec.Exited {
		return 0, err
	}
	if unix.Kill(-rec.ClaudePID, unix.SIGKILL) == nil {
		killed = 1
	}
	return killed, nil
}
