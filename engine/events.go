package engine

import (
	"context"
	"sync"

	"cctask/engine/task"
)

// Event tells that a task has changed: its status, its progress or its output.
type Event struct {
	ID      task.ID `json:"id"`
	Version uint64  `json:"version"`
	Ended   bool    `json:"ended,omitempty"`
}

// Hub hands events to subscribers. The zero value works.
type Hub struct {
	mu   sync.Mutex
	subs map[task.ID]map[*Subscription]struct{} // "" holds those who want all
}

// Subscription collects events until they are fetched.
type Subscription struct {
	hub  *Hub
	ids  []task.ID
	ends bool
	wake chan struct{}

	mu      sync.Mutex
	pending map[task.ID]Event // the newest of each task
	order   []task.ID
}

// Subscribe tells of changes from now on.
func (h *Hub) Subscribe(of Scope) *Subscription {
	s := &Subscription{hub: h, ids: of.IDs, ends: of.Ends, wake: make(chan struct{}, 1)}
	if len(s.ids) == 0 {
		s.ids = []task.ID{""}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = map[task.ID]map[*Subscription]struct{}{}
	}
	for _, id := range s.ids {
		if h.subs[id] == nil {
			h.subs[id] = map[*Subscription]struct{}{}
		}
		h.subs[id][s] = struct{}{}
	}
	return s
}

// Publish never blocks: a slow subscriber sees a task's newest event only.
func (h *Hub) Publish(ev Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs[ev.ID] {
		s.put(ev)
	}
	for s := range h.subs[""] {
		s.put(ev)
	}
}

func (s *Subscription) put(ev Event) {
	if s.ends && !ev.Ended {
		return
	}
	s.mu.Lock()
	if s.pending == nil {
		s.pending = map[task.ID]Event{}
	}
	if _, ok := s.pending[ev.ID]; !ok {
		s.order = append(s.order, ev.ID)
	}
	s.pending[ev.ID] = ev
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Wake gets a value when Take may have something.
func (s *Subscription) Wake() <-chan struct{} { return s.wake }

// Next waits for events and returns the newest one of each task that changed.
func (s *Subscription) Next(ctx context.Context) ([]Event, error) {
	for {
		if evs := s.Take(); len(evs) > 0 {
			return evs, nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Take gives the newest event of each task that changed since the last one, if any did.
func (s *Subscription) Take() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	evs := make([]Event, 0, len(s.order))
	for _, id := range s.order {
		evs = append(evs, s.pending[id])
	}
	s.order = s.order[:0]
	clear(s.pending)
	return evs
}

func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	for _, id := range s.ids {
		delete(s.hub.subs[id], s)
		if len(s.hub.subs[id]) == 0 {
			delete(s.hub.subs, id)
		}
	}
}
