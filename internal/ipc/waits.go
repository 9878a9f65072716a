package ipc

import (
	"context"
	"encoding/json"
	"net"
	"sync"
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

// waits joins all watches of a client into one event stream.
type waits struct {
	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	gets   chan struct{}
	hub    engine.Hub

	mu   sync.Mutex
	open int // watches
	cur  *stream
}

type stream struct {
	up     chan struct{} // closed when it stands, or has failed with err
	err    error
	lost   chan struct{} // closed at its end
	cancel context.CancelFunc
}

func (ws *waits) init() {
	ws.ctx, ws.cancel = context.WithCancel(context.Background())
	ws.gets = make(chan struct{}, gets)
}

// watch is a watch over the stream of the moment.
type watch struct {
	c    *Client
	sub  *engine.Subscription
	lost <-chan struct{} // of the stream that stood last
}

// Watch tells of changes over the one event stream of its client. It does nothing
// before the first Next.
func (c *Client) Watch(s engine.Scope) engine.Watch {
	c.waits.mu.Lock()
	defer c.waits.mu.Unlock()
	c.waits.open++
	return &watch{c: c, sub: c.waits.hub.Subscribe(s)}
}

// Close lets the stream end, if it is the last one's.
func (w *watch) Close() {
	ws := &w.c.waits
	w.sub.Close()
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.open--; ws.open == 0 && ws.cur != nil {
		time.AfterFunc(linger, ws.rest)
	}
}

// Next waits for changes. Of what was before a stream stood nobody tells, so that anything
// may have changed when it is a new one: the owner before may have seen it.
func (w *watch) Next(ctx context.Context) ([]engine.Event, error) {
	for {
		lost, err := w.c.stream(ctx)
		if err != nil {
			return nil, err
		}
		if lost != w.lost {
			w.lost = lost
			return nil, nil
		}
		select {
		case <-w.sub.Wake():
			if evs := w.sub.Take(); len(evs) > 0 {
				return evs, nil
			}
		case <-lost:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// rest ends a stream that nobody waits on.
func (ws *waits) rest() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.open == 0 && ws.cur != nil {
		ws.cur.cancel()
	}
}

// Wait returns tasks that have ended, or one that has changed.
func (c *Client) Wait(ctx context.Context, q engine.WaitQuery) ([]task.Task, error) {
	return engine.Await(ctx, gently{c}, q)
}

// gently looks at a few tasks at a time: a thousand waiters share few connections.
type gently struct{ *Client }

func (g gently) Get(ctx context.Context, ref string) (task.Task, error) {
	select {
	case g.waits.gets <- struct{}{}:
	case <-ctx.Done():
		return task.Task{}, ctx.Err()
	}
	defer func() { <-g.waits.gets }()
	return g.Client.Get(ctx, ref)
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
				c.waits.hub.Publish(ev)
			}
		}
	}
}
