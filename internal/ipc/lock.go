package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cctask/engine/task"
	"cctask/internal/statedir"
	"cctask/internal/sys"
)

// Protocol is the number of the language between front and owner. It grows when a
// verb comes, goes or changes what it carries: an owner of another one is told to
// leave, or not spoken to at all.
const Protocol = 5

const (
	PhaseStarting = "starting" // migrates or recovers: wait for it, never kill it
	PhaseServing  = "serving"  // answers on its socket
	PhaseClosing  = "closing"  // leaves: wait for the lock
	PhaseEmbedded = "embedded" // a front that holds the directory for itself, without a socket
)

// LockName is the file that makes a directory a state directory: its lock is the
// ownership.
const LockName = "owner.lock"

const (
	startName = "start.lock"
	// recordBlock pads the record, so that rewriting it never needs a new block.
	recordBlock = 4096
	// predecessorWait is how long an owner that leaves may take to let go.
	predecessorWait = 5 * time.Second
)

// Lock is the content of owner.lock: who the owner is and where it listens.
// It is true only while the file is locked by a live process of this start time.
type Lock struct {
	PID      int      `json:"pid"`
	Start    uint64   `json:"start"` // clock ticks since boot; on macOS microseconds since 1970
	Phase    string   `json:"phase"`
	Socket   string   `json:"socket"`
	Protocol int      `json:"protocol"`
	Version  string   `json:"version"`
	Settings Settings `json:"settings"`
	DB       string   `json:"db"`
}

func (l Lock) same(m Lock) bool { return l.PID == m.PID && l.Start == m.Start }

// identity names the process for good.
func (l Lock) identity() string { return fmt.Sprintf("%d.%d", l.PID, l.Start) }

// alive tells whether the process of the record still exists. The record of a
// dead predecessor stands until the next holder of the lock has written its own.
func (l Lock) alive() bool {
	return l.process().Alive()
}

func (l Lock) process() sys.Process { return sys.Process{PID: l.PID, Start: l.Start} }

func (l Lock) String() string {
	if l.PID == 0 {
		return "an unknown process"
	}
	return fmt.Sprintf("process %d (version %s, %s)", l.PID, l.Version, l.Phase)
}

// Inspect reads owner.lock of a state directory and tells whether somebody
// holds it. Neither a missing directory nor a missing file is an error; a
// directory that is open to others is not to be believed. A record that cannot be
// read comes back as the zero Lock.
func Inspect(dir string) (l Lock, held bool, err error) {
	if err := statedir.Check(dir); errors.Is(err, fs.ErrNotExist) {
		return Lock{}, false, nil
	} else if err != nil {
		return Lock{}, false, err
	}
	return Holder(dir)
}

// Holder is Inspect of a directory that this process works in already.
func Holder(dir string) (l Lock, held bool, err error) {
	f, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Lock{}, false, nil
	}
	if err != nil {
		return Lock{}, false, statedir.Refused(err)
	}
	defer func() { _ = sys.Unlock(f) }()
	// A shared lock, so that those who look do not see each other as an owner.
	got, err := sys.TryLock(int(f.Fd()), unix.LOCK_SH)
	if err != nil {
		return Lock{}, false, fmt.Errorf("look at the owner's lock: %w", err)
	}
	return readRecord(f), !got, nil
}

func encodeRecord(l Lock) ([]byte, error) {
	line, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode the owner's record: %w", err)
	}
	rec := fmt.Appendf(nil, "%s\ncrc32 %08x\n", line, crc32.ChecksumIEEE(line))
	if odd := len(rec) % recordBlock; odd != 0 {
		rec = append(rec, strings.Repeat("\n", recordBlock-odd)...)
	}
	return rec, nil
}

func decodeRecord(rec []byte) (l Lock, ok bool) {
	line, rest, _ := strings.Cut(string(rec), "\n")
	sum, _, _ := strings.Cut(rest, "\n")
	if sum != fmt.Sprintf("crc32 %08x", crc32.ChecksumIEEE([]byte(line))) || json.Unmarshal([]byte(line), &l) != nil {
		return Lock{}, false
	}
	return l, true
}

// readRecord reads again when it met a write in the middle.
func readRecord(f *os.File) Lock {
	for range 5 {
		rec := make([]byte, 4*recordBlock)
		n, _ := f.ReadAt(rec, 0)
		if l, ok := decodeRecord(rec[:n]); ok {
			return l
		}
	}
	return Lock{}
}

