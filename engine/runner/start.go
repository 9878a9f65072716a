package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cctask/internal/sys"
)

const (
	readyWithin = 30 * time.Second // from the order to the runner's answer
	readyGrace  = 2 * time.Second  // the same, after the caller has given up
	killWithin  = 10 * time.Second // from SIGKILL to a runner's end
)

// Start gives a prepared run to a runner and returns when it has answered.
// env is claude's whole environment; the marker is added.
//
// Without an error claude may have run, and the record says how far the runner
// came; Wait and Record tell the rest. ErrNotStarted and *SpawnError say that
// nothing ran, and that nothing holds the lock. With any other error nothing is known.
// The end of ctx shortens the wait but not the certainty.
func (l *Launcher) Start(ctx context.Context, r *Run, env []string) (Record, error) {
	// Until there is an answer the lock is ours too: another runner may be needed.
	defer r.dropLock()
	if r.lock == nil {
		return Record{}, fmt.Errorf("%w: the run was not prepared by this process, or started before", ErrNotStarted)
	}
	if err := ctx.Err(); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	b, err := encodeOrder(order{r.dir, r.launch}, append(unmarked(env, l.Env...), r.marker()))
	if err != nil {
		return Record{}, &SpawnError{Op: "arguments", Path: r.dir, Err: err.Error()}
	}
	rec, err := l.start(ctx, r, b, false)
	if errors.Is(err, errLeft) { // it was idle, and has left before it heard us
		rec, err = l.start(ctx, r, b, true)
	}
	if errors.Is(err, errLeft) {
		err = fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	return rec, err
}

// errLeft says that a runner has ended with its order not begun.
var errLeft = errors.New("the runner ended without a word")

func (l *Launcher) start(ctx context.Context, r *Run, order []byte, fresh bool) (Record, error) {
	j, err := l.take(fresh)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	r.mu.Lock()
	r.job = j
	r.mu.Unlock()
	if err := sendOrder(j.hand.conn, order, r.lock); err == nil {
		if a, ok := j.await(ctx); ok && a.Error != "" {
			return a.Record, fmt.Errorf("%w: %s", ErrNotStarted, a.Error)
		} else if ok {
			return a.Record, a.Record.spawnError()
		}
	}
	return r.settle(j.hand)
}

// Killed names the signal that ended the runner, such as "SIGKILL"; "" if none
// did, or if the runner was another process's child.
func (r *Run) Killed() string {
	j := r.ours()
	if j == nil {
		return ""
	}
	select {
	case <-j.hand.proc.done:
		return j.hand.proc.killed
	case <-time.After(readyGrace): // it let go of its lock and lives on
		return ""
	}
}

// ours is the job of the runner, if this process has given it the order.
func (r *Run) ours() *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.job
}

// marker is the environment entry that every process of the run's tree carries.
func (r *Run) marker() string { return MarkerVar + "=" + filepath.Base(r.dir) }

// settle finds out what became of a runner that did not answer. One that has
// not written its intent is killed: it has not started claude, and never will.
func (r *Run) settle(h *hand) (Record, error) {
	rec, err := r.Record()
	if err == nil && !rec.begun() {
		_ = h.proc.proc.Kill()
		if err := h.dead(); err != nil {
			return rec, err
		}
		rec, err = r.Record()
	}
	switch {
	case err != nil:
		return rec, err
	case !rec.begun():
		return rec, errLeft
	default:
		return rec, rec.spawnError()
	}
}

func (r Record) spawnError() error {
	if r.State != StateSpawnFailed {
		return nil
	}
	return &SpawnError{Op: r.SpawnOp, Path: r.SpawnPath, Err: r.SpawnError}
}

// Stop asks the runner of a run to stop its tree, and returns without waiting for
// it. The reason, a word, is written down where the runner looks, and stands in its record
// if claude was still alive. If the runner is gone there is nothing to do.
//
// A signal alone would not do: the runner may be at the next attempt when it comes.
func (r *Run) Stop(reason string) error {
	if !isReason(reason) {
		return fmt.Errorf("stop a run: unknown reason %q", reason)
	}
	if alive, err := r.Alive(); err != nil || !alive {
		return err
	}
	err := r.writeStop(reason)
	if errors.Is(err, fs.ErrNotExist) { // the run has ended since, and its directory is gone
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop a run: %w", err)
	}
	// A runner names itself before it looks for the file the first time: one that has
	// no name yet is not late.
	rec, err := r.Record()
	if err != nil {
		return fmt.Errorf("stop a run: %w", err)
	}
	if rec.RunnerPID == 0 {
		return nil
	}
	err = sys.Process{PID: rec.RunnerPID, Start: rec.RunnerStart}.Signal(syscall.SIGUSR1, r.Alive)
	if err != nil {
		return fmt.Errorf("stop a run: signal the runner %d: %w", rec.RunnerPID, err)
	}
	return nil
}

func isReason(word string) bool {
	return word != "" && len(word) <= 32 && strings.Trim(word, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// writeStop makes the file appear with all that is in it.
func (r *Run) writeStop(reason string) error {
	f, err := os.CreateTemp(r.dir, stopName+".")
	if err != nil {
		return err
	}
	_, err = f.WriteString(reason)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), r.path(stopName))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func (r *Run) stopReason() string {
	b, err := os.ReadFile(r.path(stopName))
	if err != nil || !isReason(string(b)) {
		return ""
	}
	return string(b)
}
