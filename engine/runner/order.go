package runner

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An owner and the runner that it has hired speak over a pair of stream sockets
// that nobody else ever holds: so only processes of one binary meet on it. An
// order is the sizes of its two parts, what to do as JSON, and claude's
// environment as bytes, which JSON would mangle; with its first byte comes the
// descriptor of the run's lock (unix(7), SCM_RIGHTS). The runner answers each
// order with one or two lines of JSON.

type order struct {
	Dir    string
	Launch Launch
}

// answer is how far the runner has come with its order: it has started claude, then
// that it ended; or that there will be no more of it.
type answer struct {
	Record Record
	Error  string `json:",omitempty"` // why the order was not begun: the record says `prepared`
}

// final tells whether the runner is free again.
func (a answer) final() bool { return a.Record.State != StateRunning }

const (
	orderHeader = 8
	maxOrder    = 64 << 20 // bytes of either part: far above what an exec takes
)

func encodeOrder(o order, env []string) ([]byte, error) {
	head, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, orderHeader, orderHeader+len(head)), head...)
	for _, v := range env {
		if strings.IndexByte(v, 0) >= 0 {
			return nil, errors.New("a variable of the environment holds a zero byte")
		}
		b = append(append(b, v...), 0)
	}
	binary.BigEndian.PutUint32(b, uint32(len(head)))
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-orderHeader-len(head)))
	return b, nil
}

// sendOrder writes an order, which may be larger than the socket's buffer, to a
// runner that may be dead or stopped.
func sendOrder(c *net.UnixConn, b []byte, lock *os.File) error {
	if err := c.SetWriteDeadline(time.Now().Add(readyWithin)); err != nil {
		return err
	}
	n, _, err := c.WriteMsgUnix(b, unix.UnixRights(int(lock.Fd())), nil)
	if err == nil && n < len(b) {
		_, err = c.Write(b[n:])
	}
	return err
}

// recvOrder reads an order from the blocking socket fd. env holds the environment,
// which the caller clears. Whatever the error, lock is to be closed unless it is -1.
func recvOrder(fd int, buf []byte) (o order, env []byte, lock int, err error) {
	var header [orderHeader]byte
	n, lock, err := recvFirst(fd, header[:])
	if err == nil {
		_, err = io.ReadFull(fdReader(fd), header[n:])
	}
	if err != nil {
		return o, nil, lock, err
	}
	head, vars := int(binary.BigEndian.Uint32(header[:])), int(binary.BigEndian.Uint32(header[4:]))
	if head > maxOrder || vars > maxOrder {
		return o, nil, lock, fmt.Errorf("an order of %d and %d bytes", head, vars)
	}
	if cap(buf) < head+vars {
		buf = make([]byte, head+vars)
	}
	buf = buf[:head+vars]
	if _, err = io.ReadFull(fdReader(fd), buf); err == nil {
		err = json.Unmarshal(buf[:head], &o)
	}
	return o, buf[head:], lock, err
}

// recvFirst reads what comes with the lock; -1 if none does.
func recvFirst(fd int, b []byte) (n, lock int, err error) {
	rights := make([]byte, unix.CmsgSpace(4))
	var got int
	for {
		n, got, _, _, err = unix.Recvmsg(fd, b, rights, 0)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return 0, -1, err
	}
	lock = -1
	msgs, err := unix.ParseSocketControlMessage(rights[:got])
	for _, m := range msgs {
		if fds, e := unix.ParseUnixRights(&m); e == nil && len(fds) == 1 {
			lock = fds[0]
			unix.CloseOnExec(lock)
		}
	}
	return n, lock, err
}

// fdReader reads from a blocking descriptor, past interruptions.
type fdReader int

func (fd fdReader) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 && len(b) > 0 {
			err = io.EOF
		}
		return max(n, 0), err
	}
}

func sendAnswer(fd int, a answer) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	for b = append(b, '\n'); len(b) > 0; {
		n, err := unix.Write(fd, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}
