package ipc

import (
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"cctask/engine/task"
	"cctask/internal/sys"
)

const (
	readyFlag = "--ready-fd="
	readyLine = "ready"
	// A front starts `cctask daemon` with detachFlag, and that process starts the
	// owner with detachedFlag in its place. An argument is in the hands of whoever
	// executes; a variable that is to be absent would come back with an
	// environment that is inherited, and each process would start the next one.
	detachFlag   = "--detach"
	detachedFlag = "--detached"
)

// readyFD is the pipe to the front that started this process, or -1. It is
// used as a bare number: a second os.File on it would close it when collected.
var readyFD = sync.OnceValue(func() int {
	for _, arg := range os.Args {
		text, ok := strings.CutPrefix(arg, readyFlag)
		fd, err := strconv.Atoi(text)
		if !ok || err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
			return fd
		}
	}
	return -1
})

var readyOnce sync.Once

// Ready tells the front that started this process with --ready-fd that the
// owner serves (err is nil), or why it cannot. Serve calls it with nil; the
// daemon calls it with whatever error ends it before. Only the first call
// counts, and without --ready-fd it does nothing.
func Ready(err error) {
	readyOnce.Do(func() {
		fd := readyFD()
		if fd < 0 {
			return
		}
		line := []byte(readyLine)
		if err != nil {
			line, _ = json.Marshal(task.AsError(err))
		}
		// The front may be gone; a broken pipe is an error only on descriptors 1 and 2.
		_, _ = unix.Write(fd, append(line, '\n'))
		_ = unix.Close(fd)
	})
}

// keepReadyFromChildren: a runner that inherits the pipe would hide the death
// of its owner from the front that waits.
func keepReadyFromChildren() {
	if fd := readyFD(); fd >= 0 {
		unix.CloseOnExec(fd)
	}
}

// Detach is the first thing that `cctask daemon` calls. In the process that a
// front started it starts the owner proper and returns true: leave then. In any
// other it returns false. The step between makes the owner nobody's child, so that
// a client that kills its server's process tree does not kill the owner and every
// runner.
func Detach() (leave bool, err error) {
	at := slices.Index(os.Args, detachFlag)
	if at < 0 {
		return false, nil
	}
	exe, err := sys.Self()
	if err != nil {
		return true, err
	}
	// Descriptors of the front's shell must not live on in owner, runners and
	// tasks.
	sys.CloseOnExec()
	// The owner serves many: what it inherits is not to be this one front's. To be
	// less nice is not for everybody. The thread that is made so is the one that forks.
	runtime.LockOSThread()
	unix.Umask(0o077)
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
	cmd := exec.Command(exe)
	cmd.Args = slices.Replace(slices.Clone(os.Args), at, at+1, detachedFlag)
	cmd.Env = append([]string{}, ownerEnv(os.Environ())...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if fd := readyFD(); fd >= 0 {
		// Its place must be the same number again: ExtraFiles begins at 3.
		cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(fd), "ready")}
	}
	if err := cmd.Start(); err != nil {
		Ready(err)
		return true, err
	}
	return true, nil
}

// ownerEnv is what an owner may know of the environment of whoever starts it.
// Tasks get the environment that came with them.
func ownerEnv(env []string) []string {
	var kept []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case name == "HOME", name == "PATH", name == "TMPDIR", name == "LANG", name == "TZ",
			strings.HasPrefix(name, "XDG_"), strings.HasPrefix(name, "LC_"), strings.HasPrefix(name, "CCTASK_NOTIFY_"):
			kept = append(kept, kv)
		}
	}
	return kept
}
