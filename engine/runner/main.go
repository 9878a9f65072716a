package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"cctask/internal/sys"
)

const (
	defaultGrace   = 5 * time.Second
	reportFor      = 60 * time.Second
	reportPause    = 50 * time.Millisecond
	reportPauseMax = 5 * time.Second
	quietFor       = time.Second // after which a runner gives memory back
)

// ProcessName is what a runner is called in a list of processes.
const ProcessName = "cctask-run"

// runner is the process between an owner and one claude after another. All that it
// does it does on its first thread, which sleeps in poll(2).
type runner struct {
	hooks Hooks
	self  sys.Process
	bell  [2]int        // a pipe; a signal writes to it
	leave chan struct{} // closed when we were told to: end this attempt, then go
	buf   []byte        // of the order
	sizes []int         // of the environments since memory was given back
	worn  bool          // something of this attempt stays with us, which the next one would have too
	last  *attempt      // that was answered and may not have been heard
}

// Main is the body of `cctask _run`. It returns the exit code.
func Main(h Hooks) int {
	// claude's parent-death signal comes when the thread that forked it ends:
	// this one, with the process.
	runtime.LockOSThread()
	Name(ProcessName)
	beSmall()
	r := &runner{hooks: h, self: sys.Find(os.Getpid()), leave: make(chan struct{})}
	if err := r.begin(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for r.serve() {
	}
	r.report()
	return 0
}

// beSmall keeps a runner, which does nothing for hours, out of the way.
func beSmall() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(20)
}

// begin shuts what leaks through owner and runner into claude, where it would keep a
// stranger's pipe open for hours, and asks for the signals before anybody knows our pid.
func (r *runner) begin() error {
	if kind, err := unix.GetsockoptInt(socketFD, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return errors.New("a runner is started by its owner only")
	}
	unix.CloseOnExec(socketFD)
	if err := closeLeaked(socketFD); err != nil {
		return err
	}
	// The soft limit of open files that the runtime raised, and would bring back in a
	// child as long as we do not touch it: from now on it is the owner's.
	_ = syscall.Exec("", nil, nil)
	if err := becomeSubreaper(); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	return r.catch()
}

// catch makes each signal ring the bell. A signal that is caught, other than one
// that is ignored, is as usual again in claude.
func (r *runner) catch() error {
	if err := unix.Pipe(r.bell[:]); err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	for _, fd := range r.bell {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if fd := sys.Pidfd(os.Getpid()); fd >= 0 { // the end of a child is polled for
		_ = unix.Close(fd)
	} else { // an old kernel, some sandboxes, macOS
		signal.Notify(signals, syscall.SIGCHLD)
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	told := sync.OnceFunc(func() { close(r.leave) })
	go func() {
		for sig := range signals {
			if sig != syscall.SIGUSR1 && sig != syscall.SIGCHLD {
				told()
			}
			_, _ = unix.Write(r.bell[1], []byte{0}) // a full pipe rings as well
		}
	}()
	return nil
}

func (r *runner) leaving() bool {
	select {
	case <-r.leave:
		return true
	default:
		return false
	}
}

// sleep returns when fd can be read, unless it is negative, a signal has come, or the time is over.
func (r *runner) sleep(fd int, until time.Time) (readable bool) {
	timeout := -1
	if !until.IsZero() {
		timeout = int(max(0, (time.Until(until)+time.Millisecond-1)/time.Millisecond))
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(r.bell[0]), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, timeout); err != nil || n <= 0 {
		return false
	}
	if fds[1].Revents != 0 {
		var b [64]byte
		_, _ = unix.Read(r.bell[0], b[:])
	}
	return fds[0].Revents != 0
}

// serve waits for an order and carries it out; false when there will be no more.
func (r *runner) serve() bool {
	for quiet := time.Now().Add(quietFor); !r.sleep(socketFD, quiet); {
		if r.leaving() {
			return false
		}
		if !quiet.IsZero() && time.Now().After(quiet) {
			r.shrink()
			quiet = time.Time{}
		}
	}
	o, env, lock, err := recvOrder(socketFD, r.buf)
	if err != nil {
		if lock >= 0 {
			_ = unix.Close(lock)
		}
		return false
	}
	r.last = nil // the owner that gives another order has heard of the one before
	a := &attempt{runner: r, run: &Run{dir: o.Dir}, launch: o.Launch, lock: lock}
	err = a.begin(vars(env))
	clear(env)
	r.buf = env[:0]
	if !slices.Contains(r.sizes, len(env)) {
		r.sizes = append(r.sizes, len(env))
	}
	if err != nil {
		a.rec = Record{State: StatePrepared}
		a.close()
		return sendAnswer(socketFD, answer{a.rec, err.Error()}) == nil && !r.leaving()
	}
	if a.rec.State == StateRunning {
		_ = sendAnswer(socketFD, answer{Record: a.rec})
		a.supervise()
		a.sweep()
		a.finish()
	}
	a.close()
	r.last = a
	return sendAnswer(socketFD, answer{Record: a.rec}) == nil && !r.leaving() && !r.worn
}

// shrink gives memory back, and clears the copies of environments that forks have made:
// freed memory keeps what was in it until it is used again.
func (r *runner) shrink() {
	runtime.GC()
	for _, n := range r.sizes {
		for filled := 0; filled < 128<<10; filled += n + 1 {
			r.buf = make([]byte, n)
		}
	}
	r.buf, r.sizes = nil, nil
	debug.FreeOSMemory()
}

// vars cuts an environment at its zero bytes. The strings are the bytes: one copy less
// of what is secret stays in memory when they are cleared.
func vars(b []byte) (env []string) {
	for {
		v, rest, more := bytes.Cut(b, []byte{0})
		if !more {
			return env
		}
		env = append(env, unsafe.String(unsafe.SliceData(v), len(v)))
		b = rest
	}
}

// report makes the last end durable, and tells an owner of it, until one has heard
// or has removed the directory. The one who gave the order is gone, or did not want us any more.
func (r *runner) report() {
	if r.last == nil || r.last.sealed() {
		return
	}
	_ = r.last.run.Keep()
	if r.hooks.Report == nil {
		return
	}
	// An owner that the hook starts is not our child to keep.
	_ = leaveSubreaper()
	ctx, cancel := context.WithTimeout(context.Background(), reportFor)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	for pause := reportPause; !r.last.sealed(); pause = min(2*pause, reportPauseMax) {
		if r.hooks.Report(ctx, r.last.run.dir, r.last.launch.Owner) == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// sealed tells whether an owner has taken the run's end in.
func (a *attempt) sealed() bool {
	_, err := os.Lstat(filepath.Join(a.run.dir, lockName))
	return err != nil
}
