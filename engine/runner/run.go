package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"cctask/internal/sys"
)

// The files of a run directory.
const (
	lockName   = "lock"
	statusName = "status"
	stopName   = "stop"
	promptName = "prompt"
	stdoutName = "stdout"
	stderrName = "stderr"
)

// Run is a run directory. Its methods may be called concurrently, Start and
// Remove excepted.
type Run struct {
	dir string
	// From Prepare to Start these are ours.
	lock   *os.File
	launch Launch

	mu   sync.Mutex
	job  *job          // of the runner that serves it, if it is hired here
	gone chan struct{} // closed when the lock was found free; nil: nobody has asked yet
	err  error         // of the wait, set before gone is closed
}

// Prepare makes a new run directory and takes its lock. If dir exists, the error is
// fs.ErrExist. Nothing of it is synced: the caller has recorded the boot before.
func (l *Launcher) Prepare(dir string, spec Launch, prompt []byte) (*Run, error) {
	r, err := newRun(dir)
	if err != nil {
		return nil, err
	}
	if err := makeDir(r.dir); err != nil {
		return nil, fmt.Errorf("prepare a run: %w", err)
	}
	r.launch = spec
	if err := r.fill(prompt); err != nil {
		_ = r.Remove()
		return nil, fmt.Errorf("prepare a run: %w", err)
	}
	return r, nil
}

// fill takes the lock first: from then on nobody takes the directory for one
// that was left behind.
func (r *Run) fill(prompt []byte) error {
	lock, err := openFile(r.path(lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	r.lock = lock
	// It may block for a moment: on the look of somebody who sweeps next door.
	if err := sys.Lock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if err := createStatus(r.path(statusName)); err != nil {
		return err
	}
	for name, data := range map[string][]byte{promptName: prompt, stdoutName: nil, stderrName: nil} {
		if err := writeNew(r.path(name), data); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a directory that only we may enter, also under a umask that takes
// that from us: an engine inside a front has its caller's.
func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// Open attaches to an existing run directory, whether its runner lives or not.
func Open(dir string) (*Run, error) {
	r, err := newRun(dir)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(r.dir)
	if err != nil {
		return nil, fmt.Errorf("open a run: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open a run: %s is not a directory", r.dir)
	}
	return r, nil
}

func newRun(dir string) (*Run, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("run directory %s: %w", dir, err)
	}
	return &Run{dir: abs}, nil
}

func (r *Run) path(name string) string { return filepath.Join(r.dir, name) }

func (r *Run) Dir() string { return r.dir }

func (r *Run) Stdout() string { return r.path(stdoutName) }

func (r *Run) Stderr() string { return r.path(stderrName) }

func (r *Run) Prompt() string { return r.path(promptName) }

// Alive tells whether the lock is held: by a runner that has not finished, or
// by the process that prepared the run and has not started it.
func (r *Run) Alive() (bool, error) { return lockHeld(r.path(lockName)) }

// Record returns the newest valid status record; State none if there is none. One that
// was written before the host started anew says no more than that claude may have run.
func (r *Run) Record() (Record, error) {
	if j := r.ours(); j != nil {
		select {
		case <-j.over:
			if j.final != nil {
				return *j.final, nil
			}
		default:
		}
	}
	rec, err := readRecord(r.path(statusName))
	if rec.stale() {
		return Record{State: StateIntent, Boot: rec.Boot}, nil
	}
	return rec, err
}

// Wait returns when the lock is free: the record is final then, or the runner
// was killed. It returns ctx.Err() if ctx ends first.
func (r *Run) Wait(ctx context.Context) error {
	if j := r.ours(); j != nil {
		select {
		case <-j.over:
		case <-ctx.Done():
			return ctx.Err()
		}
		if j.final != nil {
			return nil
		}
		// The runner hung up. Its end is as that of a stranger.
	}
	gone, err := r.watch()
	if err != nil {
		return err
	}
	select {
	case <-gone:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watch starts the one goroutine that blocks on the lock for all who wait. It
// outlives their contexts: a blocked flock cannot be called off.
func (r *Run) watch() (<-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone != nil {
		return r.gone, nil
	}
	fd, err := openLock(r.path(lockName))
	gone := make(chan struct{})
	if errors.Is(err, fs.ErrNotExist) {
		close(gone)
		return gone, nil
	}
	if err != nil {
		return nil, err
	}
	r.gone = gone
	go func() {
		if err := sys.Lock(fd, unix.LOCK_SH); err != nil {
			r.err = fmt.Errorf("wait for the lock of %s: %w", r.dir, err)
		}
		_ = unix.Close(fd)
		close(gone)
	}()
	return gone, nil
}

// Keep makes the end of a run outlast a power loss, for an owner that comes later:
// its output, the names, and last the record that says so.
func (r *Run) Keep() error {
	status, err := openStatus(r.path(statusName))
	if err != nil {
		return fmt.Errorf("keep a run: %w", err)
	}
	defer status.f.Close()
	rec, err := r.Record()
	if err != nil || rec.State != StateEnded || rec.Boot == "" {
		return err
	}
	for _, name := range []string{r.Stdout(), r.Stderr(), r.dir, filepath.Dir(r.dir)} {
		if err := sys.Sync(name); err != nil {
			return fmt.Errorf("keep a run: %w", err)
		}
	}
	rec.Boot = ""
	if err := errors.Join(status.put(rec), status.f.Sync()); err != nil {
		return fmt.Errorf("keep a run: %w", err)
	}
	return nil
}

// Remove deletes the run directory, the status record first and the lock last:
// what a crash leaves of it holds no record that promises output.
func (r *Run) Remove() error {
	r.dropLock()
	for _, name := range []string{statusName, stopName, promptName, stdoutName, stderrName, lockName} {
		if err := os.RemoveAll(r.path(name)); err != nil {
			return fmt.Errorf("remove a run: %w", err)
		}
	}
	// What claude put there too, or a stop that was cut short.
	if unix.Rmdir(r.dir) == nil {
		return nil
	}
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("remove a run: %w", err)
	}
	return nil
}

// dropLock closes our own copy of the lock. An flock lives as long as any copy.
func (r *Run) dropLock() {
	if r.lock != nil {
		_ = r.lock.Close()
		r.lock = nil
	}
}
