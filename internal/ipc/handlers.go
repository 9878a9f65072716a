package ipc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/sys"
)

const (
	maxConns   = 2000             // more are closed at once
	greetTime  = 10 * time.Second // for the first line, and for the rest of a frame that has begun
	idleTime   = 10 * time.Minute // between two questions
	answerTime = 30 * time.Second // for a front to take its answer
)

// handler answers one verb: one value in, one out.
type handler struct {
	waits bool
	f     func(c context.Context, in []byte) (any, error)
	// plain is an answer as JSON alone.
	plain func(answer []byte) (json.RawMessage, error)
}

func on[In, Out any](list map[string]handler, v verb[In, Out], f func(context.Context, In) (Out, error)) {
	list[v.name] = handler{
		waits: v.waits,
		f: func(c context.Context, body []byte) (any, error) {
			var in In
			if len(body) > 0 {
				if err := decode(body, &in); err != nil {
					return nil, &task.Error{Code: task.CodeInvalid, Message: "the request is not understood", Err: err, Hint: "Ask with the same version of cctask as the owner's."}
				}
			}
			out, err := f(c, in)
			return &out, err
		},
		plain: func(answer []byte) (json.RawMessage, error) {
			var out Out
			if err := decode(answer, &out); err != nil {
				return nil, err
			}
			return json.Marshal(&out)
		},
	}
}

func newServer(o *Owner, b Backend) *server {
	s := &server{
		o: o, b: b, began: time.Now(), busy: time.Now(), conns: map[net.Conn]bool{},
		cut: make(chan struct{}), empty: make(chan struct{}), told: make(chan error, 1),
	}
	s.verbs = s.serves()
	return s
}

func (s *server) hello() Hello {
	st := s.b.Stats()
	h := Hello{Lock: s.o.Record(), Stats: st, Uptime: time.Since(s.began)}
	if s.o.Notice != nil {
		h.Notice = s.o.Notice()
	}
	return h
}

// accept serves connections until the listener is closed; then it returns nil.
func (s *server) accept(base context.Context, ln net.Listener) error {
	for {
		c, err := ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		// The other end left, or descriptors or memory lack for a moment; see accept(2).
		case sys.Any(err, syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR):
			pause(base, 50*time.Millisecond)
		case err != nil:
			return err
		case !s.admit(c):
			_ = c.Close()
		default:
			go s.converse(base, c)
		}
	}
}

func (s *server) admit(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= maxConns {
		return false
	}
	s.conns[c] = true
	return true
}

func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// converse answers the questions of one connection. One that does not wait is
// answered here, on the goroutine that has read it.
func (s *server) converse(base context.Context, conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	if u, is := conn.(*net.UnixConn); is {
		base = engine.CalledBy(base, peerPID(u))
	}
	r := bufio.NewReaderSize(conn, 4096)
	_ = conn.SetReadDeadline(time.Now().Add(greetTime))
	protocol, who, err := readGreeting(r)
	if err != nil {
		return
	}
	// The verdict on the greeting is the answer to the first question.
	refused := s.mistaken(protocol, who)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(idleTime))
		if _, err := r.Peek(1); err != nil {
			return
		}
		_ = conn.SetReadDeadline(time.Now().Add(greetTime))
		name, body, err := readFrame(r, maxQuestion)
		switch {
		case errors.Is(err, errTooLarge):
			refused = task.Errorf(task.CodeInvalid, "Put the material into a file in the working directory and name the file in the prompt.", "the request has more than %d bytes", maxQuestion)
		case err != nil:
			return
		}
		if refused != nil {
			_ = s.answer(conn, nil, refused)
			drain(conn) // a close with unread bytes would take the answer along
			return
		}
		if !s.ask(base, conn, r, name, body) {
			return
		}
	}
}

func drain(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 64<<10)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

// mistaken refuses a front that believes to speak to another owner: it must know
// whom it speaks to, or it could kill the wrong one when this one hangs.
func (s *server) mistaken(protocol int, who string) error {
	l := s.o.Record()
	switch {
	case protocol != Protocol:
		return versionError(l.Version, strconv.Itoa(Protocol), strconv.Itoa(protocol))
	case who != l.identity():
		return closingError()
	}
	return nil
}

