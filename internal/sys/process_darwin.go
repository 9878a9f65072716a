package sys

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// StartTime tells a process from a later one with the same number.
func StartTime(pid int) (uint64, error) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0, fmt.Errorf("start time of process %d: %w", pid, err)
	}
	t := p.Proc.P_starttime
	return uint64(t.Sec)*1e6 + uint64(t.Usec), nil
}

// Pidfd is -1: this system has none.
func Pidfd(int) int { return -1 }

func sendSignal(_, pid int, sig syscall.Signal) error { return unix.Kill(pid, sig) }

// PeerUID is the user at the other end of a unix socket.
func PeerUID(fd int) (int, error) {
	c, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(c.Uid), nil
}

// PeerPID is the process that made the connection of a unix socket; 0 if it is not
// one that this process can see.
func PeerPID(fd int) int {
	pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil {
		return 0
	}
	return pid
}

// Parent is the process that started pid, or has inherited it; 0 if that is not known.
func Parent(pid int) int {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0
	}
	return int(p.Eproc.Ppid)
}

// CloseOnExec keeps every descriptor but the standard ones from processes that
// this one starts.
func CloseOnExec() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// Self is this binary.
func Self() (string, error) { return os.Executable() }
