package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Launcher hires runners and gives them orders. A runner serves one attempt after
// another, since the start of this binary costs ten times what an attempt does.
type Launcher struct {
	Self string   // the cctask binary; "": the one of this process, even if its file was replaced
	Args []string // nil: "_run"
	Env  []string // added to the environment of each runner and of its claudes, for tests

	mu    sync.Mutex
	hands map[*hand]struct{} // all that live
	idle  []*hand            // those without an order, the longest idle first
	alarm *time.Timer        // when the next one has been idle for long
}

const (
	idleFor   = 5 * time.Second // after which a runner is let go; but one stays as long as its owner
	maxServed = 500             // attempts of one runner: whatever grows in it does not grow for ever
)

// socketFD is the descriptor that a runner inherits.
const socketFD = 3

// hand is a runner that this process has hired.
type hand struct {
	proc *child
	conn *net.UnixConn
	gone chan struct{} // closed when the runner has hung up

	// Under the launcher's mu.
	job    *job // what it does; nil: it is idle
	served int
	since  time.Time // it is idle
}

// job is one order to a runner, as the owner sees it.
type job struct {
	hand    *hand
	started chan answer   // the first one
	over    chan struct{} // closed when the runner has done with it or has hung up
	final   *Record       // of an attempt whose end was told; set before over is closed
}

// Hire sees to it that n runners are ready, so that they start while the caller
// still writes down what they are for. One that cannot be had now is missed at Start.
func (l *Launcher) Hire(n int) {
	for {
		l.mu.Lock()
		enough := len(l.idle) >= n
		l.mu.Unlock()
		if enough {
			return
		}
		h, err := l.hire()
		if err != nil {
			return
		}
		l.giveBack(h)
	}
}

// Close lets go of all runners: an idle one leaves, a busy one goes on with its
// attempt as if this process had died.
func (l *Launcher) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = nil
	for h := range l.hands {
		_ = h.conn.Close()
	}
}

// take is the runner for one more attempt: the one that was busy last, or a new one.
func (l *Launcher) take(fresh bool) (j *job, err error) {
	var h *hand
	l.mu.Lock()
	if n := len(l.idle); n > 0 && !fresh {
		h, l.idle = l.idle[n-1], l.idle[:n-1]
	}
	l.mu.Unlock()
	if h == nil {
		if h, err = l.hire(); err != nil {
			return nil, err
		}
	}
	j = &job{hand: h, started: make(chan answer, 1), over: make(chan struct{})}
	l.mu.Lock()
	h.job = j
	h.served++
	l.mu.Unlock()
	return j, nil
}

// giveBack makes a runner idle, and sees to it that not too many are.
func (l *Launcher) giveBack(h *hand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.job = nil
	select {
	case <-h.gone:
		return
	default:
	}
	if h.served >= maxServed {
		_ = h.conn.Close()
		return
	}
	h.since = time.Now()
	l.idle = append(l.idle, h)
	if len(l.idle) > 1 && l.alarm == nil {
		l.alarm = time.AfterFunc(idleFor, l.trim)
	}
}

// trim lets go of those that were idle for long, but for one.
func (l *Launcher) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alarm = nil
	for len(l.idle) > 1 {
		if left := idleFor - time.Since(l.idle[0].since); left > 0 {
			l.alarm = time.AfterFunc(left, l.trim)
			return
		}
		_ = l.idle[0].conn.Close()
		l.idle = l.idle[1:]
	}
}

// hire starts a runner. It takes orders at once, though it reads them later.
func (l *Launcher) hire() (*hand, error) {
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("hire a runner: %w", err)
	}
	defer theirs.Close()
	c, err := l.fork(theirs)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("hire a runner: %w", err)
	}
	h := &hand{proc: c, conn: conn, gone: make(chan struct{})}
	l.mu.Lock()
	if l.hands == nil {
		l.hands = map[*hand]struct{}{}
	}
	l.hands[h] = struct{}{}
	l.mu.Unlock()
	go l.listen(h)
	return h, nil
}

func socketPair() (*net.UnixConn, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "runner"), os.NewFile(uintptr(fds[1]), "owner")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

func (l *Launcher) fork(socket *os.File) (*child, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	self, argv, err := l.command()
	if err != nil {
		return nil, err
	}
	return family.start(self, argv, &os.ProcAttr{
		Dir:   "/", // a runner pins nobody's file system
		Env:   append([]string{}, unmarked(os.Environ(), l.Env...)...),
		Files: []*os.File{null, null, null, socketFD: socket},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

func (l *Launcher) command() (self string, argv []string, err error) {
	name := l.Self
	if name == "" {
		name, err = os.Executable()
		self = selfPath(name)
	} else {
		self, err = filepath.Abs(name)
	}
	args := l.Args
	if args == nil {
		args = []string{"_run"}
	}
	return self, append([]string{ProcessName}, args...), err
}

// unmarked is an environment without the marker: a task that was submitted from
// inside another one must not be taken for a part of its tree.
func unmarked(env []string, more ...string) []string {
	out := make([]string, 0, len(env)+len(more)+1)
	for _, v := range slices.Concat(env, more) {
		if !strings.HasPrefix(v, MarkerVar+"=") {
			out = append(out, v)
		}
	}
	return out
}

// listen takes a runner's answers until it hangs up.
func (l *Launcher) listen(h *hand) {
	for lines := json.NewDecoder(h.conn); ; {
		var a answer
		if lines.Decode(&a) != nil {
			break
		}
		l.mu.Lock()
		j := h.job
		l.mu.Unlock()
		if j == nil {
			break // it says more than it was asked
		}
		if a.Record.State == StateEnded {
			j.final = &a.Record
		}
		select {
		case j.started <- a:
		default: // it is not the first
		}
		if a.final() {
			// The runner is free before its end is told: who hears of it may need one.
			l.giveBack(h)
			close(j.over)
		}
	}
	_ = h.conn.Close()
	l.mu.Lock()
	j := h.job
	h.job = nil
	delete(l.hands, h)
	l.idle = slices.DeleteFunc(l.idle, func(other *hand) bool { return other == h })
	close(h.gone)
	l.mu.Unlock()
	if j != nil {
		close(j.over)
	}
}

// await is the runner's first answer; false if there is none in time.
func (j *job) await(ctx context.Context) (answer, bool) {
	late := time.NewTimer(readyWithin)
	defer late.Stop()
	defer context.AfterFunc(ctx, func() { late.Reset(readyGrace) })()
	select {
	case a := <-j.started:
		return a, true
	case <-j.over:
	case <-late.C:
	}
	select {
	case a := <-j.started: // it was said before the end
		return a, true
	default:
		return answer{}, false
	}
}

// dead waits for the end of a runner that was killed or has hung up.
func (h *hand) dead() error {
	select {
	case <-h.proc.done:
		return nil
	case <-time.After(killWithin):
		return fmt.Errorf("the runner %d neither answers nor dies", h.proc.proc.Pid)
	}
}
