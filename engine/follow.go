package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
)

const (
	// ChunkSize is the piece of output that is sealed while claude still runs.
	ChunkSize = 256 << 10
	// followEvery is how often a live spool is looked at. It bounds the age of
	// progress, not of output: readers look into the spool themselves.
	followEvery = 100 * time.Millisecond
)

var streams = []task.Stream{task.Stdout, task.Stderr}

// follower reads an attempt's spool as it grows: it feeds the event parser and
// seals full chunks.
type follower struct {
	a      *attempt
	parser *claude.Parser
	parsed int64
	sealed map[task.Stream]int64
	seen   [2]int64 // sizes at the last look, stdout and stderr
	buf    []byte
}

func (a *attempt) newFollower() (*follower, error) {
	f := &follower{a: a, parser: claude.NewParser(), sealed: map[task.Stream]int64{}, buf: make([]byte, ChunkSize)}
	for _, st := range streams {
		n, err := a.e.store.Sealed(a.id, a.n, st)
		if err != nil {
			return nil, fmt.Errorf("look up the sealed output: %w", err)
		}
		f.sealed[st] = n
	}
	return f, nil
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
		select {
		case <-time.After(wait):
		case <-a.e.ctx.Done():
			return
		}
	}
}

func (a *attempt) followOnce() error {
	f, err := a.newFollower()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- a.run.Wait(a.e.ctx) }()
	gate := time.NewTimer(gateTime)
	defer gate.Stop()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("wait for the runner: %w", err)
			}
			a.openGate()
			return a.finish(f)
		case <-gate.C:
			a.openGate()
		case <-tick.C:
			if err := f.look(); err != nil {
				a.e.log.Warn().Err(err).Str("task", string(a.id)).Msg("read or seal the output; trying again")
				tick.Reset(machinePauses.first) // the log must not fill a full disk
			} else {
				tick.Reset(followEvery)
			}
		}
	}
}

// look takes in what is new and tells those who wait.
func (f *follower) look() error {
	stdout, stderr, err := f.a.spool.sizes()
	if err != nil {
		return err
	}
	if f.seen == [2]int64{stdout, stderr} {
		return nil
	}
	f.a.openGate()
	if err = f.read(); err == nil {
		f.seen = [2]int64{stdout, stderr}
	}
	p := f.parser.Progress()
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

// read parses the new events and seals the full chunks.
func (f *follower) read() error {
	for {
		n, err := f.a.spool.readAt(task.Stdout, f.buf, f.parsed)
		if err != nil {
			return fmt.Errorf("read the spool: %w", err)
		}
		if n == 0 {
			break
		}
		if _, err := f.parser.Write(f.buf[:n]); err != nil {
			return fmt.Errorf("parse the events: %w", err)
		}
		f.parsed += int64(n)
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
	size, err := f.a.spool.size(task.Stderr)
	if err != nil {
		return err
	}
	return f.sealFull(task.Stderr, size)
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
	got, err := f.a.spool.readAt(st, data, offset)
	if err != nil {
		return task.Blob{}, fmt.Errorf("read the spool: %w", err)
	}
	return task.Blob{ID: f.a.id, Attempt: f.a.n, Stream: st, Offset: offset, Data: data[:got]}, nil
}

// rest is the last, partial chunk of each stream, after all full ones are in.
func (f *follower) rest() (chunks []task.Blob, err error) {
	if err := f.read(); err != nil {
		return nil, err
	}
	for _, st := range streams {
		size, err := f.a.spool.size(st)
		if err != nil {
			return nil, err
		}
		if err := f.sealFull(st, size); err != nil {
			return nil, err
		}
		b, err := f.chunk(st, f.sealed[st], size-f.sealed[st])
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, b)
	}
	return chunks, nil
}

// stderrTail is the end of stderr, where claude says why it could not start.
func (f *follower) stderrTail() []byte {
	size, err := f.a.spool.size(task.Stderr)
	if err != nil {
		return nil
	}
	b := make([]byte, min(size, 64<<10))
	n, err := f.a.spool.readAt(task.Stderr, b, size-int64(len(b)))
	if err != nil {
		return nil
	}
	return b[:n]
}

// finish judges an attempt whose runner has let go of its lock, records the
// outcome with the last of the output, and only then removes the spool.
func (a *attempt) finish(f *follower) error {
	rec, err := a.record()
	if err == nil && rec.State != runner.StateEnded {
		// The runner died without its last step: what it left must go before
		// the end is recorded.
		if _, err := a.run.Sweep(a.e.ctx, a.e.cfg.Spare); err != nil {
			if a.e.ctx.Err() != nil || transient(err) {
				return fmt.Errorf("sweep after a dead runner: %w", err)
			}
			a.e.log.Warn().Err(err).Str("task", string(a.id)).Msg("sweep after a dead runner")
		}
		rec, err = a.record()
	}
	if err != nil {
		return err
	}
	chunks, err := f.rest()
	if errors.Is(err, os.ErrNotExist) {
		// Somebody removed the run directory: what was sealed is what there is.
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("the spool is gone")
		chunks = nil
	} else if err != nil {
		return err
	}
	f.parser.Flush()
	if err := a.conclude(f, rec, chunks); err != nil {
		return fmt.Errorf("record the outcome: %w", err)
	}
	a.cleanUp()
	return nil
}

// record is what the runner has written; nothing, if that cannot be read. A
// lack of descriptors must not turn a good end into an unknown one.
func (a *attempt) record() (runner.Record, error) {
	rec, err := a.run.Record()
	if err != nil && !transient(err) {
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("read the status record")
		return runner.Record{}, nil
	}
	return rec, err
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

// transient errors are the machine's and may pass; the others are ours.
func transient(err error) bool {
	return errors.Is(err, task.ErrNoSpace) || isResourceError(err)
}
