package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
)

// ChunkSize is the piece of output that is sealed while claude still runs.
const ChunkSize = 256 << 10

var streams = []task.Stream{task.Stdout, task.Stderr}

// pieces are the buffers of all followers: few of thousands read at a time.
var pieces = sync.Pool{New: func() any { return new([ChunkSize]byte) }}

// follower reads an attempt's output as it grows: it feeds the event parser and
// seals full chunks.
type follower struct {
	a      *attempt
	name   string
	parser *claude.Parser
	parsed int64
	sealed map[task.Stream]int64
	seen   [2]int64 // sizes at the last look, stdout and stderr
	base   float64  // what the session had cost before this attempt
	guard  guard
}

func (a *attempt) newFollower() (*follower, error) {
	f := &follower{a: a, name: runName(a.id, a.n), parser: claude.NewParser(), sealed: map[task.Stream]int64{}, guard: guard{heard: time.Now()}}
	for _, st := range streams {
		n, err := a.e.store.Sealed(a.id, a.n, st)
		if err != nil {
			return nil, fmt.Errorf("look up the sealed output: %w", err)
		}
		f.sealed[st] = n
	}
	rec, err := a.e.store.Attempt(a.id, a.n)
	if err == nil && (rec.Resumes || rec.ForkOf != "") {
		f.base, _, err = a.e.store.SessionCost(rec.SessionID)
	}
	if err != nil {
		return nil, fmt.Errorf("look up what the session has cost: %w", err)
	}
	return f, nil
}

// unbilled is what the attempt has cost since its last result, by estimate.
func (f *follower) unbilled() float64 {
	e := f.a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	e.prices.Learn(f.parser.Billed())
	return task.RoundUSD(e.prices.Estimate(f.parser.Unbilled()))
}

// cost is what the attempt has cost so far.
func (f *follower) cost(p claude.Progress) float64 {
	return task.RoundUSD(max(0, p.CostUSD-f.base) + f.unbilled())
}

// follow is steps 5 to 8, for an attempt of this owner and for one that it
// adopted. It ends early, with nothing lost, when the engine closes. An error
// is no end: a task that nobody follows would run for ever. All that was taken
// in is taken in again, which changes nothing.
func (a *attempt) follow() {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := a.followOnce()
		if err == nil || a.e.ctx.Err() != nil {
			return
		}
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("follow; trying again")
		if !a.e.sleepFor(wait) {
			return
		}
	}
}

func (a *attempt) followOnce() error {
	f, err := a.newFollower()
	if err != nil {
		return err
	}
	gate := time.AfterFunc(gateTime, a.letIn)
	defer gate.Stop()
	var late, again <-chan time.Time // to record the start; to repeat a look that failed
	if a.unrecorded != nil {
		late = time.After(recordAfter)
	}
	for {
		s := a.seen()
		switch {
		case s.Life == runner.Gone:
			a.letIn()
			return a.finish(f, s)
		case again == nil && s.Life == runner.Up:
			if err := f.look(s); err != nil {
				a.e.log.Warn().Err(err).Str("task", string(a.id)).Msg("read or seal the output; trying again")
				again = time.After(machinePauses.first) // the log must not fill a full disk
			}
		}
		var silent <-chan time.Time
		if again == nil {
			silent = f.watched(s)
		}
		select {
		case <-a.news:
		case <-silent:
		case <-again:
			again = nil
		case <-late:
			late = nil
			if err := a.running(); err != nil {
				return err
			}
		case <-a.e.ctx.Done():
			return a.e.ctx.Err()
		}
	}
}

// look takes in what is new and tells those who wait.
func (f *follower) look(s runner.Sight) error {
	if f.seen == [2]int64{s.Stdout, s.Stderr} {
		return nil
	}
	f.a.letIn()
	err := f.read(s.Stderr)
	if err == nil {
		f.seen = [2]int64{s.Stdout, s.Stderr}
	}
	p := f.parser.Progress()
	p.CostUSD = f.cost(p)
	f.a.e.flies(f.a.id, p.CostUSD)
	f.guard.hears(f.a, p.SawInit)
	f.a.passes(f.parser)
	answer, answered := f.parser.Answer()
	f.a.mu.Lock()
	f.a.progress, f.a.progressAt = p, time.Now()
	if f.a.answer = nil; answered {
		f.a.answer = &answer
	}
	f.a.mu.Unlock()
	f.a.e.publish(f.a.id, false)
	return err
}

// read parses the new events and seals the full chunks; stderr has so many bytes.
func (f *follower) read(stderr int64) error {
	select {
	case f.a.e.readers <- struct{}{}:
		defer func() { <-f.a.e.readers }()
	case <-f.a.e.ctx.Done():
		return f.a.e.ctx.Err()
	}
	piece := pieces.Get().(*[ChunkSize]byte)
	defer pieces.Put(piece)
	for {
		n, _, err := f.readAt(task.Stdout, piece[:], f.parsed)
		if err != nil {
			return err
		}
		if _, err := f.parser.Write(piece[:n]); err != nil {
			return fmt.Errorf("parse the events: %w", err)
		}
		f.parsed += int64(n)
		if n < len(piece) {
			break
		}
		if f.parsed-f.sealed[task.Stdout] < sealAtOnce*ChunkSize {
			continue
		}
		if err := f.sealFull(task.Stdout, f.parsed); err != nil {
			return err
		}
	}
	if err := f.sealFull(task.Stdout, f.parsed); err != nil {
		return err
	}
	return f.sealFull(task.Stderr, stderr)
}

