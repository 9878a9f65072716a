package sys

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// WriteFile lets write write a file that comes to its name whole or not at all,
// and is there after a power cut. A new one is its user's alone, one that is there
// keeps its mode; of several writers the last one wins. A link is replaced.
func WriteFile(path string, write func(io.Writer) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of no use to anybody, if it still has this name
	err = write(f)
	if info, there := os.Lstat(path); err == nil && there == nil && info.Mode().IsRegular() {
		err = f.Chmod(info.Mode().Perm())
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

// ErrNowhere is why a relative path cannot be followed.
var ErrNowhere = errors.New("is not an absolute path, and the current directory was removed")

// FollowLinks follows the links at the end of a path, also to a file that is not
// there yet, and gives the directory of that file as it is named for good.
func FollowLinks(path string) (string, error) {
	for range 40 {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err == nil {
			if dir, err = filepath.Abs(dir); err != nil {
				return "", &fs.PathError{Op: "find", Path: path, Err: ErrNowhere}
			}
		}
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		to, err := os.Readlink(path)
		switch {
		case err != nil || strings.HasPrefix(path, "/proc/"):
			return path, nil
		case filepath.IsAbs(to):
			path = to
		default:
			path = filepath.Join(dir, to)
		}
	}
	return "", &fs.PathError{Op: "follow", Path: path, Err: unix.ELOOP}
}
