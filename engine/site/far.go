package site

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cctask/engine/runner"
	"cctask/internal/sys"
)

// Far is a far end.
type Far struct {
	Dir     string // where its runs are; one directory for each owner that sends any
	Version string
	Args    []string // of a runner; nil: those of runner.Launcher

	local *runner.Local
	out   sync.Mutex // a line at a time
	to    io.Writer
}

// Serve answers until the pipe ends.
func (f *Far) Serve(in io.Reader, out io.Writer) error {
	f.to = out
	dir, err := expand(f.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := f.takeOver(filepath.Join(dir, "far.lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := runner.Become(); err != nil {
		return err
	}
	self := sys.Find(os.Getpid())
	f.local = &runner.Local{Dir: dir, Launcher: runner.Launcher{Args: f.Args}, Spare: func() []sys.Process { return []sys.Process{self} }}
	f.local.Follow(func(name string, s runner.Sight) { f.say(answer{Name: name, Sight: s}) })
	f.say(answer{Hello: &hello{protocol, f.Version, f.local.Where(), time.Now().UnixMilli()}})
	for lines := bufio.NewReader(in); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil // the connection is gone
		}
		var c call
		if err := json.Unmarshal(line, &c); err != nil {
			return fmt.Errorf("read a call: %w", err)
		}
		go func() {
			a, err := f.do(&c)
			a.ID, a.Fault = c.ID, faultOf(err)
			f.say(a)
		}()
	}
}

// takeOver ends the far end before this one, whose connection may hang for hours on a
// network that forgot it: what it read last must not start a run after we have said
// that there is none.
func (f *Far) takeOver(path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		var old sys.Process
		b := make([]byte, 64)
		n, _ := lock.ReadAt(b, 0)
		if json.Unmarshal(b[:n], &old) == nil && old.PID > 1 {
			_ = old.Signal(syscall.SIGKILL, func() (bool, error) { return true, nil })
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err == nil {
		var b []byte
		if b, err = json.Marshal(sys.Find(os.Getpid())); err == nil {
			_, err = lock.WriteAt(append(b, strings.Repeat(" ", 64-len(b))...), 0)
		}
	}
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return lock, nil
}

func (f *Far) say(a answer) {
	b, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	f.out.Lock()
	defer f.out.Unlock()
	_, _ = f.to.Write(append(b, '\n'))
}

func (f *Far) do(c *call) (a answer, err error) {
	ctx := context.Background()
	switch c.Verb {
	case verbStart:
		a.Sight, err = f.start(ctx, c)
	case verbLook:
		a.Sights, err = f.local.Look(ctx, c.Names...)
	case verbStop:
		err = f.local.Stop(ctx, c.Name, c.Why, c.Hard)
	case verbKeep:
		err = f.local.Keep(ctx, c.Name)
	case verbClear:
		err = f.local.Clear(ctx, c.Name, c.Lost)
	case verbRead:
		b := make([]byte, c.N)
		var n int
		n, a.Size, err = f.local.Read(ctx, c.Name, c.Stream, b, c.Off)
		a.Data = b[:n]
	case verbAsk:
		var path string
		if path, err = expand(c.Path); err == nil {
			a.File, err = f.local.Ask(ctx, path, c.N)
		}
	default:
		err = fmt.Errorf("unknown verb %q", c.Verb)
	}
	return a, err
}

func (f *Far) start(ctx context.Context, c *call) (runner.Sight, error) {
	o := c.Order
	if len(o.Launch.Argv) == 0 {
		return runner.Sight{}, fmt.Errorf("%w: no command", runner.ErrNotStarted)
	}
	o.Env = environ(os.Environ(), texts(c.Env))
	for _, path := range []*string{&o.Launch.Argv[0], &o.Launch.WorkDir} {
		var err error
		if *path, err = expand(*path); err != nil {
			return runner.Sight{}, &runner.SpawnError{Op: "look before the launch", Err: err.Error()}
		}
	}
	return f.local.Start(ctx, c.Name, o)
}

func texts(list [][]byte) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = string(b)
	}
	return out
}

// ofHost are the variables that say how a host is, and not what a task may know.
var ofHost = []string{"HOME", "PATH", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "TZ", "LC_*", "XDG_*"}

// environ is claude's environment on this host: what has travelled over what the host
// says of itself.
func environ(own, travelled []string) []string {
	has := map[string]bool{}
	for _, v := range travelled {
		name, _, _ := strings.Cut(v, "=")
		has[name] = true
	}
	return append(slices.DeleteFunc(slices.Clone(own), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return has[name] || !matches(ofHost, name)
	}), travelled...)
}

// matches tells whether a name is in a list, in which a * at the end stands for any rest.
func matches(list []string, name string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		head, any := strings.CutSuffix(p, "*")
		return p == name || any && strings.HasPrefix(name, head)
	})
}

// expand is a path of this host: ~ is its home, and a bare name is on its PATH.
func expand(path string) (string, error) {
	rest, homed := strings.CutPrefix(path, "~/")
	switch {
	case homed:
		home, err := os.UserHomeDir()
		return filepath.Join(home, rest), err
	case filepath.IsAbs(path):
		return path, nil
	case strings.ContainsRune(path, '/') || path == "":
		return "", &fs.PathError{Op: "find", Path: path, Err: syscall.ENOENT}
	}
	found, err := exec.LookPath(path)
	if err != nil {
		err = &fs.PathError{Op: "find on PATH", Path: path, Err: syscall.ENOENT}
	}
	return found, err
}
