package mcp

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// Clients that initialize get a session. It costs about a kilobyte, and a client
// must begin anew when it is gone: so they are kept for long, but not for ever.
const (
	maxSessions = 1000
	sessionIdle = 24 * time.Hour // without a request and without a stream
)

type session struct {
	*conn
	id    string
	leave context.CancelCauseFunc
	inbox inbox

	inUse int       // HTTP requests, guarded by sessions
	used  time.Time // when inUse became 0
}

type sessions struct {
	mu   sync.Mutex
	byID map[string]*session
}

// newSession makes a session that nobody can find before it is kept.
func (w *web) newSession() *session {
	base, leave := context.WithCancelCause(w.base)
	s := &session{id: rand.Text(), leave: leave, inUse: 1}
	s.conn = w.srv.newConn(base, w.load, &s.inbox)
	return s
}

// keep lets a session be found. Where there are too many, those that have been
// idle the longest go.
func (l *sessions) keep(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byID[s.id] = s
	for {
		var oldest *session
		for _, o := range l.byID {
			if o.inUse == 0 && (oldest == nil || o.used.Before(oldest.used)) {
				oldest = o
			}
		}
		if oldest == nil || len(l.byID) <= maxSessions && time.Since(oldest.used) < sessionIdle {
			return
		}
		l.drop(oldest)
	}
}

// drop ends a session: what waits is told to stop. No task is cancelled by it.
func (l *sessions) drop(s *session) {
	delete(l.byID, s.id)
	s.leave(errStopping)
}

// forget ends a session that its initialize did not bring about.
func (l *sessions) forget(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID[s.id] == nil {
		s.leave(errStopping)
	}
}

func (l *sessions) remove(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(s)
}

// use gives the session of a request until release.
func (l *sessions) use(id string) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.byID[id]
	if s != nil {
		s.inUse++
	}
	return s
}

func (l *sessions) release(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.inUse--
	s.used = time.Now()
}

// session finds the session that a request names, or refuses it.
func (w *web) session(rw http.ResponseWriter, r *http.Request) *session {
	id := r.Header.Get(mcpgo.HeaderSessionID)
	if id == "" {
		refuse(rw, http.StatusBadRequest, mcpgo.HeaderSessionID+" is missing: initialize first, or speak 2026-07-28, which has no sessions")
		return nil
	}
	s := w.sessions.use(id)
	if s == nil {
		// Plain text: a client that finds a JSON-RPC error here takes it for the
		// answer to its call, and does not initialize again.
		refuse(rw, http.StatusNotFound, "no such session: initialize again")
	}
	return s
}

// listen serves the stream of what belongs to no request. The newest stream of
// a session gets the messages: an older one is of a connection that was lost.
func (w *web) listen(rw http.ResponseWriter, r *http.Request) {
	if !accepts(r, "text/event-stream") {
		refuse(rw, http.StatusNotAcceptable, "Accept must list text/event-stream")
		return
	}
	s := w.session(rw, r)
	if s == nil {
		return
	}
	defer w.sessions.release(s)
	out := newStream(rw, true)
	s.inbox.open(out)
	// The client waits for the headers, and from then on for every message.
	out.ping()
	defer out.close()
	out.hold(r.Context(), s.base)
}

// inbox is the outlet of a session for what belongs to no request. Without a
// stream that is dropped: it tells of changes, and whoever comes back looks anew.
type inbox struct {
	mu  sync.Mutex
	out *stream
}

func (i *inbox) open(s *stream) {
	i.mu.Lock()
	old := i.out
	i.out = s
	i.mu.Unlock()
	if old != nil {
		old.close()
	}
}

func (i *inbox) send(message []byte) {
	i.mu.Lock()
	out := i.out
	i.mu.Unlock()
	if out != nil {
		out.send(message)
	}
}

// answer is never called: answers belong to requests.
func (i *inbox) answer([]byte, int) {}
