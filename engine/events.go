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
	id   task.ID
	wake chan struct{}

	mu      sync.Mutex
	pending map[task.ID]Event
	order   []task.ID
}

// Subscribe tells of the changes of one task, or of all with "".
func (h *Hub) Subscribe(id task.ID) *Subscription {
	s := &Subscription{hub: h, id: id, wake: make(chan struct{}, 1), pending: map[task.ID]Event{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = map[task.ID]map[*Subscription]struct{}{}
	}
	if h.subs[id] == nil {
		h.subs[id] = map[*Subscription]struct{}{}
	}
	h.subs[id][s] = struct{}{}
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
	s.mu.Lock()
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

// Next waits for events and returns the newest one of each task that changed.
func (s *Subscription) Next(ctx context.Context) ([]Event, error) {
	for {
		if evs := s.take(); len(evs) > 0 {
			return evs, nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *Subscription) take() []Event {
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

// Close ends the subscription.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subs[s.id], s)
	if len(s.hub.subs[s.id]) == 0 {
		delete(s.hub.subs, s.id)
	}
}
