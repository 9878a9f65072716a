package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

const (
	// linger keeps the event stream for the next wait; it is short, because an
	// open stream keeps the owner from leaving.
	linger = time.Second
	// shortLived is the life under which a stream is not opened again at once.
	shortLived = 50 * time.Millisecond
	// gets is how many waiters look at their tasks at the same time.
	gets = 8
)

// waits joins all waits of a client into one event stream.
type waits struct {
	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	gets   chan struct{}

	mu   sync.Mutex
	byID map[task.ID]map[*waiter]struct{}
	cur  *stream
}

type waiter struct {
	id    task.ID // "": all tasks
	seen  uint64
	wake  chan struct{}
	ended atomic.Bool // for Changes: an end was among what woke it
}

func (w *waiter) tell() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// stream is one answer to eventsVerb.
type stream struct {
	up     chan struct{} // closed when it stands, or has failed with err
	err    error
	lost   chan struct{} // closed at its end
	cancel context.CancelFunc
}

func (ws *waits) init() {
	ws.ctx, ws.cancel = context.WithCancel(context.Background())
	ws.gets = make(chan struct{}, gets)
	ws.byID = map[task.ID]map[*waiter]struct{}{}
}

func (ws *waits) add(id task.ID, seen uint64) *waiter {
	w := &waiter{id: id, seen: seen, wake: make(chan struct{}, 1)}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.byID[id] == nil {
		ws.byID[id] = map[*waiter]struct{}{}
	}
	ws.byID[id][w] = struct{}{}
	return w
}

func (ws *waits) remove(w *waiter) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.byID[w.id], w)
	if len(ws.byID[w.id]) == 0 {
		delete(ws.byID, w.id)
	}
	if len(ws.byID) == 0 && ws.cur != nil {
		time.AfterFunc(linger, ws.rest)
	}
}

// rest ends a stream that nobody waits on.
func (ws *waits) rest() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.byID) == 0 && ws.cur != nil {
		ws.cur.cancel()
	}
}

// deliver wakes those whom an event concerns.
func (ws *waits) deliver(ev engine.Event) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.byID[ev.ID] {
		if !ev.Ended && (w.seen == engine.UntilEnd || ev.Version <= w.seen) {
			continue
		}
		w.tell()
	}
	for w := range ws.byID[""] {
		if ev.Ended {
			w.ended.Store(true)
		}
		w.tell()
	}
}

// Wait returns a task when it has ended or changed. It looks only when it is
// told to: after it has made sure of the stream, so that no change falls
// between; at an event; and when the stream was lost, because then the next
// owner may have seen the change.
func (c *Client) Wait(ctx context.Context, ref string, seen uint64) (task.Task, error) {
	id, err := task.ParseID(ref)
	if err != nil {
		t, err := c.Get(ctx, ref)
		if err != nil || arrived(t, seen) {
			return t, err
		}
		id = t.ID
	}
	w := c.waits.add(id, seen)
	defer c.waits.remove(w)
	for {
		lost, err := c.stream(ctx)
		if errors.Is(err, task.ErrConflict) { // nothing changes there
			if t, getErr := c.Get(ctx, string(id)); getErr != nil || arrived(t, seen) {
				return t, getErr
			}
		}
		if err != nil {
			return task.Task{}, err
		}
		t, err := c.getGently(ctx, string(id))
		if err != nil || arrived(t, seen) {
			return t, err
		}
		select {
		case <-w.wake:
		case <-lost:
		case <-ctx.Done():
			return task.Task{}, ctx.Err()
		}
	}
}

func arrived(t task.Task, seen uint64) bool {
	return t.Status.Ended() || seen != engine.UntilEnd && t.Version > seen
}

// getGently is Get, a few at a time: a thousand waiters share few connections.
func (c *Client) getGently(ctx context.Context, ref string) (task.Task, error) {
	select {
	case c.waits.gets <- struct{}{}:
	case <-ctx.Done():
		return task.Task{}, ctx.Err()
	}
	defer func() { <-c.waits.gets }()
	return c.Get(ctx, ref)
}

// stream makes sure that an event stream stands and returns what tells of its
// loss.
func (c *Client) stream(ctx context.Context) (lost <-chan struct{}, err error) {
	ws := &c.waits
	ws.mu.Lock()
	st := ws.cur
	if st == nil {
		// The stream belongs to all waiters: it must not end with the first one's ctx.
		sctx, cancel := context.WithCancel(ws.ctx)
		st = &stream{up: make(chan struct{}), lost: make(chan struct{}), cancel: cancel}
		ws.cur = st
		go c.follow(sctx, st)
	}
	ws.mu.Unlock()
	select {
	case <-st.up:
		return st.lost, st.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// follow opens the stream and delivers its events until it ends.
func (c *Client) follow(ctx context.Context, st *stream) {
	defer st.cancel()
	began := time.Now()
	var owner *attachment
	var from *conn
	// Whoever goes on says hello first: the owner may hang or be gone.
	lose := func(a *attachment) func() {
		return func() {
			c.detach(a)
			st.cancel()
		}
	}
	_, err := c.repeat(ctx, func(a *attachment) (err error) {
		owner = a
		// Guarded until it stands; from then on by its heartbeats.
		guarded, stop := c.guard(ctx, a)
		defer stop()
		defer context.AfterFunc(guarded, lose(a))()
		var u *net.UnixConn
		if u, err = a.dial(ctx); err != nil {
			return &dialError{err}
		}
		from = a.connection(u)
		if _, err = from.question(ctx, eventsVerb, none{}); err != nil {
			_ = from.Close()
		}
		return err
	})
	switch {
	case c.waits.ctx.Err() != nil:
		st.err = &task.Error{Code: task.CodeOwnerGone, Message: "this client is closed", Hint: "The task goes on: ask for it again."}
	case ctx.Err() == nil:
		st.err = err
	}
	close(st.up)
	if err == nil {
		quiet := time.AfterFunc(c.silence, lose(owner))
		c.read(ctx, from, func() { quiet.Reset(c.silence) })
		quiet.Stop()
		if ctx.Err() == nil {
			c.detach(owner)
		}
		if life := time.Since(began); life < shortLived {
			pause(ctx, shortLived-life)
		}
	}
	c.waits.mu.Lock()
	c.waits.cur = nil
	c.waits.mu.Unlock()
	close(st.lost)
}

// read delivers the events of a stream until it, or ctx, ends.
func (c *Client) read(ctx context.Context, from *conn, alive func()) {
	defer func() { _ = from.Close() }()
	defer context.AfterFunc(ctx, func() { _ = from.SetDeadline(past) })()
	for {
		_, body, err := readFrame(from.r, maxAnswer)
		if err != nil {
			return
		}
		alive()
		var evs []engine.Event
		if len(body) > 0 && json.Unmarshal(body, &evs) == nil {
			for _, ev := range evs {
				c.waits.deliver(ev)
			}
		}
	}
}