func (f *follower) readAt(st task.Stream, b []byte, off int64) (n int, size int64, err error) {
	n, size, err = f.a.at.Read(f.a.e.ctx, f.name, string(st), b, off)
	if err != nil {
		err = fmt.Errorf("read %s: %w", st, err)
	}
	return n, size, err
}

// sealAtOnce bounds what one commit seals: a commit writes the last leaf of the
// tree anew, with the chunks in it, so that few large commits write less than half
// of what many small ones do.
const sealAtOnce = 16

// sealFull is step 6: every full chunk below size.
func (f *follower) sealFull(st task.Stream, size int64) error {
	for size-f.sealed[st] >= ChunkSize {
		var chunks []task.Blob
		for at, cut := f.sealed[st], false; size-at >= ChunkSize && len(chunks) < sealAtOnce && !cut; at += ChunkSize {
			b, err := f.chunk(st, at, ChunkSize)
			if err != nil {
				return err
			}
			cut = len(b.Data) < ChunkSize
			chunks = append(chunks, b)
		}
		if err := f.a.e.apply(task.Write{At: time.Now(), Chunks: chunks}); err != nil {
			return fmt.Errorf("seal %s of task %s: %w", st, f.a.id, err)
		}
		last := chunks[len(chunks)-1]
		if f.sealed[st] = last.Offset + int64(len(last.Data)); len(last.Data) < ChunkSize {
			return nil
		}
	}
	return nil
}

// chunk reads n bytes from an offset on, or what there is of them: a child of
// claude's that writes to /dev/stderr may cut the file.
func (f *follower) chunk(st task.Stream, offset, n int64) (task.Blob, error) {
	data := make([]byte, max(n, 0))
	got := 0
	if n > 0 {
		var err error
		if got, _, err = f.readAt(st, data, offset); err != nil {
			return task.Blob{}, err
		}
	}
	return task.Blob{ID: f.a.id, Attempt: f.a.n, Stream: st, Offset: offset, Data: data[:got]}, nil
}

// rest is the last, partial chunk of each stream of a run that is gone, after all full
// ones are in.
func (f *follower) rest(s runner.Sight) (chunks []task.Blob, err error) {
	if err := f.read(s.Stderr); err != nil {
		return nil, err
	}
	for i, size := range []int64{f.parsed, s.Stderr} {
		st := streams[i]
		b, err := f.chunk(st, f.sealed[st], size-f.sealed[st])
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, b)
	}
	return chunks, nil
}

// stderrTail is the end of stderr, where claude says why it could not start.
func (f *follower) stderrTail(s runner.Sight) []byte {
	b := make([]byte, min(s.Stderr, 64<<10))
	if len(b) == 0 {
		return nil
	}
	n, _, err := f.readAt(task.Stderr, b, s.Stderr-int64(len(b)))
	if err != nil {
		return nil
	}
	return b[:n]
}

// finish judges an attempt whose runner is gone, records the outcome with the
// last of the output, and only then clears the run.
func (a *attempt) finish(f *follower, s runner.Sight) error {
	if s.Rec.State != runner.StateEnded {
		// The runner died without its last step: what it left must go before
		// the end is recorded.
		if err := a.at.Stop(a.e.ctx, f.name, "", true); err != nil {
			if a.e.ctx.Err() != nil || transient(err) {
				return fmt.Errorf("sweep after a dead runner: %w", err)
			}
			a.e.log.Warn().Err(err).Str("task", string(a.id)).Msg("sweep after a dead runner")
		}
	}
	chunks, err := f.rest(s)
	if errors.Is(err, fs.ErrNotExist) {
		// Somebody removed the run: what was sealed is what there is.
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("the output is gone")
		chunks = nil
	} else if err != nil {
		return err
	}
	f.parser.Flush()
	if err := a.conclude(f, s, chunks); err != nil {
		return fmt.Errorf("record the outcome: %w", err)
	}
	a.cleanUp()
	return nil
}

// cleanUp is step 8.
func (a *attempt) cleanUp() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.clear(runName(a.id, a.n))
}

// retry repeats f until it succeeds, meets an error that will not pass, or ctx
// ends: a full disk or a lack of descriptors must not cost an outcome.
func retry[T any](ctx context.Context, f func() (T, error)) (T, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		v, err := f()
		if err == nil || !transient(err) {
			return v, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return v, err
		}
	}
}

// transient errors are the machine's, or a site's, and may pass; the others are ours.
func transient(err error) bool {
	return errors.Is(err, task.ErrNoSpace) || errors.Is(err, runner.ErrSilent) || isResourceError(err)
}
