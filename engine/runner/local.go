package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"cctask/internal/sys"

	"golang.org/x/sys/unix"
)

// Local is this machine as a site: the runs of one state directory. Each is a
// directory Dir/run/NAME.
type Local struct {
	Launcher
	Dir   string          // the state directory
	Owner json.RawMessage // opaque: how a runner starts an owner again; nil: it starts none
	Spare Spare

	mu   sync.Mutex
	runs map[string]*Run   // from Start to Clear: what this process knows of them beside their files
	up   map[string]Record // of runners that were seen with a claude: nothing is read of one as long as it is up
	news func(name string, s Sight)

	told   map[string]bool // runs whose growth is told
	growth *growth         // nil as long as none is
}

// ErrSilent says that a site does not answer: what is asked of it is asked again.
var ErrSilent = errors.New("the site does not answer")

// Place names a site as it is now.
type Place struct {
	Site string // "": this machine
	Host string
	Boot string // changes when the host starts anew; "" where the site has many hosts
	Root bool   // claude would run as root there
	// Of a site beside this machine: how many runs it takes at a time, and its claude, a
	// path or a name on the PATH there.
	Slots  int
	Claude string
}

// Order is all that is needed to start one run.
type Order struct {
	Launch Launch
	Prompt []byte
	Env    []string // claude's whole environment
	// Own names the variables in it that are the task's, and go with it wherever it runs.
	Own []string `json:",omitempty"`
}

// Life is what a site knows of a runner.
type Life string

const (
	Unknown Life = "unknown" // the site cannot tell at the moment
	Pending Life = "pending" // ordered, and not begun: it waits for room
	Up      Life = "up"
	Gone    Life = "gone" // it has ended, or was killed
)

// Sight is what a site sees of one run.
type Sight struct {
	Life Life
	// Rec is the record. Of a runner that is up it may be one of a while ago.
	Rec            Record
	Killed         string // the signal that ended the runner itself, where that is known
	Stdout, Stderr int64  // how much there is to be read; of a run that is gone, all of it
	Host           string
	Job            string // the site's own name for it; "" where it needs none
	Why            string // it is pending
	// Told says that the site tells of its growth and of its end by itself.
	Told bool
}

// File is what stands at a path.
type File struct {
	Real    string // without links
	Dir     bool
	Regular bool
	Size    int64
	CanRead bool // and enter, a directory
	CanExec bool
	Head    []byte // nil: it cannot be read, or nobody asked
}

const (
	StreamStdout = stdoutName
	StreamStderr = stderrName
)

func (l *Local) runDir() string { return filepath.Join(l.Dir, "run") }

func (l *Local) dir(name string) string { return filepath.Join(l.runDir(), name) }

func (l *Local) Where() Place {
	return Place{Host: hostname(), Boot: bootID(), Root: os.Geteuid() == 0}
}

var hostname = sync.OnceValue(func() string { name, _ := os.Hostname(); return name })

// Start is that of engine.Site. Not the end of ctx: a launch that has begun is finished
// even when the owner leaves.
func (l *Local) Start(_ context.Context, name string, o Order) (Sight, error) {
	// Not MkdirAll: a state directory that somebody removed stays removed.
	if err := makeDir(l.runDir()); err != nil && !errors.Is(err, fs.ErrExist) {
		return Sight{}, fmt.Errorf("%w: make the run directory: %w", ErrNotStarted, err)
	}
	o.Launch.Owner = l.Owner
	r, err := l.Prepare(l.dir(name), o.Launch, o.Prompt)
	if errors.Is(err, fs.ErrExist) {
		// Of a launch before, which failed without descriptors to clean up after itself.
		s, lookErr := l.look(name)
		// What is of another boot came back over a power loss, since removals are not
		// synced either: the claim of this one is the proof that nothing ran.
		if lookErr != nil || s.Life == Up || s.Rec.begun() && !s.Rec.stale() {
			return s, lookErr
		}
		if err = l.Clear(context.Background(), name, false); err == nil {
			r, err = l.Prepare(l.dir(name), o.Launch, o.Prompt)
		}
	}
	if err != nil {
		return Sight{}, fmt.Errorf("%w: make the run directory: %w", ErrNotStarted, err)
	}
	l.mu.Lock()
	if l.runs == nil {
		l.runs = map[string]*Run{}
	}
	l.runs[name] = r
	l.mu.Unlock()
	rec, err := l.Launcher.Start(context.Background(), r, o.Env)
	l.watch(name, r)
	return Sight{Life: Up, Rec: rec, Host: hostname()}, err
}

// watch tells of the end of a run whose runner is hired by this process.
func (l *Local) watch(name string, r *Run) {
	j := r.ours()
	if j == nil {
		return
	}
	go func() {
		<-j.over
		l.mu.Lock()
		news := l.news
		if l.runs[name] != r {
			news = nil
		}
		l.mu.Unlock()
		if news == nil {
			return
		}
		if s, err := l.look(name); err == nil {
			news(name, s)
		}
	}()
}

