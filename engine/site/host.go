package site

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cctask/engine/runner"
)

// Pauses between two tries to reach a host.
const (
	againFirst = time.Second
	againMost  = time.Minute
)

// silence says since when a host does not answer, and why as far as that is known.
type silence struct {
	host  string
	since time.Time
	why   error
}

func (s *silence) Error() string {
	text := s.host + " does not answer"
	if !s.since.IsZero() {
		text += " since " + s.since.Format("15:04:05")
	}
	if s.why != nil {
		text += ": " + s.why.Error()
	}
	return text
}

// Is makes it what engine.Site calls silence.
func (s *silence) Is(target error) bool { return target == runner.ErrSilent }

// host is one end of a pipe: there is a connection, or one is being made, or a pause
// until the next try.
type host struct {
	site  *Site
	name  string
	slots int
	argv  []string

	mu      sync.Mutex
	conn    *conn
	dialing chan struct{} // closed when the try is over
	place   runner.Place  // as of the last hello
	version string
	skew    time.Duration // how far its clock is ahead
	silent  *silence      // nil: it answers, or nobody has asked yet
	next    time.Time     // no try before
	pause   time.Duration
}

// connected is the connection; one is made if there is none and the pause is over.
func (h *host) connected(ctx context.Context) (*conn, error) {
	for {
		h.mu.Lock()
		if h.conn != nil {
			select {
			case <-h.conn.gone:
				h.lost(errBroken)
			default:
				k := h.conn
				h.mu.Unlock()
				return k, nil
			}
		}
		if h.silent != nil && h.dialing == nil && time.Now().Before(h.next) || h.site.done.Load() {
			err := h.quiet()
			h.mu.Unlock()
			return nil, err
		}
		if h.dialing == nil {
			h.dialing = make(chan struct{})
			go h.dial()
		}
		over := h.dialing
		h.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
			h.mu.Lock()
			defer h.mu.Unlock()
			return nil, h.quiet()
		}
	}
}

// quiet is the error of a host that does not answer. Under mu.
func (h *host) quiet() error {
	if h.silent != nil {
		return h.silent
	}
	return &silence{host: h.name}
}

// lost takes note of a connection that is gone, or could not be made. Under mu.
func (h *host) lost(why error) {
	if h.conn != nil {
		h.conn.close()
		h.conn = nil
	}
	since := time.Now()
	if h.silent != nil {
		since = h.silent.since
	}
	h.silent = &silence{h.name, since, why}
	h.next = time.Now().Add(h.pause)
	h.pause = min(max(2*h.pause, againFirst), againMost)
	// Who waits for room here is told when it may be tried again.
	time.AfterFunc(time.Until(h.next), func() { h.site.tell("", runner.Sight{}) })
}

func (h *host) dial() {
	k, err := dial(h.site.cfg, h.argv, h.site.way(), h.site.tell)
	h.mu.Lock()
	if err == nil {
		h.conn, h.silent, h.pause, h.place, h.version = k, nil, 0, k.hello.Place, k.hello.Version
		h.skew = time.Until(time.UnixMilli(k.hello.Now))
		if h.site.done.Load() {
			k.close()
		}
	} else {
		h.pause = max(h.pause, againFirst)
		h.lost(err)
	}
	close(h.dialing)
	h.dialing = nil
	h.mu.Unlock()
	if err == nil {
		h.site.tell("", runner.Sight{})
	}
}

// ask asks the host. An error that wraps runner.ErrSilent says nothing of whether it
// was carried out; sent is false if it surely was not.
func (h *host) ask(ctx context.Context, q call) (a answer, sent bool, err error) {
	k, err := h.connected(ctx)
	if err != nil {
		return a, false, err
	}
	a, err = k.ask(ctx, q)
	switch {
	case err == nil:
		return a, true, a.Fault.of(h.name)
	case errors.Is(err, errBroken):
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.conn == k {
			h.lost(errBroken)
		}
		return a, true, h.quiet()
	case errors.Is(err, context.DeadlineExceeded):
		err = &silence{host: h.name, why: fmt.Errorf("%s took too long", q.Verb)}
	}
	return a, true, err
}

// state is what a person and a start need to know of it.
func (h *host) state() (silent *silence, usable bool, place runner.Place) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.silent, h.silent == nil || !time.Now().Before(h.next), h.place
}
