package sys

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Lock waits for a lock on an open file, unix.LOCK_EX or LOCK_SH, and cannot be
// called off: see flock(2).
func Lock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("flock", err)
		}
	}
}

// TryLock tells whether it got the lock at once.
func TryLock(fd, how int) (bool, error) {
	err := Lock(fd, how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// lockPoll is how often a held lock is tried again: flock has no timeout.
const lockPoll = 20 * time.Millisecond

// LockWithin tells whether it got the lock within a time.
func LockWithin(fd, how int, within time.Duration) (bool, error) {
	for deadline := time.Now().Add(within); ; {
		got, err := TryLock(fd, how)
		if got || err != nil || !time.Now().Before(deadline) {
			return got, err
		}
		time.Sleep(min(lockPoll, time.Until(deadline)))
	}
}

// Unlock lets go of the lock of f and closes f. A process that is being started
// right now has a copy of the descriptor until it executes, and with it the lock:
// closing alone would let go too late.
func Unlock(f *os.File) error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}