func (l *Local) Follow(news func(name string, s Sight)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.news = news; news == nil {
		l.deafen()
		l.told = nil
	}
}

func (l *Local) Look(_ context.Context, names ...string) (map[string]Sight, error) {
	if len(names) == 0 {
		entries, err := os.ReadDir(l.runDir())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the run directories: %w", err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	seen := make(map[string]Sight, len(names))
	for _, name := range names {
		s, err := l.look(name)
		switch {
		case err == nil:
			seen[name] = s
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("look at the run %s: %w", name, err)
		}
	}
	return seen, nil
}

// look reads the record after it has looked at the lock: one that was read before
// could be older than the end that let go of the lock. Of thousands that are up each
// look costs a few system calls.
func (l *Local) look(name string) (Sight, error) {
	l.mu.Lock()
	r, rec, told := l.runs[name], l.up[name], l.told[name]
	l.mu.Unlock()
	if r == nil {
		r = &Run{dir: l.dir(name)}
	}
	// Before the sizes are looked at: what is written after that is told. The end of a
	// runner that another owner has hired is not.
	if !told && rec.State != "" && r.ours() != nil {
		told = l.hear(name)
	}
	alive, err := r.Alive()
	switch {
	case errors.Is(err, unix.ENOTDIR):
		return Sight{Life: Gone}, nil // not of ours
	case err != nil:
		return Sight{}, err
	case !alive:
		if _, err := os.Lstat(r.dir); err != nil {
			return Sight{}, err
		}
	}
	s := Sight{Life: Gone, Host: hostname(), Told: told, Stdout: fileSize(r.Stdout()), Stderr: fileSize(r.Stderr())}
	if alive {
		s.Life = Up
		if rec.State != "" {
			s.Rec = rec
			return s, nil
		}
	}
	if s.Rec, err = r.Record(); err != nil {
		// The machine is out of something: that may pass.
		if sys.Any(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.EIO) {
			return Sight{}, err
		}
		// Not read is not the same as not written: claude may have run.
		s.Rec = Record{State: StateIntent}
	}
	if !alive && !s.Rec.Exited && (s.Rec.State == StateIntent || s.Rec.State == StateRunning) {
		s.Killed = r.Killed()
	}
	if alive && s.Rec.State == StateRunning {
		l.mu.Lock()
		if l.up == nil {
			l.up = map[string]Record{}
		}
		l.up[name] = s.Rec
		l.mu.Unlock()
	}
	return s, nil
}

func fileSize(path string) int64 {
	var info unix.Stat_t
	if unix.Lstat(path, &info) != nil {
		return 0
	}
	return info.Size
}

func (l *Local) Stop(ctx context.Context, name, why string, hard bool) error {
	r := &Run{dir: l.dir(name)}
	if !hard {
		return r.Stop(why)
	}
	// Whoever carries the mark is found without the directory too.
	_, err := r.Sweep(ctx, l.Spare)
	return err
}

func (l *Local) Keep(_ context.Context, name string) error { return (&Run{dir: l.dir(name)}).Keep() }

func (l *Local) Clear(_ context.Context, name string, keep bool) error {
	l.mu.Lock()
	r := l.runs[name]
	delete(l.runs, name)
	delete(l.up, name)
	delete(l.told, name)
	l.mu.Unlock()
	if r == nil {
		r = &Run{dir: l.dir(name)}
	}
	info, err := os.Lstat(r.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.dropLock()
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return os.Remove(r.dir) // not of ours
	case !keep:
		return r.Remove()
	}
	lost := filepath.Join(l.Dir, "lost")
	if err := makeDir(lost); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Rename(r.dir, filepath.Join(lost, fmt.Sprintf("%s.%d", name, time.Now().Unix())))
}

// Read is that of engine.Site. The file is opened anew each time: what is kept open for
// thousands of runs is what a process may not have.
func (l *Local) Read(_ context.Context, name, stream string, b []byte, off int64) (n int, size int64, err error) {
	f, err := openFile(filepath.Join(l.dir(name), stream), os.O_RDONLY)
	if err != nil {
		return 0, 0, fmt.Errorf("read the output: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	if len(b) == 0 {
		return 0, info.Size(), nil
	}
	n, err = f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, max(info.Size(), off+int64(n)), err
}

func (l *Local) Ask(_ context.Context, path string, head int) (File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return File{}, err
	}
	f := File{Dir: info.IsDir(), Regular: info.Mode().IsRegular(), Size: info.Size()}
	if f.Real, err = filepath.EvalSymlinks(path); err != nil {
		return File{}, err
	}
	f.CanExec = unix.Access(path, unix.X_OK) == nil
	f.CanRead = unix.Access(path, unix.R_OK) == nil && (!f.Dir || f.CanExec)
	if head > 0 && f.Regular && f.CanRead {
		f.Head, err = readHead(path, head)
	}
	return f, err
}

func readHead(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(n)))
}
