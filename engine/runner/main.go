package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	defaultGrace   = 5 * time.Second
	reportFor      = 60 * time.Second
	reportPause    = 50 * time.Millisecond
	reportPauseMax = 5 * time.Second
)

// ProcessName is what a runner is called in a list of processes.
const ProcessName = "cctask-run"

// runner is the process between an owner and a claude.
type runner struct {
	run    *Run
	hooks  Hooks
	launch Launch
	status *statusFile
	rec    Record

	stdin, stdout, stderr *os.File

	children chan os.Signal // SIGCHLD; one pending is enough
	stops    chan os.Signal
}

// Main is the body of `cctask _run DIR`. It returns the exit code.
func Main(dir string, h Hooks) int {
	// claude's parent-death signal comes when the thread that forked it ends:
	// this one, with the process.
	runtime.LockOSThread()
	Name(ProcessName)
	beSmall()
	r := &runner{hooks: h}
	if err := r.begin(dir); err != nil {
		// The launcher reads it from runner.log.
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if r.rec.State == StateRunning {
		r.answer()
		r.note(r.status.sync())
		debug.FreeOSMemory()
		r.supervise()
		r.sweep()
		r.finish()
		r.release()
	} else {
		r.release()
		r.answer()
	}
	r.report()
	return 0
}

// beSmall keeps a runner, which does nothing for hours, out of the way.
func beSmall() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(20)
}

// begin brings the run up to a started claude or to a record of why it could
// not be started. With an error nothing was started or recorded.
func (r *runner) begin(dir string) error {
	var err error
	if r.run, err = Open(dir); err != nil {
		return err
	}
	if err := r.inherit(); err != nil {
		return err
	}
	r.catch()
	if err := becomeSubreaper(); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	if r.launch, err = r.run.Launch(); err != nil {
		return err
	}
	if err := r.open(); err != nil {
		return err
	}
	return r.start()
}

// inherit takes over what the launcher passed on and shuts everything else:
// what leaks through owner and runner into claude keeps a stranger's pipe open
// for hours.
func (r *runner) inherit() error {
	unix.CloseOnExec(lockFD)
	unix.CloseOnExec(readyFD)
	var have, want unix.Stat_t
	if err := unix.Fstat(lockFD, &have); err != nil {
		return errors.New("a runner is started by its owner only")
	}
	if err := unix.Stat(r.run.path(lockName), &want); err != nil || have.Ino != want.Ino || have.Dev != want.Dev {
		return errors.New("a runner is started by its owner only: descriptor 3 is not the lock of the run")
	}
	return closeLeaked(readyFD)
}

// catch asks for the signals before anybody knows our pid. A signal that is
// caught, other than one that is ignored, is as usual again in claude.
func (r *runner) catch() {
	r.children = make(chan os.Signal, 1)
	signal.Notify(r.children, syscall.SIGCHLD)
	r.stops = make(chan os.Signal, 8)
	signal.Notify(r.stops, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

func (r *runner) open() error {
	var err error
	if r.status, err = openStatus(r.run.path(statusName)); err != nil {
		return err
	}
	if r.stdin, err = os.OpenFile(r.run.Prompt(), os.O_RDONLY|unix.O_NOFOLLOW, 0); err != nil {
		return err
	}
	const spool = os.O_WRONLY | os.O_APPEND | unix.O_NOFOLLOW
	if r.stdout, err = os.OpenFile(r.run.Stdout(), spool, 0); err != nil {
		return err
	}
	r.stderr, err = os.OpenFile(r.run.Stderr(), spool, 0)
	return err
}

// start writes the intent and execs claude. A crash between the two reads as
// "may have run".
func (r *runner) start() error {
	if len(r.launch.Argv) == 0 {
		return errors.New("nothing to run")
	}
	r.rec = Record{State: StateIntent, RunnerPID: os.Getpid(), RunnerStart: startTime(os.Getpid())}
	err := r.status.put(r.rec)
	if err == nil {
		err = r.status.sync()
	}
	if err != nil {
		return fmt.Errorf("claude is not started without a record of it: %w", err)
	}
	r.rec.StartedAt = time.Now().UTC()
	pid, err := r.exec()
	_ = r.stdin.Close()
	if err != nil {
		r.rec.State = StateSpawnFailed
		r.rec.SpawnOp, r.rec.SpawnPath, r.rec.SpawnError = diagnose(r.launch, err)
		r.note(r.status.put(r.rec))
		r.note(r.status.sync())
		return nil
	}
	r.rec.State, r.rec.ClaudePID = StateRunning, pid
	r.note(r.status.put(r.rec))
	return nil
}

func (r *runner) exec() (int, error) {
	defer r.launch.takeOn()()
	return syscall.ForkExec(r.launch.Argv[0], r.launch.Argv, &syscall.ProcAttr{
		Dir:   r.launch.WorkDir,
		Env:   os.Environ(),
		Files: []uintptr{r.stdin.Fd(), r.stdout.Fd(), r.stderr.Fd()},
		Sys:   claudeAttr(),
	})
}

// takeOn gives this thread, which forks, what claude is to inherit. What may not
// be had stays as the owner has it.
func (l Launch) takeOn() (back func()) {
	mask := unix.Umask(0o077)
	if l.Umask != nil {
		mask = *l.Umask
	}
	unix.Umask(mask)
	var files syscall.Rlimit
	limited := l.NoFile > 0 && syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil
	if limited {
		want := syscall.Rlimit{Cur: l.NoFile, Max: max(files.Max, l.NoFile)}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want) != nil {
			want = syscall.Rlimit{Cur: min(l.NoFile, files.Max), Max: files.Max}
			_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want)
		}
	}
	nice, err := Niceness()
	if l.Nice != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, *l.Nice)
	}
	return func() {
		unix.Umask(0o077)
		if limited {
			_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files)
		}
		if l.Nice != nil && err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, 0, nice)
		}
	}
}