// Owner is this process as the holder of a state directory.
type Owner struct {
	// Idle is how long Serve stays with nothing to do: no request, nothing
	// live, nothing queued. Acquire sets 5 minutes; 0 stays for ever.
	Idle time.Duration
	// Log takes lines for the owner's log; nil: none.
	Log func(line string)
	// Notice is what every front is told when it comes; nil or "": nothing.
	Notice func() string

	dir   string
	bound os.FileInfo // of the socket; set before anything is served
	mu    sync.Mutex
	file  *os.File // locked; nil after Release
	lock  Lock
}

// Acquire makes this process the owner of dir, which is made if it is missing.
// It waits up to 5 s (or until ctx ends) for a predecessor that leaves, and
// then fails with task.CodeLocked, naming the holder. PID, Start, Socket and
// Protocol of l are filled in; its Phase is PhaseStarting if empty.
func Acquire(ctx context.Context, dir string, l Lock) (*Owner, error) {
	keepReadyFromChildren()
	if err := statedir.Make(dir); err != nil {
		return nil, err
	}
	f, err := lockOwner(ctx, dir)
	if err != nil {
		return nil, err
	}
	o := &Owner{Idle: 5 * time.Minute, dir: dir, file: f, lock: l}
	o.lock.PID, o.lock.Protocol, o.lock.Socket = os.Getpid(), Protocol, ""
	if o.lock.Phase == "" {
		o.lock.Phase = PhaseStarting
	}
	if o.lock.Start, err = sys.StartTime(o.lock.PID); err == nil {
		err = o.write()
	}
	if err != nil {
		_ = sys.Unlock(f)
		return nil, err
	}
	return o, nil
}

// lockOwner opens and locks owner.lock. Nothing signals that an flock is free
// without blocking a thread for good, so it asks every few milliseconds.
func lockOwner(ctx context.Context, dir string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, predecessorWait)
	defer cancel()
	for {
		f, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, statedir.Refused(err)
		}
		got, err := sys.TryLock(int(f.Fd()), unix.LOCK_EX)
		// Somebody may have removed the directory since: a lock on a file that
		// has no name keeps nobody out.
		if got && named(f) {
			return f, nil
		}
		holder := readRecord(f)
		_ = sys.Unlock(f)
		if err != nil {
			return nil, err
		}
		if !pause(ctx, 5*time.Millisecond) {
			return nil, lockedBy(dir, holder)
		}
	}
}

func lockedBy(dir string, holder Lock) error {
	hint := "Use the running owner, or end it with `cctask daemon stop`; running tasks go on."
	if holder.Phase == PhaseEmbedded {
		hint = "Wait until that command has ended, or use another state directory (--dir)."
	}
	return &task.Error{Code: task.CodeLocked, Message: fmt.Sprintf("%s holds the state directory %s", holder, dir), Hint: hint}
}

// named tells whether the name of f still leads to f.
func named(f *os.File) bool {
	a, err1 := f.Stat()
	b, err2 := os.Lstat(f.Name())
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// pause waits for d and tells whether ctx still stands.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Record is what owner.lock says of this owner.
func (o *Owner) Record() Lock {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lock
}

func (o *Owner) set(change func(l *Lock)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(&o.lock)
	return o.write()
}

func (o *Owner) write() error {
	rec, err := encodeRecord(o.lock)
	if err != nil {
		return err
	}
	if _, err := o.file.WriteAt(rec, 0); err != nil {
		return fmt.Errorf("write the owner's record: %w", err)
	}
	if err := o.file.Sync(); err != nil {
		return fmt.Errorf("write the owner's record: %w", err)
	}
	return nil
}

// Release removes the socket and lets go of the directory. Close the database
// first: the next owner starts at once. A second call does nothing.
func (o *Owner) Release() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return nil
	}
	// Under the lock no successor can have put its socket there.
	if o.lock.Socket != "" {
		_ = os.Remove(o.lock.Socket)
		if d := filepath.Dir(o.lock.Socket); d != filepath.Clean(o.dir) {
			_ = os.Remove(d)
		}
	}
	err := sys.Unlock(o.file)
	o.file = nil
	if err != nil {
		return fmt.Errorf("release the owner's lock: %w", err)
	}
	return nil
}
