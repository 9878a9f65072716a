package mcp

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// A client that takes nothing for so long is gone.
	writePatience = 30 * time.Second
	// Between signs of life on a stream: clients and proxies drop one that is
	// silent for a minute or five, and a vanished client shows by a failed write.
	keepAlive = 15 * time.Second
)

// stream is the outlet of one HTTP response: a JSON object, or server-sent
// events if anything comes before the answer.
type stream struct {
	events bool                    // the client takes events
	status func(errorCode int) int // of an answer that comes first
	first  func(h http.Header)     // called before a good answer that comes first

	mu     sync.Mutex
	rw     http.ResponseWriter
	rc     *http.ResponseController
	open   bool          // as a stream of events
	done   chan struct{} // closed when nothing more can be sent
	closed bool
}

func newStream(rw http.ResponseWriter, events bool) *stream {
	return &stream{
		events: events, rw: rw, rc: http.NewResponseController(rw), done: make(chan struct{}),
		status: func(int) int { return http.StatusOK }, first: func(http.Header) {},
	}
}

// send sends a notification. It is dropped if the client takes only the answer.
func (s *stream) send(message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begin() {
		s.write([]byte("event: message\ndata: "), message, []byte("\n\n"))
	}
}

// ping shows both sides that the other one lives.
func (s *stream) ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begin() {
		s.write([]byte(":\n\n"))
	}
}

func (s *stream) answer(message []byte, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case s.open:
		s.write([]byte("event: message\ndata: "), message, []byte("\n\n"))
	default:
		if code == 0 {
			s.first(s.rw.Header())
		}
		s.rw.Header().Set("Content-Type", "application/json")
		s.rw.WriteHeader(s.status(code))
		s.write(message, []byte("\n"))
	}
	s.end()
}

// close drops every later message: the handler is going to return.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A cancelled call is not answered: its stream just ends.
	s.begin()
	s.end()
}

// hold keeps the stream alive until it is done or one of the contexts ends.
func (s *stream) hold(client, work context.Context) {
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.ping()
		case <-s.done:
			return
		case <-client.Done():
			return
		case <-work.Done():
			return
		}
	}
}

// begun tells whether anything was sent, or nothing more can be.
func (s *stream) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed || s.open
}

// begin opens the stream of events and tells whether it is open.
func (s *stream) begin() bool {
	if s.closed || !s.events || s.open {
		return !s.closed && s.open
	}
	h := s.rw.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	s.rw.WriteHeader(http.StatusOK)
	s.open = true
	return true
}

// write sends parts at once, so that a message never waits in a buffer.
func (s *stream) write(parts ...[]byte) {
	// net/http has no bound of its own for a client that does not read.
	_ = s.rc.SetWriteDeadline(time.Now().Add(writePatience))
	_, err := s.rw.Write(slices.Concat(parts...))
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil {
		s.end()
	}
}

func (s *stream) end() {
	if !s.closed {
		s.closed = true
		close(s.done)
	}
}
