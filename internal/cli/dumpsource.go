package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/storage"
)

// fileSource reads the database without an owner. When an owner appears in the
// middle it goes on with a copy: what was read before stays true, since records
// are read one at a time and streams only grow.
type fileSource struct {
	dir  string
	file *storage.Offline
	temp string // holds the copy; "" as long as there is none
}

func (f *fileSource) copy() error {
	temp, err := os.MkdirTemp(f.dir, "dump-")
	if err != nil {
		return fmt.Errorf("make room for a copy of the database: %w", err)
	}
	f.temp = temp
	path := filepath.Join(temp, storage.FileName)
	if err := storage.CopyLive(filepath.Join(f.dir, storage.FileName), path); err != nil {
		return err
	}
	f.file, err = storage.OpenOffline(path)
	return err
}

func (f *fileSource) close() error {
	if f.temp == "" {
		return nil
	}
	return os.RemoveAll(f.temp)
}

// read calls the file, and its copy when the file was taken from us.
func read[T any](f *fileSource, call func(*storage.Offline) (T, error)) (T, error) {
	v, err := call(f.file)
	if f.temp != "" || !errors.Is(err, task.ErrLocked) {
		return v, err
	}
	if err := f.copy(); err != nil {
		return v, err
	}
	return call(f.file)
}

func (f *fileSource) IDs(after task.ID, limit int) ([]task.ID, error) {
	return read(f, func(o *storage.Offline) ([]task.ID, error) { return o.IDs(after, limit) })
}

func (f *fileSource) Snapshot(id task.ID) (storage.Snapshot, error) {
	return read(f, func(o *storage.Offline) (storage.Snapshot, error) { return o.Snapshot(id) })
}

func (f *fileSource) Stream(id task.ID, n int, s task.Stream, offset int64, limit int) ([]byte, error) {
	return read(f, func(o *storage.Offline) ([]byte, error) { return o.Stream(id, n, s, offset, limit) })
}

// spooled adds to a source what a running attempt has printed since its last
// sealed chunk: its spool file holds all of its output until that is in the
// database.
type spooled struct {
	storage.Source
	dir string // state directory
}

func (s spooled) spool(id task.ID, n int, st task.Stream) (string, bool) {
	run, err := runner.Open(filepath.Join(s.dir, "run", fmt.Sprintf("%s.%d", id, n)))
	switch {
	case err != nil:
	case st == task.Stdout:
		return run.Stdout(), true
	case st == task.Stderr:
		return run.Stderr(), true
	}
	return "", false
}

// Snapshot looks at the files after the record: what they have more is newer,
// never older, than the record.
func (s spooled) Snapshot(id task.ID) (storage.Snapshot, error) {
	snap, err := s.Source.Snapshot(id)
	if err != nil || !snap.Task.Status.Live() {
		return snap, err
	}
	n := snap.Task.Attempt
	for _, st := range []task.Stream{task.Stdout, task.Stderr} {
		if path, ok := s.spool(id, n, st); ok && n <= len(snap.Sizes) {
			if info, err := os.Lstat(path); err == nil {
				size := snap.Sizes[n-1].Of(st)
				*size = max(*size, info.Size())
			}
		}
	}
	return snap, nil
}

func (s spooled) Stream(id task.ID, n int, st task.Stream, offset int64, limit int) ([]byte, error) {
	data, err := s.Source.Stream(id, n, st, offset, limit)
	if err != nil || len(data) > 0 {
		return data, err
	}
	path, ok := s.spool(id, n, st)
	if !ok {
		return nil, nil
	}
	data, err = readAt(path, offset, limit)
	if len(data) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	// The attempt has ended since: its file went when all of it was sealed.
	return s.Source.Stream(id, n, st, offset, limit)
}

func readAt(path string, offset int64, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, limit)
	n, err := f.ReadAt(data, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return data[:n], err
}
