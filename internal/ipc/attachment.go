package ipc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// attachment is one owner as the client found it. Each of its connections names
// that owner, because the socket's name may have passed to the next one.
type attachment struct {
	lock  Lock
	hello Hello // its first

	mu     sync.Mutex
	idle   []*conn // the one that was used last is at the end
	closed bool
}

// maxIdle is how many connections are kept for the next questions.
const maxIdle = 8

// conn is a connection with one question at a time; whoever asks reads the answer.
type conn struct {
	net.Conn
	r     *bufio.Reader
	first string // goes before the first frame
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
}

// take gives a connection that nobody uses.
func (a *attachment) take(ctx context.Context) (*conn, error) {
	a.mu.Lock()
	if n := len(a.idle); n > 0 {
		c := a.idle[n-1]
		a.idle = a.idle[:n-1]
		a.mu.Unlock()
		return c, nil
	}
	a.mu.Unlock()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", a.lock.Socket)
	if err != nil {
		return nil, &dialError{err}
	}
	if u, ok := c.(*net.UnixConn); ok {
		err = checkPeer(u)
	}
	if err != nil {
		_ = c.Close()
		return nil, &dialError{err}
	}
	return &conn{Conn: c, r: bufio.NewReader(c), first: greet(a.lock)}, nil
}

// give keeps a connection for the next question.
func (a *attachment) give(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || len(a.idle) >= maxIdle {
		_ = c.Close()
		return
	}
	a.idle = append(a.idle, c)
}

// roundTrip asks one question. Its connection goes with the end of ctx, because
// the answer may still come.
func (a *attachment) roundTrip(ctx context.Context, verb string, in, out any) error {
	c, body, err := a.question(ctx, verb, in)
	if err != nil {
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

// question returns the connection, which is the caller's then, and the body of the
// first answer.
func (a *attachment) question(ctx context.Context, verb string, in any) (*conn, []byte, error) {
	sent, err := encode(in)
	if err != nil {
		return nil, nil, err
	}
	c, err := a.take(ctx)
	if err != nil {
		return nil, nil, err
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
		_ = c.Close()
		return nil, nil, &lostError{err}
	case head == headRefusal:
		// The owner may have closed it: a refusal costs a connection.
		_ = c.Close()
		return nil, nil, decodeError(body)
	}
	return c, body, nil
}

// readAfter reads an answer, also where the question could not be written whole.
func readAfter(c *conn, written error) (head string, body []byte, err error) {
	if head, body, err = readFrame(c.r, maxAnswer); err != nil {
		err = errors.Join(written, err)
	}
	return head, body, err
}
