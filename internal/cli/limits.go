package cli

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"cctask/engine/runner"
	"cctask/engine/task"
)

// callerLimits are those that this process was started with.
var callerLimits = sync.OnceValue(func() task.Limits {
	// There is no way to only look. For the moment files of other goroutines are
	// closed to others, and not open to all.
	mask := unix.Umask(0o077)
	unix.Umask(mask)
	l := task.Limits{Umask: &mask, NoFile: startingNoFile()}
	if nice, err := runner.Niceness(); err == nil {
		l.Nice = &nice
	}
	return l
})

// startingNoFile is the soft limit of open files from before the runtime raised it
// (golang.org/issue/46279). The runtime tells it to nobody, and brings it back when
// the process executes another program: one that cannot be, here.
func startingNoFile() uint64 {
	_ = syscall.Exec("", nil, nil)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		return 0
	}
	// A front of many connections needs what the runtime had raised it to.
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: was.Max, Max: was.Max})
	return was.Cur
}
