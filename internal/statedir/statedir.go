// Package statedir makes and checks directories that nobody else may look or
// write into: whoever could write there could run commands as us, and whoever
// could read there would read prompts. It may import engine/task for its
// errors, and must never know what lies in such a directory.
package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"unicode/utf8"

	"cctask/engine/task"
	"cctask/internal/sys"
)

// Check refuses a directory in which somebody else could plant or read
// files. A missing one is fs.ErrNotExist.
func Check(dir string) error {
	shown := dir
	refuse := func(what, hint string) error {
		return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("the directory %s %s", shown, what), Hint: hint}
	}
	// The owner and its runners write its path down as JSON, which would lead
	// whoever reads it to another place.
	if !utf8.ValidString(dir) {
		shown = strconv.Quote(dir)
		return refuse("has a name that is not valid UTF-8", "Rename it, or choose another one with --dir or CCTASK_DIR.")
	}
	fi, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return Refused(err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case fi.Mode()&fs.ModeSymlink != 0:
		return refuse("is a symbolic link", "Give the directory that it leads to with --dir or CCTASK_DIR.")
	case !fi.IsDir():
		return refuse("is not a directory", "Choose another one with --dir or CCTASK_DIR.")
	case !ok || int(st.Uid) != os.Geteuid():
		return refuse("belongs to another user", "Choose one of your own with --dir or CCTASK_DIR.")
	case fi.Mode().Perm()&0o077 != 0:
		return refuse(fmt.Sprintf("is open to other users (mode %04o)", fi.Mode().Perm()), fmt.Sprintf("Close it: chmod 700 %q", dir))
	}
	return nil
}

// ReadOnly tells why nothing can be written in a directory that can be read, or
// in the file that counts there: a disk that is mounted so, another user's backup,
// a copy. nil: it can, or cannot even be read.
func ReadOnly(dir, file string) error {
	fi, err := os.Stat(dir)
	const read, write, search = 4, 2, 1
	if err != nil || !fi.IsDir() || syscall.Access(dir, read|search) != nil {
		return nil
	}
	why := "it belongs to another user"
	if st, ok := fi.Sys().(*syscall.Stat_t); !ok || int(st.Uid) == os.Geteuid() {
		err := syscall.Access(dir, write)
		if path := filepath.Join(dir, file); err == nil && syscall.Access(path, read) == nil {
			if err = syscall.Access(path, write); err != nil {
				err = fmt.Errorf("%s: %w", file, err)
			}
		}
		if err == nil {
			return nil
		}
		why = err.Error()
	}
	return task.Errorf(task.CodeInvalid, fmt.Sprintf("Name another one with --dir or CCTASK_DIR, such as a copy of your own: cp -r %q COPY && chmod -R go=,u+w COPY", dir),
		"the state directory %s can only be read: %s", dir, why)
}

// Make makes a private directory that survives a power cut, or checks the one
// that is there.
func Make(dir string) error {
	if err := Check(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := mkdirs(dir); err != nil {
		return Refused(err)
	}
	return Check(dir)
}

// mkdirs gives each directory that it makes its mode also under a umask that
// takes rights from us: we could not enter it, nor could anybody after us.
func mkdirs(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := mkdirs(parent); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil // another front's
	}
	if err == nil {
		err = os.Chmod(dir, 0o700)
	}
	if err == nil {
		err = sys.Sync(parent)
	}
	return err
}

// Refused is the error of a directory that its user cannot work in, and
// another one of a disk that is full.
func Refused(err error) error {
	e := &task.Error{
		Code: task.CodeInvalid, Message: "the state directory cannot be used", Err: err,
		Hint: "See who may do what there, or choose another one with --dir or CCTASK_DIR.",
	}
	if errors.Is(err, syscall.ENOSPC) {
		e.Code, e.Hint = task.CodeNoSpace, "Free some space on its disk, then try again."
	}
	return e
}
