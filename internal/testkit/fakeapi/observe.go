package fakeapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Request is one request to /v1/messages.
type Request struct {
	Time   time.Time
	Path   string
	Header http.Header
	Conversation
}

// Stats is what the server has seen up to now. Only turns of sessions count:
// no subagent, no errand of the CLI.
type Stats struct {
	InFlight      int            `json:"in_flight"`      // requests being answered or held
	MaxConcurrent int            `json:"max_concurrent"` // the most of them at any time
	Turns         int            `json:"turns"`          // requests begun, repeated tries included
	Prompts       []string       `json:"prompts"`        // in the order of first arrival
	Held          map[string]int `json:"held"`           // requests that block at a hold now
}

// log is the memory of a server.
type log struct {
	requests []Request
	arrived  map[arrival]bool
	stats    Stats
}

// arrival is what makes a prompt new: a retry has the same number of
// messages, a resumed session with the same words has more.
type arrival struct {
	session, prompt string
	messages        int
}

type hold struct {
	reached, released chan struct{}
	waiting           int
}

// enter notes a request; the returned function notes its end.
func (s *Server) enter(r Request) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.wake()
	s.log.requests = append(s.log.requests, r)
	if r.Kind != KindMain {
		return func() {}
	}
	st := &s.log.stats
	st.Turns++
	st.InFlight++
	st.MaxConcurrent = max(st.MaxConcurrent, st.InFlight)
	key := arrival{r.Session, r.Prompt, r.messages}
	if r.Turn == 0 && !s.log.arrived[key] {
		s.log.arrived[key] = true
		st.Prompts = append(st.Prompts, r.Prompt)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		defer s.wake()
		st.InFlight--
	}
}

// wake tells the waiting that something changed. s.mu is held.
func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Stats is a copy of the present state.
func (s *Server) Stats() Stats {
	st, _ := s.snapshot()
	return st
}

func (s *Server) snapshot() (Stats, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.log.stats
	st.Prompts = slices.Clone(st.Prompts)
	st.Held = map[string]int{}
	for name, h := range s.holds {
		if h.waiting > 0 {
			st.Held[name] = h.waiting
		}
	}
	return st, s.changed
}

// WaitFor returns when the condition holds; it is asked at every change.
func (s *Server) WaitFor(ctx context.Context, cond func(Stats) bool) error {
	for {
		st, changed := s.snapshot()
		if cond(st) {
			return nil
		}
		select {
		case <-changed:
		case <-s.done:
			return fmt.Errorf("wait for the scripted API: closed in state %+v", st)
		case <-ctx.Done():
			return fmt.Errorf("wait for the scripted API in state %+v: %w", st, ctx.Err())
		}
	}
}

// WaitHeld returns when n requests block at a hold.
func (s *Server) WaitHeld(ctx context.Context, name string, n int) error {
	return s.WaitFor(ctx, func(st Stats) bool { return st.Held[name] >= n })
}

// MaxConcurrent is the most turns of sessions that were in flight at once.
func (s *Server) MaxConcurrent() int { return s.Stats().MaxConcurrent }

// Prompts are the prompts in the order of their first arrival, to the byte.
func (s *Server) Prompts() []string { return s.Stats().Prompts }

// Requests are all requests to /v1/messages, of every kind, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log.requests)
}

// Held is closed when a first request reaches the hold.
func (s *Server) Held(name string) <-chan struct{} { return s.holdNamed(name).reached }

// Release lets go of everything that blocks at a hold, now and later.
func (s *Server) Release(name string) {
	h := s.holdNamed(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-h.released:
	default:
		close(h.released)
	}
}

func (s *Server) holdNamed(name string) *hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds[name] == nil {
		s.holds[name] = &hold{reached: make(chan struct{}), released: make(chan struct{})}
	}
	return s.holds[name]
}

func (s *Server) hold(ctx context.Context, name string) error {
	h := s.holdNamed(name)
	s.waiting(h, 1)
	defer s.waiting(h, -1)
	return s.wait(ctx, h.released)
}

func (s *Server) waiting(h *hold, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.wake()
	h.waiting += n
	select {
	case <-h.reached:
	default:
		close(h.reached)
	}
}

// serveHeld answers when ?n= (default 1) requests block at a hold.
func (s *Server) serveHeld(w http.ResponseWriter, r *http.Request) {
	n := 1
	if v := r.URL.Query().Get("n"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			http.Error(w, "n is not a number", http.StatusBadRequest)
			return
		}
	}
	if s.WaitHeld(r.Context(), r.PathValue("name"), n) == nil {
		_ = writeJSON(w, http.StatusOK, s.Stats())
	}
}
