package runner

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"cctask/internal/sys"
)

// selfPath finds this binary even when its file was replaced since.
func selfPath(name string) string {
	const exe = "/proc/self/exe"
	if _, err := os.Stat(exe); err != nil {
		return name
	}
	return exe
}

func claudeAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// Name is what ps, top and pgrep call this process: one that was executed as
// /proc/self/exe would be "exe". It is cut at 15 characters.
func Name(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }

// Niceness is this thread's; what the system call gives is never negative.
func Niceness() (int, error) {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	return 20 - n, err
}

// ArgLimits are the most bytes of a command line with its environment, each
// string with its end and its pointer, and of one string of it, as execve(2) has them.
func ArgLimits() (all, one int) {
	one = 32 * os.Getpagesize()
	all = 6 << 20
	var stack unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_STACK, &stack) == nil && stack.Cur/4 < uint64(all) {
		all = int(stack.Cur / 4)
	}
	return max(all, one), one
}

// bootID changes when the host starts anew; "" as long as it cannot be read.
func bootID() string {
	if id := knownBoot.Load(); id != nil {
		return *id
	}
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	id := strings.TrimSpace(string(b))
	if err == nil {
		knownBoot.Store(&id)
	}
	return id
}

var knownBoot atomic.Pointer[string] // not a OnceValue: a lack of descriptors passes

func becomeSubreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

func leaveSubreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }

// closeLeaked closes the descriptors above last that came through our exec.
// These are the ones without close-on-exec: the Go runtime sets it on its own.
func closeLeaked(last int) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return unix.CloseRange(uint(last+1), math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
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

// process is a line of /proc/<pid>/stat.
type process struct {
	pid, parent, session int
	group                int
	start                uint64
	zombie               bool
}

func readProcess(pid int) (process, bool) {
	fields, err := sys.Stat(pid)
	if err != nil {
		return process{}, false
	}
	// One whose first thread has ended looks like a zombie while others still
	// hold its files.
	p := process{pid: pid, zombie: (fields[0] == "Z" || fields[0] == "X") && (fields[17] == "0" || fields[17] == "1")}
	p.parent, _ = strconv.Atoi(fields[1])
	p.group, _ = strconv.Atoi(fields[2])
	p.session, _ = strconv.Atoi(fields[3])
	p.start, err = strconv.ParseUint(fields[19], 10, 64)
	return p, err == nil
}

func processes() (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	table := make(map[int]process, len(entries))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			table[pid] = p
		}
	}
	return table, nil
}

// childPIDs lists our own children. A process that loses its parent is appended
// at the end, so one who forks for ever is met as long as nobody reaps while
// the list is read.
func childPIDs() []int {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	if len(files) == 0 {
		return childPIDsOfTable()
	}
	var pids []int
	for _, name := range files {
		b, _ := os.ReadFile(name)
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// childPIDsOfTable is for kernels without CONFIG_PROC_CHILDREN.
func childPIDsOfTable() []int {
	table, _ := processes()
	var pids []int
	for pid, p := range table {
		if p.parent == os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill sends SIGKILL to a child and returns 1 if it was not in killed before.
func kill(pid int, killed map[int]struct{}) int {
	_ = unix.Kill(pid, unix.SIGKILL)
	if _, again := killed[pid]; again {
		return 0
	}
	killed[pid] = struct{}{}
	return 1
}

// holdsAny tells whether a process has one of the files open.
func holdsAny(pid int, paths []string) bool {
	if len(paths) == 0 {
		return false
	}
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if target, err := os.Readlink(dir + e.Name()); err == nil && slices.Contains(paths, target) {
			return true
		}
	}
	return false
}
