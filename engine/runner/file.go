package runner

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"cctask/internal/sys"
)

func openLock(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
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
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(data)
	return err
}
