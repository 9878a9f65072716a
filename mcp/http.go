package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// Endpoint is the path of the one URL of a server.
const Endpoint = "/mcp"

// Bounds of what strangers can make a listener hold. A waiting call has a
// connection of its own.
const (
	maxConnections = 2048
	maxHeader      = 16 << 10
	headerPatience = 10 * time.Second
	bodyPatience   = time.Minute
	idlePatience   = 2 * time.Minute
	maxDrained     = 256 << 20 // bytes of a body that is too long, read and thrown away
)

// HTTP says who may reach a Server over HTTP.
type HTTP struct {
	Token string   // what every request must bear; required
	Hosts []string // by which the server is known, beside the names of loopback
}

// web is a Server on a listener.
type web struct {
	HTTP
	srv      *Server
	base     context.Context
	load     *load // of all clients together
	sessions sessions
	open     atomic.Int64 // connections
}

// ServeHTTPOn speaks MCP over HTTP, to any number of clients of both eras, until
// ctx ends or l fails. Then calls in work are told to stop and have 200 ms to
// say how far they came. No task is cancelled by it.
func (s *Server) ServeHTTPOn(ctx context.Context, l net.Listener, c HTTP) error {
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	w := &web{HTTP: c, srv: s, base: base, load: newLoad(s.bounds), sessions: sessions{byID: map[string]*session{}}}
	h := &http.Server{
		Handler: w, ReadHeaderTimeout: headerPatience, IdleTimeout: idlePatience, MaxHeaderBytes: maxHeader,
		ConnState: w.count, ErrorLog: log.New(s.log, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	var err error
	select {
	case err = <-served:
		err = fmt.Errorf("accept clients: %w", err)
	case <-ctx.Done():
		err = ctx.Err()
	}
	w.load.stop()
	cancel(errStopping)
	leave, done := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer done()
	_ = h.Shutdown(leave) // its error is that time is up
	_ = h.Close()         // and this one that the listener is closed
	return err
}

// count refuses connections when there are too many.
func (w *web) count(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if w.open.Add(1) > maxConnections {
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		w.open.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

// refuse answers what is no MCP message, or not for us.
func refuse(rw http.ResponseWriter, status int, why string) { http.Error(rw, "cctask: "+why, status) }

func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(rw)
	_ = control.SetWriteDeadline(time.Now().Add(writePatience))
	if r.ContentLength != 0 {
		_ = control.SetReadDeadline(time.Now().Add(bodyPatience)) // also of a body that nobody wants
	}
	origin := r.Header.Get("Origin")
	if origin != "" && w.known(r.Host) && w.knownOrigin(origin) {
		allow(rw.Header(), origin)
	}
	switch {
	case !w.known(r.Host):
		// A browser that was led here under another name would send that name.
		refuse(rw, http.StatusForbidden, fmt.Sprintf("the Host %q is not one of this server; --http-host allows another", r.Host))
	case origin != "" && !w.knownOrigin(origin):
		refuse(rw, http.StatusForbidden, fmt.Sprintf("pages of %q may not use this server", origin))
	case r.URL.Path != Endpoint:
		refuse(rw, http.StatusNotFound, "the endpoint is "+Endpoint)
	case r.Method == http.MethodOptions && origin != "":
		rw.WriteHeader(http.StatusNoContent) // the preflight of a browser, which bears no token
	case !w.authorized(r):
		rw.Header().Set("WWW-Authenticate", `Bearer realm="cctask"`)
		refuse(rw, http.StatusUnauthorized, "this server wants the header `Authorization: Bearer TOKEN`; it said where the token is when it started")
	case r.Method == http.MethodPost:
		w.post(rw, r)
	case mcpgo.IsModernProtocol(r.Header.Get(mcpgo.HeaderProtocolVersion)), r.Method != http.MethodGet && r.Method != http.MethodDelete:
		rw.Header().Set("Allow", "POST")
		refuse(rw, http.StatusMethodNotAllowed, r.Method+" is not part of this protocol version")
	case r.Method == http.MethodGet:
		w.listen(rw, r)
	default:
		if s := w.session(rw, r); s != nil {
			w.sessions.release(s)
			w.sessions.remove(s)
			rw.WriteHeader(http.StatusNoContent)
		}
	}
}

// accepts tells whether the client takes a media type. One that does not say
// what it takes gets JSON.
func accepts(r *http.Request, media string) bool {
	all := strings.Join(r.Header.Values("Accept"), ",")
	if all == "" {
		return media == "application/json"
	}
	for part := range strings.SplitSeq(all, ",") {
		name, _, _ := mime.ParseMediaType(part)
		family, _, _ := strings.Cut(media, "/")
		if name == media || name == "*/*" || name == family+"/*" {
			return true
		}
	}
	return false
}

func (w *web) post(rw http.ResponseWriter, r *http.Request) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media != "application/json" {
		refuse(rw, http.StatusUnsupportedMediaType, "Content-Type must be application/json")
		return
	}
	events := accepts(r, "text/event-stream")
	if !events && !accepts(r, "application/json") {
		refuse(rw, http.StatusNotAcceptable, "Accept must list application/json and text/event-stream")
		return
	}
	body, ok := w.body(rw, r)
	if !ok {
		return
	}
	if s := w.sessions.use(r.Header.Get(mcpgo.HeaderSessionID)); s != nil {
		defer w.sessions.release(s)
		if s.conn.takesBatch(body) {
			w.batch(rw, r, s.conn, body, events)
			return
		}
	}
	m, refusal := parse(body)
	if refusal == nil && len(m.text) == 0 {
		f := failure(codeParse, "the body is empty")
		refusal = &f
	}
	if refusal != nil || m.kind != isRequest {
		w.load.hold(-len(body))
	}
	if refusal != nil {
		w.reject(rw, *refusal)
		return
	}
	m.text = body // its bytes are those that are counted
	if era := eraOf(r.Header, m); era.modern {
		w.modern(rw, r, m, era, events)
	} else {
		w.legacy(rw, r, m, era, events)
	}
}

func (w *web) batch(rw http.ResponseWriter, r *http.Request, c *conn, body []byte, events bool) {
	out := newStream(rw, events)
	b, over := c.startBatch(out, body)
	out.hold(r.Context(), over)
	b.finish()
	if !out.begun() { // nothing asked for an answer
		rw.WriteHeader(http.StatusAccepted)
		return
	}
	out.close()
}

// body reads the message. Its bytes count as in work from before they are read.
func (w *web) body(rw http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	limit := w.srv.bounds.line
	size := int(min(r.ContentLength, int64(limit)+1))
	if size < 0 {
		size = limit
	}
	tooLong := func() {
		// A client that still sends does not read, and finds its connection reset.
		if r.Header.Get("Expect") == "" {
			_, _ = io.CopyN(io.Discard, r.Body, maxDrained)
		}
		refuse(rw, http.StatusRequestEntityTooLarge, fmt.Sprintf("a message has at most %d bytes", limit))
	}
	if size > limit {
		tooLong()
		return nil, false
	}
	if !w.load.admit(size) {
		refuse(rw, http.StatusServiceUnavailable, "the server is stopping")
		return nil, false
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(size + bytes.MinRead)
	}
	_, err := b.ReadFrom(http.MaxBytesReader(nil, r.Body, int64(limit)))
	// Else the deadline would end a call that waits.
	_ = http.NewResponseController(rw).SetReadDeadline(time.Time{})
	if err != nil {
		b = bytes.Buffer{}
		w.load.hold(-size)
		var over *http.MaxBytesError
		if errors.As(err, &over) {
			tooLong()
		} else {
			refuse(rw, http.StatusBadRequest, "the body could not be read")
		}
		return nil, false
	}
	w.load.hold(b.Len() - size)
	return b.Bytes(), true
}

// reject answers a message that did not become a request.
func (w *web) reject(rw http.ResponseWriter, f response) {
	s := newStream(rw, false)
	s.status = func(int) int { return http.StatusBadRequest }
	w.srv.newConn(w.base, w.load, s).respond(s, f)
}

// era is what a request says of its protocol version.
type era struct {
	header, meta string
	modern       bool
}

func eraOf(h http.Header, m incoming) era {
	e := era{header: h.Get(mcpgo.HeaderProtocolVersion), meta: versionOf(members(m.Params)["_meta"])}
	e.modern = mcpgo.IsModernProtocol(e.header) || mcpgo.IsModernProtocol(e.meta)
	return e
}

// mismatch says what of the headers does not say the same as the message.
func (e era) mismatch(h http.Header, m incoming) *response {
	why := func(code int, format string, args ...any) *response {
		f := failure(code, format, args...)
		f.ID = m.ID
		return &f
	}
	if e.meta == "" {
		return why(mcpgo.INVALID_PARAMS, "_meta has no %s", mcpgo.MetaKeyProtocolVersion)
	}
	if e.header != e.meta {
		return why(mcpgo.HEADER_MISMATCH, "%s is %q in the headers and %q in the message", mcpgo.HeaderProtocolVersion, e.header, e.meta)
	}
	if err := mcpgo.ValidateStandardHeaders(h.Get, e.meta, mcpgo.MCPMethod(m.method), m.Params); err != nil {
		return why(mcpgo.HEADER_MISMATCH, "%v", err)
	}
	// The tasks extension wants the task's id there. Not every client knows.
	var p struct{ TaskID string }
	named := h.Get(mcpgo.HeaderName)
	name, ok := mcpgo.DecodeHeaderValue(named)
	if strings.HasPrefix(m.method, "tasks/") && named != "" && (!ok || json.Unmarshal(m.Params, &p) == nil && name != p.TaskID) {
		return why(mcpgo.HEADER_MISMATCH, "%s is %q and the task %q", mcpgo.HeaderName, clip(name, 100), clip(p.TaskID, 100))
	}
	return nil
}

// modern takes a message of a client without a session. Closing the response
// cancels the request: the protocol wants it so, and has no other way.
func (w *web) modern(rw http.ResponseWriter, r *http.Request, m incoming, e era, events bool) {
	if m.kind != isRequest {
		rw.WriteHeader(http.StatusAccepted) // the protocol has no notification for us
		return
	}
	if f := e.mismatch(r.Header, m); f != nil {
		w.load.hold(-len(m.text))
		w.reject(rw, *f)
		return
	}
	out := newStream(rw, events)
	out.status = modernStatus
	// Ids are the client's own, and nothing says which requests have one client.
	c := w.srv.newConn(w.base, w.load, out)
	exchange(r.Context(), c, out, m)
	c.cancelRequest(m.ID, "the client closed the response")
}

// modernStatus is the HTTP status of an error that comes before anything else.
func modernStatus(code int) int {
	switch code {
	case mcpgo.METHOD_NOT_FOUND:
		return http.StatusNotFound
	case codeInvalidRequest, mcpgo.INVALID_PARAMS, mcpgo.HEADER_MISMATCH, mcpgo.MISSING_REQUIRED_CLIENT_CAPABILITY, mcpgo.UNSUPPORTED_PROTOCOL_VERSION:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// legacy takes a message of a client that initializes. A lost connection ends
// nothing: only notifications/cancelled does.
func (w *web) legacy(rw http.ResponseWriter, r *http.Request, m incoming, e era, events bool) {
	var s *session
	out := newStream(rw, events)
	switch {
	case e.header != "" && !mcpgo.IsValidProtocolVersion(e.header):
		refuse(rw, http.StatusBadRequest, fmt.Sprintf("%s %q is not one of %s", mcpgo.HeaderProtocolVersion, e.header, strings.Join(mcpgo.ValidProtocolVersions, ", ")))
	case m.kind == isRequest && m.method == string(mcpgo.MethodInitialize):
		s = w.newSession()
		out.events = false // the answer's headers bear the session
		out.first = func(h http.Header) {
			w.sessions.keep(s)
			h.Set(mcpgo.HeaderSessionID, s.id)
		}
	default:
		s = w.session(rw, r)
	}
	if s == nil {
		if m.kind == isRequest {
			w.load.hold(-len(m.text))
		}
		return
	}
	defer w.sessions.release(s)
	if m.kind == isRequest {
		exchange(r.Context(), s.conn, out, m)
		w.sessions.forget(s)
		return
	}
	if m.kind == isNotification {
		s.notified(m)
	}
	rw.WriteHeader(http.StatusAccepted)
}

// exchange has a request answered on out. It returns when that is done, the
// client has gone, or the request is cancelled and gets no answer.
func exchange(client context.Context, c *conn, out *stream, m incoming) {
	defer out.close()
	r, refusal := c.call(out, m)
	if refusal != nil {
		c.respond(out, *refusal)
		return
	}
	go r.run()
	out.hold(client, r.ctx)
	if stopping(r.ctx) {
		// It still says how far it came.
		select {
		case <-out.done:
		case <-client.Done():
		}
	}
}
