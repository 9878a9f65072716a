package sys

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Stat are the fields of /proc/PID/stat from the third one on, the state; see
// proc_pid_stat(5).
func Stat(pid int) ([]string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, err
	}
	// The name may hold spaces and parentheses; the state follows the last one.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return nil, fmt.Errorf("process %d: /proc has %d fields", pid, len(fields))
	}
	return fields, nil
}

// StartTime tells a process from a later one with the same number.
func StartTime(pid int) (uint64, error) {
	fields, err := Stat(pid)
	if err != nil {
		return 0, fmt.Errorf("start time of process %d: %w", pid, err)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// Pidfd is a descriptor that pins a process and can be read once it has ended, or
// -1; see pidfd_open(2).
func Pidfd(pid int) int {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1
	}
	return fd
}

func sendSignal(fd, pid int, sig syscall.Signal) error {
	if fd < 0 {
		return unix.Kill(pid, sig)
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// PeerUID is the user at the other end of a unix socket.
func PeerUID(fd int) (int, error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(c.Uid), nil
}

// PeerPID is the process that made the connection of a unix socket; 0 if it is not
// one that this process can see.
func PeerPID(fd int) int {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0
	}
	return int(c.Pid)
}

// Parent is the process that started pid, or has inherited it; 0 if that is not known.
func Parent(pid int) int {
	fields, err := Stat(pid)
	if err != nil {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1])
	return ppid
}

// CloseOnExec keeps every descriptor but the standard ones from processes that
// this one starts.
func CloseOnExec() {
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
}

// Self is this binary, even after its file was replaced.
func Self() (string, error) { return "/proc/self/exe", nil }
