package ipc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// startTime tells a process from a later one with the same number.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("start time of process %d: %w", pid, err)
	}
	// The command's name stands in parentheses and may hold any byte.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const state, start = 3, 22 // as counted in proc_pid_stat(5)
	if len(fields) <= start-state {
		return 0, fmt.Errorf("start time of process %d: /proc has %d fields", pid, len(fields))
	}
	n, err := strconv.ParseUint(fields[start-state], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("start time of process %d: %w", pid, err)
	}
	return n, nil
}

// killIf sends SIGKILL to a process after sure has looked at it. The pidfd is
// taken before the look, so the number cannot pass to another process between.
func killIf(pid int, sure func() bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ENOSYS):
		if !sure() {
			return nil
		}
		err = unix.Kill(pid, unix.SIGKILL)
	case err == nil:
		defer func() { _ = unix.Close(fd) }()
		if !sure() {
			return nil
		}
		err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return nil
}

// peerUID is the user at the other end of a unix socket.
func peerUID(fd int) (int, error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(c.Uid), nil
}

// closeOnExec keeps every descriptor but the standard ones from processes that
// this one starts.
func closeOnExec() {
	_ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
}

// self is this binary, even after its file was replaced.
func self() (string, error) { return "/proc/self/exe", nil }
