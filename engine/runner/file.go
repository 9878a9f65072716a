package runner

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"cctask/internal/sys"
)

func openLock(path string) (int, error) { return open(path, unix.O_RDONLY|unix.O_NOFOLLOW) }

func open(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		default:
			return fd, nil
		}
	}
}

// openFile opens a plain file in one system call: os.OpenFile asks in five more whether
// it could be polled.
func openFile(path string, flags int) (*os.File, error) {
	fd, err := open(path, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// lockHeld looks with a descriptor of its own. A lock file that is not there is
// not held.
func lockHeld(path string) (bool, error) {
	fd, err := openLock(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	got, err := sys.TryLock(fd, unix.LOCK_SH)
	if err != nil {
		return false, fmt.Errorf("look at the lock %s: %w", path, err)
	}
	return !got, nil
}

// writeNew writes a file that must not exist yet.
func writeNew(path string, data []byte) error {
	f, err := openFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(data)
	return err
}
