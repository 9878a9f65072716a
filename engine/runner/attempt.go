package runner

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cctask/internal/sys"
)

// attempt is one claude of a runner.
type attempt struct {
	*runner
	run    *Run
	launch Launch
	lock   int
	status *statusFile
	rec    Record

	stdin, stdout, stderr *os.File
}

// begin brings the attempt up to a started claude or to a record of why it could
// not be started. With an error nothing was started or recorded.
func (a *attempt) begin(env []string) error {
	var have, want unix.Stat_t
	if err := unix.Fstat(a.lock, &have); err != nil {
		return errors.New("the order came without the run's lock")
	}
	if err := unix.Stat(a.run.path(lockName), &want); err != nil || have.Ino != want.Ino || have.Dev != want.Dev {
		return errors.New("the order came with the lock of another run")
	}
	if len(a.launch.Argv) == 0 {
		return errors.New("nothing to run")
	}
	if err := a.open(); err != nil {
		return err
	}
	return a.start(env)
}

func (a *attempt) open() error {
	var err error
	if a.status, err = openStatus(a.run.path(statusName)); err != nil {
		return err
	}
	if a.stdin, err = openFile(a.run.Prompt(), os.O_RDONLY|unix.O_NOFOLLOW); err != nil {
		return err
	}
	const spool = os.O_WRONLY | os.O_APPEND | unix.O_NOFOLLOW
	if a.stdout, err = openFile(a.run.Stdout(), spool); err != nil {
		return err
	}
	a.stderr, err = openFile(a.run.Stderr(), spool)
	return err
}

// start writes the intent and execs claude. A crash between the two reads as
// "may have run".
func (a *attempt) start(env []string) error {
	a.rec = Record{State: StateIntent, RunnerPID: a.self.PID, RunnerStart: a.self.Start, Boot: bootID()}
	if err := a.status.put(a.rec); err != nil {
		return fmt.Errorf("claude is not started without a record of it: %w", err)
	}
	a.rec.StartedAt = time.Now().UTC()
	pid, err := a.exec(env)
	if err != nil {
		a.rec.State = StateSpawnFailed
		a.rec.SpawnOp, a.rec.SpawnPath, a.rec.SpawnError = diagnose(a.launch, err)
		a.put()
		return nil
	}
	a.rec.State, a.rec.ClaudePID = StateRunning, pid
	a.put()
	return nil
}

func (a *attempt) exec(env []string) (int, error) {
	defer a.takeOn()()
	return syscall.ForkExec(a.launch.Argv[0], a.launch.Argv, &syscall.ProcAttr{
		Dir:   a.launch.WorkDir,
		Env:   append([]string{}, env...),
		Files: []uintptr{a.stdin.Fd(), a.stdout.Fd(), a.stderr.Fd()},
		Sys:   claudeAttr(),
	})
}

// takeOn gives this thread, which forks, what claude is to inherit. What may not
// be had stays as the owner has it.
func (a *attempt) takeOn() (back func()) {
	l := a.launch
	mask := unix.Umask(0o077)
	unix.Umask(mask)
	if l.Umask != nil {
		unix.Umask(*l.Umask)
	}
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
		unix.Umask(mask)
		if limited && syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files) != nil {
			a.worn = true
		}
		// Whoever is not root gets no niceness back.
		if l.Nice != nil && (err != nil || unix.Setpriority(unix.PRIO_PROCESS, 0, nice) != nil) {
			a.worn = true
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

// finish records the end.
func (a *attempt) finish() {
	a.rec.State = StateEnded
	a.measure() // what was left behind may have written too
	a.rec.StdoutBytes, a.rec.StderrBytes = size(a.stdout), size(a.stderr)
	var err error
	if a.rec.DiskFull, err = full(a.run.Dir()); errors.Is(err, unix.ENOENT) {
		// Somebody removed the directory: of this end only that is known which a later
		// owner would find.
		a.rec = Record{State: StateNone}
		return
	}
	a.put()
}

// spare is the hook for this run.
func (a *attempt) spare() Spare {
	if a.hooks.Spare == nil {
		return nil
	}
	return func() []sys.Process { return a.hooks.Spare(a.run.dir) }
}

// full tells whether a disk has not a page left for a file of ours.
func full(dir string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false, err
	}
	if os.Geteuid() == 0 {
		return st.Bfree == 0, nil
	}
	return st.Bavail == 0, nil
}

// put records how far we are. An error of it cannot be told, and must not end a run;
// the answer says the same.
func (a *attempt) put() { _ = a.status.put(a.rec) }

// close lets go of the lock, after everything else: the record is final.
func (a *attempt) close() {
	for _, f := range []*os.File{a.stdin, a.stdout, a.stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
	if a.status != nil {
		_ = a.status.f.Close()
	}
	if a.lock < 0 {
		return
	}
	if a.rec.State != StatePrepared { // else whoever gave us the order may give it to another runner
		_ = sys.Lock(a.lock, unix.LOCK_UN)
	}
	_ = unix.Close(a.lock)
}

func size(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}
