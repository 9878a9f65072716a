package mcp

import (
	"sync"
	"time"
)

// bounds of what clients can make us hold. Waiting costs little, so a
// thousand waiting calls are normal; a client that sends without reading is not.
type bounds struct {
	line     int // bytes of a message
	requests int
	held     int // bytes of messages in work and of answers not yet written
}

// The longest message that makes sense is a prompt of 4 MiB, escaped.
var defaultBounds = bounds{line: 16 << 20, requests: 4096, held: 24 << 20}

// load is what all clients of a transport have in work.
type load struct {
	bounds bounds

	mu       sync.Mutex
	room     sync.Cond // signalled when held shrinks
	running  int       // requests with a goroutine, cancelled ones included
	held     int
	stopped  bool
	whenIdle chan struct{} // closed when running reaches 0, if somebody waits for it
}

func newLoad(b bounds) *load {
	l := &load{bounds: b}
	l.room.L = &l.mu
	return l
}

// admit counts a message of n bytes as in work. It waits while there are too
// many: the client then feels it in its own writes. It tells whether new work
// may begin at all.
func (l *load) admit(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.held > 0 && l.held+n > l.bounds.held && !l.stopped {
		l.room.Wait()
	}
	if !l.stopped {
		l.held += n
	}
	return !l.stopped
}

// hold counts n bytes more, or less, without waiting.
func (l *load) hold(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held += n
	l.room.Broadcast()
}

// begin counts a request, unless there are too many.
func (l *load) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running >= l.bounds.requests {
		return false
	}
	l.running++
	return true
}

func (l *load) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	if l.running == 0 && l.whenIdle != nil {
		close(l.whenIdle)
		l.whenIdle = nil
	}
}

// stop lets no new work begin.
func (l *load) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.room.Broadcast()
}

// drain waits until no request is in work, at most d, or until the client has gone
// or we are told to go.
func (l *load) drain(d time.Duration, gone, told <-chan struct{}) {
	l.mu.Lock()
	if l.running == 0 {
		l.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	l.whenIdle = idle
	l.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	case <-gone:
	case <-told:
	}
}
