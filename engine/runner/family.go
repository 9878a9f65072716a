package runner

import (
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"cctask/internal/sys"
)

// family are the children of this process, as an owner.
var family = children{own: map[int]struct{}{}}

type children struct {
	// mu is held while a runner is forked, so that one that dies at once is not
	// taken for an orphan, and while the list of children is read or reaped
	// from, so that a pid in it stays ours.
	mu  sync.Mutex
	own map[int]struct{} // those that were forked here and not waited for yet, runners and what RunOwn runs
}

// child is a runner that this process forked.
type child struct {
	proc *os.Process
	done chan struct{} // closed when it was waited for
	// killed names the signal that ended it; set before done is closed.
	killed string
}

func (f *children) start(self string, argv []string, attr *os.ProcAttr) (*child, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, err := os.StartProcess(self, argv, attr)
	if err != nil {
		return nil, err
	}
	f.own[p.Pid] = struct{}{}
	c := &child{proc: p, done: make(chan struct{})}
	go func() {
		// The record tells how the run ended; this, how the runner did.
		if state, err := p.Wait(); err == nil {
			if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
				c.killed = unix.SignalName(ws.Signal())
			}
		}
		f.mu.Lock()
		delete(f.own, p.Pid)
		f.mu.Unlock()
		close(c.done)
	}()
	return c, nil
}

// RunOwn is cmd.Run for a command with a session of its own: no sweep takes it for what
// a run has left.
func RunOwn(cmd *exec.Cmd) error {
	family.mu.Lock()
	err := cmd.Start()
	if err != nil {
		family.mu.Unlock()
		return err
	}
	pid := cmd.Process.Pid
	family.own[pid] = struct{}{}
	family.mu.Unlock()
	defer func() {
		family.mu.Lock()
		delete(family.own, pid)
		family.mu.Unlock()
	}()
	return cmd.Wait()
}

// Above is the next process above pid that is one of those, but not above this one; 0
// if there is none. A runner is a subreaper, so that what it has started stays below it.
func Above(pid int, is func(pid int) bool) int {
	// A chain that is read while processes come and go may be a ring for a moment.
	for range 1000 {
		if pid <= 1 || pid == os.Getpid() {
			return 0
		}
		if is(pid) {
			return pid
		}
		pid = sys.Parent(pid)
	}
	return 0
}
