package sys

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// WriteFile lets write write a file that comes to its name whole or not at all,
// and is there after a power cut. It replaces the one that is there; of several
// writers the last one wins. A link is replaced, not followed.
func WriteFile(path string, mode fs.FileMode, write func(io.Writer) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of no use to anybody, if it still has this name
	if err = write(f); err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	// A directory that may be written to, but not read, cannot be synced.
	if err := Sync(dir); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// Sync makes the content of a file, or the names in a directory, durable.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Free is how many bytes the user may still write on the disk of a path; 0 if
// that cannot be told.
func Free(path string) uint64 {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize) //nolint:unconvert // the type differs between systems
}
