package ipc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// attachment is one owner as the client found it. Each of its connections names
// that owner, because the socket's name may have passed to the next one.
type attachment struct {
	lock  Lock
	hello Hello // its first

	mu     sync.Mutex
	idle   []*conn // the one that was used last is at the end
	direct *conn   // idle, or nil
	busy   bool    // the direct connection is in use
	closed bool
}

const maxIdle = 8

// conn is a connection with one question at a time; whoever asks reads the answer.
type conn struct {
	link
	r     *bufio.Reader
	first string // goes before the first frame
}

// link is a connection as the system gives it: a net.Conn, or a direct.
type link interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

func newAttachment(l Lock) *attachment { return &attachment{lock: l} }

func (a *attachment) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, c := range a.idle {
		_ = c.Close()
	}
	a.idle = nil
	if a.direct != nil {
		_ = a.direct.Close()
	}
	a.direct = nil
}

// take gives a connection that nobody uses. Of those questions that are asked at the
// same time one has the direct connection: more would each hold a thread.
func (a *attachment) take(ctx context.Context) (*conn, error) {
	a.mu.Lock()
	first, c := !a.busy, a.direct
	if first {
		a.busy, a.direct = true, nil
	} else if n := len(a.idle); n > 0 {
		c = a.idle[n-1]
		a.idle = a.idle[:n-1]
	}
	a.mu.Unlock()
	if c != nil {
		return c, nil
	}
	u, err := a.dial(ctx)
	if err == nil && first {
		var d *direct
		if d, err = newDirect(u); err == nil {
			return a.connection(d), nil
		}
	}
	if err != nil {
		if first {
			a.mu.Lock()
			a.busy = false
			a.mu.Unlock()
		}
		return nil, &dialError{err}
	}
	return a.connection(u), nil
}

func (a *attachment) connection(l link) *conn {
	return &conn{link: l, r: bufio.NewReader(l), first: greet(a.lock)}
}

// dial makes a connection to the owner, which is to be a process of this user.
func (a *attachment) dial(ctx context.Context) (*net.UnixConn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", a.lock.Socket)
	if err != nil {
		return nil, err
	}
	u := c.(*net.UnixConn)
	if err := checkPeer(u); err != nil {
		_ = u.Close()
		return nil, err
	}
	return u, nil
}

func (a *attachment) drop(c *conn) {
	_ = c.Close()
	if _, first := c.link.(*direct); first {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.busy = false
	}
}

func (a *attachment) give(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, first := c.link.(*direct)
	if first {
		a.busy = false
	}
	switch {
	case a.closed, first && d.late != nil, len(a.idle) >= maxIdle:
		_ = c.Close()
	case first:
		a.direct = c
	default:
		a.idle = append(a.idle, c)
	}
}

// roundTrip asks one question. Its connection goes with the end of ctx, because
// the answer may still come.
func (a *attachment) roundTrip(ctx context.Context, verb string, in, out any) error {
	c, err := a.take(ctx)
	if err != nil {
		return err
	}
	body, err := c.question(ctx, verb, in)
	if err != nil {
		a.drop(c)
		return err
	}
	a.give(c)
	if raw, ok := out.(*[]byte); ok {
		*raw = body
		return nil
	}
	if err := decode(body, out); err != nil {
		return fmt.Errorf("read the owner's answer: %w", err)
	}
	return nil
}

// question returns the body of the first answer. After an error the connection is of
// no use: the owner may have closed it, and the answer may still come.
func (c *conn) question(ctx context.Context, verb string, in any) ([]byte, error) {
	sent, err := encode(in)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })
	err = writeFrame(c, c.first, verb, sent)
	c.first = ""
	var head string
	var body []byte
	// One who refuses the greeting may do so before all is written.
	if head, body, err = readAfter(c, err); !stop() {
		err = ctx.Err()
	}
	switch {
	case err != nil:
		return nil, &lostError{err}
	case head == headRefusal:
		return nil, decodeError(body)
	}
	return body, nil
}

// readAfter reads an answer, also where the question could not be written whole.
func readAfter(c *conn, written error) (head string, body []byte, err error) {
	if head, body, err = readFrame(c.r, maxAnswer); err != nil {
		err = errors.Join(written, err)
	}
	return head, body, err
}
