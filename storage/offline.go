package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"cctask/engine/task"
)

// Offline reads a database file that no owner serves. Each call opens the file
// for itself and closes it, so that the lock is never held while the caller
// does something else, and an owner may start at any time: from then on calls
// fail with ErrLocked.
type Offline struct {
	path    string
	timeout time.Duration
	info    os.FileInfo
}

// OpenOffline looks once whether the file at path is whole, waiting at most
// DefaultTimeout for its lock, as every later call does.
// Errors: ErrLocked, ErrCorrupt, ErrVersion.
func OpenOffline(path string) (*Offline, error) {
	db, err := OpenReadOnly(path, DefaultTimeout)
	if err != nil {
		return nil, err
	}
	return &Offline{path: path, timeout: DefaultTimeout, info: db.info}, db.Close()
}

// offline opens the file for one call.
func offline[T any](o *Offline, f func(*DB) (T, error)) (got T, err error) {
	db, err := OpenReadOnly(o.path, o.timeout)
	if err != nil {
		return got, err
	}
	if os.SameFile(o.info, db.info) {
		got, err = f(db)
	} else {
		err = fmt.Errorf("the database %s was replaced meanwhile", o.path)
	}
	return got, errors.Join(err, db.Close())
}

var (
	_ task.Source = (*DB)(nil)
	_ task.Source = (*Offline)(nil)
)

func (o *Offline) Page(q task.DumpQuery) (task.DumpPage, error) {
	return offline(o, func(db *DB) (task.DumpPage, error) { return db.Page(q) })
}

func (o *Offline) Resolve(ref string) (task.Match, error) {
	return offline(o, func(db *DB) (task.Match, error) { return db.Resolve(ref) })
}

func (o *Offline) Stream(id task.ID, n int, s task.Stream, offset int64, limit int) ([]byte, error) {
	return offline(o, func(db *DB) ([]byte, error) { return db.Stream(id, n, s, offset, limit) })
}

// IsDatabase tells whether there is a database file at path.
func IsDatabase(path string) bool {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = readMeta(f)
	return err == nil
}

// copyTries is how often CopyLive begins anew when a commit came between.
const copyTries = 10

// CopyLive copies the file of a process that holds its lock and does not
// answer. A copy counts only if no commit came while it was made: then its
// pages are those that the newest meta page names. dst must not exist.
// ErrLocked: the owner was writing all the time.
func CopyLive(path, dst string) error {
	src, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("open the database to copy it: %w", err)
	}
	defer src.Close()
	out, err := os.OpenFile(dst, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the copy: %w", err)
	}
	err = copyQuiet(src, out)
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(translate(path, err), os.Remove(dst))
	}
	return nil
}

func copyQuiet(src, out *os.File) error {
	for range copyTries {
		before, err := readMeta(src)
		if err != nil {
			continue // torn by a commit, or damaged: the next try tells
		}
		size := int64(before.pages) * before.pageSize
		if err := out.Truncate(0); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, 0), io.NewSectionReader(src, 0, size)); err != nil {
			return fmt.Errorf("copy the database: %w", err)
		}
		after, err := readMeta(src)
		if err == nil && after == before {
			return nil
		}
	}
	if _, err := readMeta(src); err != nil {
		return corrupt(src.Name(), err)
	}
	return task.Errorf(task.CodeLocked, "Its owner lives: ask it (`cctask daemon status`), or try again.", "the database %s is being written to", src.Name())
}
