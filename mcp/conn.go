package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How long the end may take. A client's SIGKILL comes 300 ms after its wish.
const (
	drainTime   = 200 * time.Millisecond // for what is in work when the input ends
	coldTime    = 10 * time.Second       // then, for what waits for an owner that starts
	goodbyeTime = 50 * time.Millisecond  // for waiting calls to say how far they came
)

// outlet takes messages to a client, each whole and in order. Once the client
// is gone they are dropped.
type outlet interface {
	send(message []byte)
	// answer sends the response to the request that the outlet belongs to; code
	// is that of its error, or 0.
	answer(message []byte, code int)
}

// conn is one client: what its requests share. Where a message goes is said by
// each request, because over HTTP each has a stream of its own.
type conn struct {
	srv  *Server
	base context.Context // of its requests
	// waits ends, before base or with it, when calls that wait for a task, or for
	// changes, are to say how far they came.
	waits context.Context
	load  *load
	out   outlet // for what belongs to no request

	clientName atomic.Pointer[string] // from initialize; nil before it, and in the modern era
	version    atomic.Pointer[string] // likewise: the revision that the client asked for

	mu   sync.Mutex
	byID map[string]*request // by the raw id; a cancelled request is not in it

	subscribed int       // URIs, by whatever way
	listener   *listener // of resources/subscribe; nil before the first one
}

func (s *Server) newConn(base context.Context, l *load, out outlet) *conn {
	return &conn{srv: s, base: base, waits: base, load: l, out: out, byID: map[string]*request{}}
}

// Serve speaks MCP over in and out, one message a line, until in ends, out
// fails, or ctx ends. At the end of in, requests in work have 200 ms to end; then
// those that wait for a task are told to stop, and those that ask an owner, which
// may only be starting, have 10 s. In the other cases all are told to stop at once.
// No task is cancelled by any of it. Serve returns nil when the client has gone, ctx's
// error when ctx ended, else why in could not be read. A goroutine that is
// blocked in in or out is left behind.
func (s *Server) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	catchSIGPIPE()
	// The requests outlive ctx by a moment: they are told to stop in order.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	w, work := newWriter(out), newLoad(s.bounds)
	c := s.newConn(base, work, w)
	waits, leave := context.WithCancelCause(base)
	defer leave(errStopping)
	c.waits = waits
	read := make(chan error, 1)
	go func() { read <- c.read(in) }()

	var err error
	select {
	case err = <-read:
		work.drain(drainTime, w.gone, ctx.Done())
		leave(errStopping)
		work.drain(coldTime, w.gone, ctx.Done())
	case <-w.gone:
		s.log.Debug().Msg("the client no longer reads")
	case <-ctx.Done():
		err = ctx.Err()
	}
	work.stop()
	cancel(errStopping)
	work.drain(goodbyeTime, w.gone, nil)
	w.close()
	return err
}

// catchSIGPIPE makes a write to a closed standard output an error instead of
// our end. Notify, not Ignore: an ignored signal would stay ignored in every
// process that we start. It is never undone, because a goroutine that Serve
// leaves behind may still write.
var catchSIGPIPE = sync.OnceFunc(func() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) })

// start registers a request whose message of size bytes is counted already, or
// says why it cannot be taken.
func (c *conn) start(r *request, size int) (refusal *responseError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[string(r.id)] != nil {
		return failure(codeInvalidRequest, "id %s is in use by a request that is not answered", clip(string(r.id), 80)).Error
	}
	if !c.load.begin() {
		return failure(codeInternal, "%d requests are in work; wait for one to end", c.load.bounds.requests).Error
	}
	c.byID[string(r.id)] = r
	r.held.Store(int64(size))
	return nil
}

func (c *conn) free(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[string(r.id)] == r {
		delete(c.byID, string(r.id))
	}
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

// respond sends a response. What out is no longer interested in is dropped.
func (c *conn) respond(out outlet, m response) {
	data, err := m.encode()
	if err != nil {
		c.srv.log.Error().Err(err).Msg("encode a response")
		m.Result, m.Error = nil, failure(codeInternal, "internal: the result could not be encoded").Error
		data, _ = encode(m)
	}
	code := 0
	if m.Error != nil {
		code = m.Error.Code
	}
	c.load.hold(len(data))
	out.answer(data, code)
	c.load.hold(-len(data))
}

func (m response) encode() ([]byte, error) {
	m.JSONRPC = "2.0"
	result, ours := m.Result.(*callResult)
	if !ours {
		return encode(m)
	}
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","id":`)
	b.Write(m.ID)
	b.WriteString(`,"result":`)
	err := result.appendTo(&b)
	b.WriteByte('}')
	return b.Bytes(), err
}

type notification struct {
	JSONRPC string `json:"jsonrpc"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

// notify sends a notification: on c.out what belongs to no request. What belongs
// to one goes through request.notify.
func (c *conn) notify(out outlet, method string, params any) {
	data, err := encode(notification{JSONRPC: "2.0", Method: method, Params: params})
	if err != nil {
		c.srv.log.Error().Err(err).Str("method", method).Msg("encode a notification")
		return
	}
	out.send(data)
}

// writer sends one message a line. Each message is written and flushed whole
// under the lock, so that messages never mix and never wait in the buffer.
type writer struct {
	mu     sync.Mutex
	out    *bufio.Writer
	closed atomic.Bool
	gone   chan struct{} // closed by the first failed write: the client is gone
}

func newWriter(out io.Writer) *writer {
	return &writer{out: bufio.NewWriterSize(out, 64<<10), gone: make(chan struct{})}
}

// send writes one encoded message. Once a write has failed, or after close,
// messages are dropped: nobody reads them.
func (w *writer) send(message []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed.Load() {
		return
	}
	_, err := w.out.Write(append(message, '\n'))
	if err == nil {
		err = w.out.Flush()
	}
	if err != nil {
		w.closed.Store(true)
		close(w.gone)
	}
}

func (w *writer) answer(message []byte, _ int) { w.send(message) }

// close drops every later message. It takes no lock: a write to a client that
// does not read may hold it for ever.
func (w *writer) close() { w.closed.Store(true) }

// encode gives the JSON of v in one line, with <, > and & as they are.
func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return plainHTML(data), nil
}

// appendJSON writes v behind what is in b, likewise. mcp-go's types are not for it.
func appendJSON(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the newline
	return nil
}

// plainHTML undoes the HTML escapes of encoding/json in place. mcp-go's own
// MarshalJSON methods make them whatever the outer encoder is told, and they
// would turn each < of a program's source into six characters.
func plainHTML(data []byte) []byte {
	if !bytes.Contains(data, []byte(`\u00`)) {
		return data
	}
	out := data[:0]
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' || i+1 == len(data) {
			out = append(out, data[i])
			continue
		}
		if r, ok := htmlEscapes[string(data[i:min(i+6, len(data))])]; ok {
			out = append(out, r)
			i += 5
			continue
		}
		// The escaped character may be a backslash itself: take both.
		out = append(out, data[i], data[i+1])
		i++
	}
	return out
}

var htmlEscapes = map[string]byte{`\u003c`: '<', `\u003e`: '>', `\u0026`: '&'}
