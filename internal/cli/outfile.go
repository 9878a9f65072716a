package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"cctask/engine/task"
	"cctask/internal/ipc"
	"cctask/internal/sys"
	"cctask/storage"
)

const outUsage = "write to `FILE`, which comes to its name whole; a new one is readable by you alone; - is stdout"

// errReaderLeft says that nobody reads stdout any more, which is no failure.
var errReaderLeft = errors.New("the reader of stdout has left")

// writeOut lets write write to the file of -o, or to stdout without one; source
// is the database that is read meanwhile, if it is not the state directory's. A
// regular file comes to its name whole.
func (a *app) writeOut(path, source string, write func(io.Writer) error) error {
	if path == "" || path == "-" {
		return a.toStdout(source, write)
	}
	target, err := sys.FollowLinks(path)
	if err != nil {
		return notWritten(path, err)
	}
	info, err := os.Stat(path)
	if err == nil && a.reads(source, info) || storage.IsDatabase(target) || a.inStateDir(target) {
		return ownFile("-o " + path)
	}
	// What has no name of its own, such as /dev/fd/3, is written to as it is.
	if err == nil && (!info.Mode().IsRegular() || strings.HasPrefix(target, "/proc/")) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err == nil {
			err = errors.Join(write(f), f.Close())
		}
		return notWritten(path, err)
	}
	return notWritten(path, sys.WriteFile(target, write))
}

func (a *app) toStdout(source string, write func(io.Writer) error) error {
	if out, is := a.Stdout.(*os.File); is {
		if info, err := out.Stat(); err == nil && a.reads(source, info) {
			return ownFile("the file of stdout")
		}
	}
	return write(writerFunc(func(p []byte) (int, error) {
		n, err := a.shown(a.Stdout).Write(p)
		if errors.Is(err, syscall.EPIPE) {
			err = errReaderLeft
		}
		return n, err
	}))
}

// reads tells whether a file is one that this command reads.
func (a *app) reads(source string, target fs.FileInfo) bool {
	read := []string{source}
	if s, err := a.settings(); err == nil {
		read = append(read, filepath.Join(s.Dir, storage.FileName), s.File.Path)
	}
	for _, path := range read {
		if info, err := os.Stat(path); err == nil && os.SameFile(info, target) {
			return true
		}
	}
	return false
}

// inStateDir tells whether a path lies in this or another state directory: an
// owner would take what is written there for its own.
func (a *app) inStateDir(path string) bool {
	own, err := a.settings()
	if err == nil {
		own.Dir, err = filepath.EvalSymlinks(own.Dir)
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		_, lockErr := os.Lstat(filepath.Join(dir, ipc.LockName))
		// A backup of one has no lock, but a key and a database.
		if lockErr == nil || err == nil && dir == own.Dir || storage.IsDatabase(filepath.Join(dir, storage.FileName)) {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}

func ownFile(what string) error {
	return badInput(what+" is a file of cctask's own, or lies among them", "Write to a file that may be replaced, outside of every state directory.")
}

// notWritten gives an error of the file itself its next step.
func notWritten(path string, err error) error {
	var file *fs.PathError
	switch {
	case !errors.As(err, &file) || task.AsError(err).Code != task.CodeInternal:
		return err
	case errors.Is(err, sys.ErrNowhere):
		return badInput(fmt.Sprintf("%s %v", path, sys.ErrNowhere), "Give an absolute path.")
	case file.Op == "write" || file.Op == "sync":
		return &task.Error{Code: task.CodeNoSpace, Message: "write " + path, Err: file.Err, Hint: "Give a place that takes more with -o, or leave it out and read stdout."}
	}
	return badInput(fmt.Sprintf("-o: %v", err), "Give a path in a directory that you can write to.")
}
