package fakeapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Server is a scripted Messages API on a port of 127.0.0.1.
type Server struct {
	URL string // without a slash at the end

	http *http.Server
	done chan struct{} // closed by Close: frees every turn that blocks

	mu       sync.Mutex
	handlers []handler
	log      log
	holds    map[string]*hold
	tries    map[string]int
	changed  chan struct{} // closed and replaced at each change of log or holds
}

type handler struct {
	match func(prompt string) bool
	play  func(Conversation) Turn
}

// New starts a server on a free port.
func New() (*Server, error) { return Listen("127.0.0.1:0") }

// Listen starts a server on a loopback address.
func Listen(addr string) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	s := &Server{
		URL: "http://" + l.Addr().String(), done: make(chan struct{}), changed: make(chan struct{}),
		holds: map[string]*hold{}, tries: map[string]int{}, log: log{arrived: map[arrival]bool{}},
	}
	s.http = &http.Server{Handler: s.mux(), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.http.Serve(l) }()
	return s, nil
}

// TB is the part of testing.TB that Start needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Start starts a server that lives as long as the test.
func Start(t TB) *Server {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatalf("start the scripted API: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Close ends the server and every answer that is still open. It may be
// called once.
func (s *Server) Close() {
	close(s.done)
	_ = s.http.Close()
}

// Handle scripts the prompts that match in Go. The handler asked first is the
// one added last; a prompt that no handler wants is played by its directives.
func (s *Server) Handle(match func(prompt string) bool, play func(Conversation) Turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers = append(s.handlers, handler{match, play})
}

func (s *Server) mux() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("POST /v1/messages", s.serveMessages)
	m.HandleFunc("POST /v1/messages/count_tokens", s.serveCount)
	m.HandleFunc("GET /v1/models", s.serveModels)
	alive := func(http.ResponseWriter, *http.Request) {}
	m.HandleFunc("GET /{$}", alive)
	m.HandleFunc("GET /api/hello", alive)
	m.HandleFunc("POST /_release/{name}", func(_ http.ResponseWriter, r *http.Request) { s.Release(r.PathValue("name")) })
	m.HandleFunc("GET /_held/{name}", s.serveHeld)
	m.HandleFunc("GET /_stats", func(w http.ResponseWriter, _ *http.Request) { _ = writeJSON(w, http.StatusOK, s.Stats()) })
	return m
}

func (s *Server) serveMessages(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	c, err := parseConversation(r.Header, body)
	if err != nil {
		_ = writeFailure(w, Failure{Status: http.StatusBadRequest, Message: "fakeapi: " + err.Error()})
		return
	}
	defer s.enter(Request{Time: time.Now(), Path: r.URL.Path, Header: r.Header, Conversation: c})()
	if err := s.play(r.Context(), w, c, s.turn(c)); err != nil && !errors.Is(err, errGone) {
		panic(fmt.Sprintf("fakeapi: play a turn: %v", err)) // a script that JSON cannot hold
	}
}

// turn chooses what to answer. A script that cannot be played is a refusal,
// so that the mistake is in the run's result at once and not a missing word.
func (s *Server) turn(c Conversation) Turn {
	if c.Kind == KindSide {
		return Say("Scripted title")
	}
	t, err := s.scripted(c)
	if err == nil {
		t, err = t.fill(c.ToolResults)
	}
	if err != nil {
		return Refuse(http.StatusBadRequest, "fakeapi: "+err.Error())
	}
	try := s.try(c)
	t.Steps = slices.DeleteFunc(t.Steps, func(s Step) bool {
		return s.Times > 0 && try > s.Times
	})
	return t
}

func (s *Server) scripted(c Conversation) (Turn, error) {
	s.mu.Lock()
	list := s.handlers
	s.mu.Unlock()
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].match(c.Prompt) {
			return list[i].play(c), nil
		}
	}
	turns, err := parseScript(c.Prompt)
	if err != nil || c.Turn < len(turns) {
		return append(turns, Turn{})[min(c.Turn, len(turns))], err
	}
	return Say(DefaultText(c.Prompt)), nil
}

// try counts the requests for one turn of one session, from 1.
func (s *Server) try(c Conversation) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := fmt.Sprint(c.Session, " ", c.messages, " ", c.Prompt)
	s.tries[key]++
	return s.tries[key]
}

func (s *Server) serveCount(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	_ = writeJSON(w, http.StatusOK, object{"input_tokens": len(body) / 4})
}

func (s *Server) serveModels(w http.ResponseWriter, _ *http.Request) {
	_ = writeJSON(w, http.StatusOK, object{"data": []any{}, "has_more": false, "first_id": nil, "last_id": nil})
}
