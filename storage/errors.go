package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"

	"cctask/engine/task"
)

func notFound(ref string) *task.Error {
	return task.Errorf(task.CodeNotFound, "List the tasks with `cctask list --all`.", "no task %q", ref)
}

func missing(id task.ID, what string) error {
	return task.Errorf(task.CodeNotFound, fmt.Sprintf("See what it has with `cctask status %s`.", id), "task %s has no %s", id, what)
}

// fault is a write or a record that the engine should not have made.
func fault(format string, args ...any) error {
	return task.Errorf(task.CodeInternal, "This is a fault of cctask: see owner.log in the state directory.", format, args...)
}

func corrupt(path string, cause error) error {
	return &task.Error{
		Code: task.CodeCorrupt, Message: fmt.Sprintf("the database %s is damaged", path), Err: cause,
		Hint: fmt.Sprintf("It was left as it is. Put back a copy of it, or move it away to begin with an empty one: mv %q %q", path, path+".damaged"),
	}
}

func closing() error {
	return &task.Error{Code: task.CodeClosing, Message: "the database is closed", Hint: "Run the command again."}
}

// translate gives bbolt's and the system's errors the code that a caller can
// tell apart.
func translate(path string, err error) error {
	var known *task.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return closing()
	case errors.Is(err, berrors.ErrDatabaseReadOnly):
		return fault("write to %s, which is open for reading only", path)
	case isNoSpace(err):
		return &task.Error{
			Code: task.CodeNoSpace, Message: "write to " + path, Err: err,
			Hint: "Free some space on its disk (`cctask rm` makes room inside the database), then try again.",
		}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return &task.Error{
			Code: task.CodeInvalid, Message: "use " + path, Err: err,
			Hint: "See who may do what there, or name another one: its directory with --dir, or the file with --db.",
		}
	default:
		return err
	}
}

// isNoSpace looks at the text too: bbolt formats the error of a failed growth
// without wrapping it.
func isNoSpace(err error) bool {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, no) || strings.Contains(err.Error(), no.Error()) {
			return true
		}
	}
	return false
}

// panicError is a panic that guard has caught.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// guard runs f and turns a panic into an error. bbolt panics on a page that
// makes no sense, and a file that is truncated under the map faults: neither
// may take the owner, and with it the answers about all tasks, down.
func guard(path string, f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			err = corrupt(path, &panicError{r})
		}
	}()
	return f()
}
