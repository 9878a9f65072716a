package sys

import (
	"errors"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is a process for good: its number passes to another one, its start time
// does not.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot; on macOS microseconds since 1970
}

// Any tells whether err is one of several.
func Any(err error, of ...error) bool {
	return slices.ContainsFunc(of, func(one error) bool { return errors.Is(err, one) })
}

// Find is the process that has a number now; one without a start time is nobody.
func Find(pid int) Process {
	start, _ := StartTime(pid)
	return Process{PID: pid, Start: start}
}

// Alive tells whether the process still exists.
func (p Process) Alive() bool {
	if p.PID <= 0 { // kill(2) takes these for groups
		return false
	}
	start, err := StartTime(p.PID)
	return err == nil && start == p.Start
}

// Signal signals exactly this process, if it is still there and sure, unless nil,
// says yes. Its number is pinned before anything is looked at; where a sandbox, an old
// kernel or macOS has no pidfd, the look a few microseconds before has to do.
func (p Process) Signal(sig syscall.Signal, sure func() (bool, error)) error {
	fd := Pidfd(p.PID)
	if fd >= 0 {
		defer unix.Close(fd)
	}
	if !p.Alive() {
		return nil
	}
	if sure != nil {
		if ok, err := sure(); err != nil || !ok {
			return err
		}
	}
	err := sendSignal(fd, p.PID, sig)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}
