package ipc

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"cctask/engine/task"
)

// maxSocketPath is the longest path that both Linux (107) and macOS bind.
const maxSocketPath = 103

// checkDir refuses a directory in which somebody else could plant or read
// files. A missing one is fs.ErrNotExist.
func checkDir(dir string) error {
	fi, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return dirError(err)
	}
	refuse := func(what, hint string) error {
		return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("the directory %s %s", dir, what), Hint: hint}
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

// makeDir makes a private directory, or checks the one that is there.
func makeDir(dir string) error {
	err := os.MkdirAll(filepath.Dir(dir), 0o700)
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return dirError(err)
	}
	return checkDir(dir)
}

// dirError is the error of a directory that its user cannot work in, and
// another one of a disk that is full.
func dirError(err error) error {
	e := &task.Error{
		Code: task.CodeInvalid, Message: "the state directory cannot be used", Err: err,
		Hint: "See who may do what there, or choose another one with --dir or CCTASK_DIR.",
	}
	if errors.Is(err, syscall.ENOSPC) {
		e.Code, e.Hint = task.CodeNoSpace, "Free some space on its disk, then try again."
	}
	return e
}

// socketDir is where an owner of dir binds its socket: dir itself, unless its
// paths are too long for a socket. The choice may depend on the owner's
// environment, so fronts take the endpoint from owner.lock only.
func socketDir(dir string) (string, error) {
	if fits(dir) {
		return dir, nil
	}
	name := fmt.Sprintf("cctask-%x", sha256.Sum256([]byte(dir)))[:23]
	for _, base := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"} {
		short := filepath.Join(base, name)
		// The temporary directory is everybody's: a name that somebody else
		// took first fails the check.
		if filepath.IsAbs(base) && fits(short) && makeDir(short) == nil {
			return short, nil
		}
	}
	short, err := os.MkdirTemp("/tmp", "cctask-")
	if err != nil {
		return "", fmt.Errorf("make a directory for the socket: %w", err)
	}
	return short, nil
}

// fits leaves room for the longest name, sock.<pid>.
func fits(dir string) bool { return len(filepath.Join(dir, "sock.4194304")) <= maxSocketPath }