// ask answers one question; false ends the connection.
func (s *server) ask(base context.Context, conn net.Conn, r *bufio.Reader, name string, body []byte) bool {
	if !s.enter() {
		_ = s.answer(conn, nil, closingError())
		return false
	}
	// The answer is sent before the question counts as done, so that an owner that
	// leaves at that moment does not cut it off.
	defer s.leave()
	if name == eventsVerb {
		s.events(base, conn, r)
		return false
	}
	h, known := s.verbs[name]
	if !known {
		return s.answer(conn, nil, task.Errorf(task.CodeInvalid, "It knows "+strings.Join(Verbs(), ", ")+".", "the owner knows no verb %q", name)) == nil
	}
	c, stop := base, func() {}
	if h.waits {
		c, stop = whileThere(base, conn, r)
	}
	out, err := s.reply(c, name, h, body)
	left := c.Err() != nil && base.Err() == nil
	stop()
	return !left && s.answer(conn, out, err) == nil
}

// reply runs a handler. What the owner itself has cut off did not fail: the next
// one does it. An error may be the end of this one.
func (s *server) reply(c context.Context, name string, h handler, body []byte) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.o.log(fmt.Sprintf("panic in %s: %v\n%s", name, p, debug.Stack()))
			err = fmt.Errorf("panic in %s: %v", name, p)
		}
	}()
	if err := s.lost(); err != nil && name != stopVerb.name {
		return nil, err
	}
	if out, err = h.f(c, body); err == nil {
		return out, nil
	}
	if c.Err() != nil && s.isClosing() {
		err = closingError()
	}
	_ = s.lost()
	return nil, err
}

func (s *server) answer(conn net.Conn, out any, err error) error {
	head := headAnswer
	var body []byte
	if err == nil {
		body, err = encode(out)
	}
	if err != nil {
		head = headRefusal
		if body, err = encode(task.AsError(err)); err != nil {
			body = []byte(`{"code":"internal"}`)
		}
	}
	_ = conn.SetWriteDeadline(time.Now().Add(answerTime))
	return writeFrame(conn, "", head, body)
}

// whileThere is a context that ends when the other end leaves. stop must be called
// before anything else is read.
func whileThere(base context.Context, conn net.Conn, r *bufio.Reader) (context.Context, func()) {
	c, cancel := context.WithCancel(base)
	var watch sync.WaitGroup
	_ = conn.SetReadDeadline(time.Time{})
	watch.Go(func() {
		if _, err := r.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel()
		}
	})
	return c, func() {
		_ = conn.SetReadDeadline(past)
		watch.Wait()
		cancel()
	}
}

// events streams the changes of all tasks, each task's newest. It subscribes
// before the first heartbeat: a front that has that misses nothing from then on.
func (s *server) events(base context.Context, conn net.Conn, r *bufio.Reader) {
	if err := s.b.MayChange(); err != nil {
		_ = s.answer(conn, nil, err)
		return
	}
	watch := s.b.Watch(engine.Scope{})
	defer watch.Close()
	c, stop := whileThere(base, conn, r)
	defer stop()
	c, cancel := s.untilCut(c)
	defer cancel()
	var evs []engine.Event
	for {
		var body []byte
		if len(evs) > 0 {
			var err error
			if body, err = encode(evs); err != nil {
				return
			}
		}
		// A front that was stopped must not hold a question in flight for ever.
		_ = conn.SetWriteDeadline(time.Now().Add(2 * heartbeat))
		err := writeFrame(conn, "", headEvent, body)
		if err == nil {
			evs, err = nextEvents(c, watch)
		}
		if err != nil {
			return
		}
	}
}

// untilCut is a stream's context: it ends with c, and when the owner leaves.
func (s *server) untilCut(c context.Context) (context.Context, context.CancelFunc) {
	c, cancel := context.WithCancel(c)
	go func() {
		select {
		case <-s.cut:
			cancel()
		case <-c.Done():
		}
	}()
	return c, cancel
}

// nextEvents returns nothing after a heartbeat's time without any.
func nextEvents(c context.Context, watch engine.Watch) ([]engine.Event, error) {
	beat, cancel := context.WithTimeout(c, heartbeat)
	defer cancel()
	evs, err := watch.Next(beat)
	if err != nil && c.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return evs, err
}
