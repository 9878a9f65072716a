package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"cctask/engine/runner"
	"cctask/engine/task"
)

// spool is what claude has written of an attempt that lives: two files in its
// run directory, whole from the first byte on until the directory goes.
type spool struct {
	paths map[task.Stream]string

	mu     sync.RWMutex
	files  map[task.Stream]*os.File
	closed bool
}

func newSpool(r *runner.Run) *spool {
	return &spool{
		paths: map[task.Stream]string{task.Stdout: r.Stdout(), task.Stderr: r.Stderr()},
		files: map[task.Stream]*os.File{},
	}
}

// file opens a stream at its first use: a lack of descriptors then is an error
// of that read, which is repeated, and not of the launch.
func (s *spool) file(st task.Stream) (*os.File, error) {
	s.mu.RLock()
	f, closed := s.files[st], s.closed
	s.mu.RUnlock()
	if f != nil {
		return f, nil
	}
	if closed {
		return nil, os.ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, os.ErrClosed
	}
	if s.files[st] != nil {
		return s.files[st], nil
	}
	f, err := os.Open(s.paths[st])
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	s.files[st] = f
	return f, nil
}

// size is the number of bytes written so far; os.ErrClosed once they are in
// the store.
func (s *spool) size(st task.Stream) (int64, error) {
	f, err := s.file(st)
	if err != nil {
		return 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// sizes are those of stdout and stderr.
func (s *spool) sizes() (stdout, stderr int64, err error) {
	if stdout, err = s.size(task.Stdout); err != nil {
		return 0, 0, err
	}
	stderr, err = s.size(task.Stderr)
	return stdout, stderr, err
}

// readAt fills b as far as the file goes.
func (s *spool) readAt(st task.Stream, b []byte, off int64) (int, error) {
	f, err := s.file(st)
	if err != nil {
		return 0, err
	}
	n, err := f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// close ends the use of the files. Readers turn to the store, where all of it
// is by then.
func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, f := range s.files {
		_ = f.Close() // only read
	}
}