// diagnose finds what a failed exec does not tell: the working directory and
// the binary fail with the same error.
func diagnose(l Launch, err error) (op, path, text string) {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM) {
		return "fork", l.Argv[0], err.Error()
	}
	if errors.Is(err, unix.E2BIG) {
		return "arguments", l.Argv[0], err.Error()
	}
	info, dirErr := os.Stat(l.WorkDir)
	if dirErr == nil && !info.IsDir() {
		dirErr = unix.ENOTDIR
	}
	if dirErr == nil {
		dirErr = unix.Access(l.WorkDir, unix.X_OK)
	}
	var errno syscall.Errno
	if l.WorkDir != "" && errors.As(dirErr, &errno) {
		return "chdir", l.WorkDir, errno.Error()
	}
	return "exec", l.Argv[0], err.Error()
}

// answer tells the launcher how far we are. A launcher that is dead by now is
// no reason to stop.
func (r *runner) answer() {
	if b, err := json.Marshal(r.rec); err == nil {
		_, _ = unix.Write(readyFD, b)
	}
	_ = unix.Close(readyFD)
}

// finish makes the end durable. The record is written first, so that it stands
// if we are killed while a gigabyte of output is synced, and is synced last.
func (r *runner) finish() {
	r.rec.State = StateEnded
	r.measure() // what was left behind may have written too
	r.rec.StdoutBytes, r.rec.StderrBytes = size(r.stdout), size(r.stderr)
	r.rec.DiskFull = full(r.run.Dir())
	r.note(r.status.put(r.rec))
	r.note(r.stdout.Sync())
	r.note(r.stderr.Sync())
	r.note(r.status.sync())
}

// full tells whether a disk has not a page left for a file of ours.
func full(dir string) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return false
	}
	if os.Geteuid() == 0 {
		return st.Bfree == 0
	}
	return st.Bavail == 0
}

// release lets go of the lock: the record is final.
func (r *runner) release() {
	_ = r.status.f.Close()
	_ = flock(lockFD, unix.LOCK_UN)
	_ = unix.Close(lockFD)
}

// note keeps an error that nobody can be told, and that must not end a run.
func (r *runner) note(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// report tells an owner, until one has heard or has removed the directory.
func (r *runner) report() {
	if r.hooks.Report == nil {
		return
	}
	// An owner that the hook starts is not our child to keep.
	r.note(leaveSubreaper())
	ctx, cancel := context.WithTimeout(context.Background(), reportFor)
	defer cancel()
	go r.leaveOnSignal(cancel)
	for pause := reportPause; ; pause = min(2*pause, reportPauseMax) {
		if _, err := os.Lstat(filepath.Join(r.run.dir, lockName)); err != nil {
			return
		}
		err := r.hooks.Report(ctx, r.run.dir, r.launch)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			r.note(fmt.Errorf("report: %w", err))
			return
		case <-time.After(pause):
		}
	}
}

// leaveOnSignal ends the report; a cancel that comes too late does not.
func (r *runner) leaveOnSignal(cancel context.CancelFunc) {
	for sig := range r.stops {
		if sig != syscall.SIGUSR1 {
			cancel()
		}
	}
}

func size(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}
