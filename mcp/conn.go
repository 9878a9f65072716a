package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// bounds of what one client can make us hold. Waiting costs little, so a
// thousand waiting calls are normal; a client that sends without reading is not.
type bounds struct {
	line     int // bytes of a message
	requests int
	held     int // bytes of messages in work and of answers not yet written
}

// The longest message that makes sense is a prompt of 4 MiB, escaped.
var defaultBounds = bounds{line: 16 << 20, requests: 4096, held: 64 << 20}

// How long the end may take. A client's SIGKILL comes 300 ms after its wish.
const (
	drainTime   = 200 * time.Millisecond // for what is in work when the input ends
	goodbyeTime = 50 * time.Millisecond  // for waiting calls to say how far they came
)

// conn is one client on a pair of streams.
type conn struct {
	srv  *Server
	base context.Context
	out  *writer

	clientName atomic.Pointer[string] // from initialize; nil before it, and in the modern era

	mu       sync.Mutex
	room     sync.Cond           // signalled when held shrinks
	byID     map[string]*request // by the raw id; a cancelled request is not in it
	running  int                 // requests with a goroutine, cancelled ones included
	held     int
	stopped  bool
	whenIdle chan struct{} // closed when running reaches 0, if somebody waits for it
}

// Serve speaks MCP over in and out, one message a line, until in ends, out
// fails, or ctx ends. At the end of in, requests in work have 200 ms to end;
// then, and at once in the other cases, they are told to stop. No task is
// cancelled by any of it. Serve returns nil when the client has gone, ctx's
// error when ctx ended, else why in could not be read. A goroutine that is
// blocked in in or out is left behind.
func (s *Server) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	catchSIGPIPE()
	// The requests outlive ctx by a moment: they are told to stop in order.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c := &conn{srv: s, base: base, out: newWriter(out), byID: map[string]*request{}}
	c.room.L = &c.mu
	read := make(chan error, 1)
	go func() { read <- c.read(in) }()

	var err error
	select {
	case err = <-read:
		c.drain(drainTime)
	case <-c.out.gone:
		s.log.Debug().Msg("the client no longer reads")
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.stop()
	cancel(errStopping)
	c.drain(goodbyeTime)
	c.out.close()
	return err
}

// catchSIGPIPE makes a write to a closed standard output an error instead of
// our end. Notify, not Ignore: an ignored signal would stay ignored in every
// process that we start. It is never undone, because a goroutine that Serve
// leaves behind may still write.
func catchSIGPIPE() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

func (c *conn) read(in io.Reader) error {
	lines := newLineReader(in, c.srv.bounds.line)
	for {
		line, err := lines.next()
		var skipped *longLine
		switch {
		case err == nil:
			c.accept(line)
		case errors.As(err, &skipped):
			f := failure(codeInvalidRequest, "message of more than %d bytes was skipped", c.srv.bounds.line)
			f.ID = skipped.id()
			c.respond(f)
		case errors.Is(err, io.EOF):
			return nil
		default:
			return fmt.Errorf("read from the client: %w", err)
		}
	}
}

// start registers a request, or says why it cannot be taken. It waits while
// too many bytes are in work: the client then feels it in its own writes.
func (c *conn) start(r *request, size int) (refusal *response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.held > 0 && c.held+size > c.srv.bounds.held && !c.stopped {
		c.room.Wait()
	}
	if c.stopped {
		r.state.Store(dropped)
		return &response{}
	}
	if c.byID[string(r.id)] != nil {
		f := failure(codeInvalidRequest, "id %s is in use by a request that is not answered", clip(string(r.id), 80))
		return &f
	}
	if c.running >= c.srv.bounds.requests {
		f := failure(codeInternal, "%d requests are in work; wait for one to end", c.running)
		return &f
	}
	c.byID[string(r.id)] = r
	c.running++
	c.held += size
	r.held = size
	return nil
}

// free gives back a request's id.
func (c *conn) free(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[string(r.id)] == r {
		delete(c.byID, string(r.id))
	}
}

// end forgets a request whose answer, if any, is written.
func (c *conn) end(r *request) {
	c.settle(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	if c.running == 0 && c.whenIdle != nil {
		close(c.whenIdle)
		c.whenIdle = nil
	}
}

// settle gives back the bytes of a request's message.
func (c *conn) settle(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held -= r.held
	r.held = 0
	c.room.Broadcast()
}

// cancelRequest ends a request for the client. The id is free at once.
func (c *conn) cancelRequest(id json.RawMessage, reason string) {
	c.mu.Lock()
	r := c.byID[string(id)]
	delete(c.byID, string(id))
	c.mu.Unlock()
	if r != nil {
		r.drop(reason)
	}
}

func (c *conn) respond(m response) {
	m.JSONRPC = "2.0"
	data, err := encode(m)
	if err != nil {
		c.srv.log.Error().Err(err).Msg("encode a response")
		data, _ = encode(response{JSONRPC: "2.0", ID: m.ID, Error: &responseError{Code: codeInternal, Message: "internal: the result could not be encoded"}})
	}
	c.hold(len(data))
	c.out.send(data)
	c.hold(-len(data))
}

func (c *conn) hold(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held += n
	c.room.Broadcast()
}

type notification struct {
	JSONRPC string `json:"jsonrpc"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

func (c *conn) notify(method string, params any) {
	data, err := encode(notification{JSONRPC: "2.0", Method: method, Params: params})
	if err != nil {
		c.srv.log.Error().Err(err).Str("method", method).Msg("encode a notification")
		return
	}
	c.out.send(data)
}

// stop lets no new request start.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.room.Broadcast()
}

// drain waits until no request is in work, at most d.
func (c *conn) drain(d time.Duration) {
	c.mu.Lock()
	if c.running == 0 {
		c.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	c.whenIdle = idle
	c.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	case <-c.out.gone:
	}
}
