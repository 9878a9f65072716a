package ipc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// directTime is how long a thread waits for an answer by itself.
const directTime = 20 * time.Millisecond

// direct is a connection on which a read blocks the thread that asks, so that an
// answer of microseconds wakes that thread alone and not the runtime's poller as well,
// which costs more than the answer. After directTime without one, or where another
// goroutine wants to end it, it becomes a connection like any other.
type direct struct {
	fd int

	mu    sync.Mutex
	ended bool     // by SetDeadline, before there was late
	late  net.Conn // nil before directTime has passed
}

// newDirect takes over a connection. (Read and Write are those of package syscall, which the
// race detector takes for the synchronisation with a server in the same process.)
func newDirect(c *net.UnixConn) (*direct, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var dupErr error
	err = raw.Control(func(own uintptr) { fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr, c.Close()); err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(int64(directTime))
	err = unix.SetNonblock(fd, false)
	for _, way := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		err = errors.Join(err, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, way, &tv))
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make the socket block: %w", err)
	}
	return &direct{fd: fd}, nil
}

func (d *direct) Read(p []byte) (int, error) {
	for d.late == nil {
		n, err := syscall.Read(d.fd, p)
		switch {
		case err == nil && n == 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		}
		if err := d.failed("read", err); err != nil {
			return 0, err
		}
	}
	return d.late.Read(p)
}

func (d *direct) Write(p []byte) (int, error) {
	sent := 0
	for d.late == nil {
		n, err := syscall.Write(d.fd, p[sent:])
		if sent += max(0, n); err == nil && sent == len(p) {
			return sent, nil
		}
		if err != nil {
			err = d.failed("write", err)
		}
		if err != nil {
			return sent, err
		}
	}
	n, err := d.late.Write(p[sent:])
	return sent + n, err
}

// failed tells whether a call is not to be made again.
func (d *direct) failed(call string, err error) error {
	switch {
	case errors.Is(err, syscall.EINTR):
		return nil
	case errors.Is(err, syscall.EAGAIN):
		return d.wait()
	}
	return os.NewSyscallError(call, err)
}

// wait leaves the waiting to the runtime's poller.
func (d *direct) wait() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := os.NewFile(uintptr(d.fd), "owner")
	late, err := net.FileConn(f)
	_ = f.Close() // FileConn has its own
	d.fd = -1
	if err == nil && d.ended {
		err = late.SetDeadline(past)
	}
	d.late = late
	return err
}

// SetDeadline ends reading and writing, with the past, at most directTime later. Another time
// means none.
func (d *direct) SetDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = !t.IsZero()
	if d.late != nil {
		return d.late.SetDeadline(t)
	}
	return nil
}

func (d *direct) Close() error {
	if d.late != nil {
		return d.late.Close()
	}
	return unix.Close(d.fd)
}
