package mcp

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// longTurn is how long a request may hold up the lines behind it before another
// goroutine reads on, give or take as much again.
const longTurn = 20 * time.Millisecond

// leader reads the lines of a client, by one goroutine at a time, which answers the
// requests itself: a goroutine for each would have to be woken, and that costs as much
// as all the rest of a short answer. It follows the pattern "leader/followers": one who
// is going to wait, or has taken too long, answers on its own while
// another one reads on. So no waiting call delays another.
//
// http://www.dre.vanderbilt.edu/~schmidt/PDF/lf.pdf
type leader struct {
	c     *conn
	lines *lineReader
	over  chan error // gets why there are no more lines

	turn   int64        // of the last request that was answered here; the leader's own
	busy   atomic.Int64 // the turn in which the leader answers, or 0: it reads
	slow   atomic.Int64 // requests that took too long, and are not answered yet
	seen   int64        // the turn at the last look, guarded by looks
	looks  atomic.Bool  // a look is due
	ticker *time.Timer  // set while looks
}

func (c *conn) read(in io.Reader) error {
	l := &leader{c: c, lines: newLineReader(in, c.srv.bounds.line), over: make(chan error, 1)}
	l.ticker = time.AfterFunc(time.Hour, l.look)
	defer l.ticker.Stop()
	go l.lead()
	return <-l.over
}

// lead reads until the end of the input, or until another goroutine does.
func (l *leader) lead() {
	for {
		line, err := l.lines.next()
		var skipped *longLine
		var r *request
		switch {
		case err == nil:
			r = l.c.accept(line)
		case errors.As(err, &skipped):
			f := failure(codeInvalidRequest, "message of more than %d bytes was skipped", l.c.srv.bounds.line)
			f.ID = skipped.id()
			l.c.respond(l.c.out, f)
		case errors.Is(err, io.EOF):
			l.over <- nil
			return
		default:
			l.over <- fmt.Errorf("read from the client: %w", err)
			return
		}
		switch {
		case r == nil:
		case l.slow.Load() > 0 || l.lines.in.Buffered() > 0:
			go r.run()
		case !l.answer(r):
			return
		}
	}
}

// answer runs a request and tells whether this goroutine is still the one that reads.
func (l *leader) answer(r *request) bool {
	l.turn++
	turn := l.turn
	r.reader, r.turn = l, turn
	l.busy.Store(turn)
	if !l.looks.Swap(true) {
		l.ticker.Reset(longTurn)
	}
	r.run()
	if l.busy.CompareAndSwap(turn, 0) {
		return true
	}
	r.waits()
	return false
}

// waits says that a request takes its time from now on: another goroutine reads on.
func (r *request) waits() {
	l := r.reader
	if r.reader = nil; l != nil && !l.pass(r.turn) {
		l.slow.Add(-1) // it was told so already, by look
	}
}

// pass lets another goroutine read on, unless one does.
func (l *leader) pass(turn int64) bool {
	if !l.busy.CompareAndSwap(turn, 0) {
		return false
	}
	go l.lead()
	return true
}

// look is due again and again while the leader answers requests. One that it finds
// twice takes too long.
func (l *leader) look() {
	turn := l.busy.Load()
	switch {
	case turn == 0:
		l.looks.Store(false)
		// A request that began before that counts on this look.
		if l.busy.Load() == 0 || l.looks.Swap(true) {
			return
		}
	case turn == l.seen:
		l.slow.Add(1)
		if !l.pass(turn) {
			l.slow.Add(-1)
		}
	}
	l.seen = turn
	l.ticker.Reset(longTurn)
}
