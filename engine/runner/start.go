package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Launcher starts runners.
type Launcher struct {
	Self string   // the cctask binary; "": the one of this process, even if its file was replaced
	Args []string // before the run directory; nil: "_run"
	Env  []string // added to the environment of each runner, for tests
}

const (
	readyWithin = 30 * time.Second // from the fork to the runner's answer
	readyGrace  = 2 * time.Second  // the same, after the caller has given up
	killWithin  = 10 * time.Second // from SIGKILL to a runner's end
)

// The descriptors that a runner inherits.
const (
	lockFD  = 3
	readyFD = 4
)

// Start forks a runner into a prepared run and returns when it has answered.
// env is claude's whole environment; the marker is added.
//
// Without an error claude may have run, and the record says how far the runner
// came; Wait and Record tell the rest. ErrNotStarted and *SpawnError say that
// nothing ran and that the runner is gone or leaving. With any other error nothing is known.
// The end of ctx shortens the wait but not the certainty.
func (l *Launcher) Start(ctx context.Context, r *Run, env []string) (Record, error) {
	defer r.dropLock()
	if r.lock == nil {
		return Record{}, fmt.Errorf("%w: the run was not prepared by this process, or started before", ErrNotStarted)
	}
	if err := ctx.Err(); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	ready, answer, err := os.Pipe()
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	defer ready.Close()
	c, err := l.fork(r, env, answer)
	_ = answer.Close()
	// From here on the runner's copy alone is the sign of its life.
	r.dropLock()
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	r.mu.Lock()
	r.child = c
	r.mu.Unlock()
	if rec, ok := await(ctx, ready); ok {
		return rec, rec.spawnError()
	}
	return r.settle(c)
}

// child is a runner that this process forked.
type child struct {
	proc *os.Process
	done chan struct{} // closed when it was waited for
	// killed names the signal that ended it; set before done is closed.
	killed string
}

// Killed names the signal that ended the runner, such as "SIGKILL"; "" if none
// did, or if the runner was another process's child.
func (r *Run) Killed() string {
	r.mu.Lock()
	c := r.child
	r.mu.Unlock()
	if c == nil {
		return ""
	}
	select {
	case <-c.done:
		return c.killed
	case <-time.After(readyGrace): // it let go of its lock and lives on
		return ""
	}
}

func (l *Launcher) fork(r *Run, env []string, answer *os.File) (*child, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	log, err := os.OpenFile(r.path(logName), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	self, argv, err := l.command(r)
	if err != nil {
		return nil, err
	}
	return family.start(self, argv, &os.ProcAttr{
		Dir:   "/", // a runner pins nobody's file system
		Env:   append(l.environ(env), r.marker()),
		Files: []*os.File{null, null, log, lockFD: r.lock, readyFD: answer},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

func (l *Launcher) command(r *Run) (self string, argv []string, err error) {
	name := l.Self
	if name == "" {
		name, err = os.Executable()
		self = selfPath(name)
	} else {
		self, err = filepath.Abs(name)
	}
	args := l.Args
	if args == nil {
		args = []string{"_run"}
	}
	argv = append([]string{ProcessName}, args...)
	return self, append(argv, r.dir), err
}

// environ drops a marker that came with env: a task that was submitted from
// inside another one must not be taken for a part of its tree.
func (l *Launcher) environ(env []string) []string {
	out := make([]string, 0, len(env)+len(l.Env)+1)
	for _, v := range append(env[:len(env):len(env)], l.Env...) {
		if !strings.HasPrefix(v, MarkerVar+"=") {
			out = append(out, v)
		}
	}
	return out
}

// marker is the environment entry that every process of the run's tree carries.
func (r *Run) marker() string { return MarkerVar + "=" + filepath.Base(r.dir) }

// await reads the runner's answer: a record, at the end of the pipe.
func await(ctx context.Context, ready *os.File) (Record, bool) {
	_ = ready.SetReadDeadline(time.Now().Add(readyWithin))
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Now().Add(readyGrace)) })
	defer stop()
	b, err := io.ReadAll(ready)
	var rec Record
	if err != nil || json.Unmarshal(b, &rec) != nil {
		return Record{}, false
	}
	return rec, true
}

// settle finds out what became of a runner that did not answer. One that has
// not written its intent is killed: it has not started claude, and never will.
func (r *Run) settle(c *child) (Record, error) {
	rec, err := r.Record()
	if err == nil && !rec.begun() {
		_ = c.proc.Kill()
		select {
		case <-c.done:
		case <-time.After(killWithin):
			return rec, fmt.Errorf("the runner %d neither answers nor dies", c.proc.Pid)
		}
		rec, err = r.Record()
	}
	switch {
	case err != nil:
		return rec, err
	case !rec.begun():
		return rec, fmt.Errorf("%w: %s", ErrNotStarted, r.lastWords())
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

// lastWords is the end of what the runner wrote to its log.
func (r *Run) lastWords() string {
	b, err := os.ReadFile(r.path(logName))
	if err != nil {
		return err.Error()
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return "it ended without a word"
	}
	return string(b[max(0, len(b)-500):])
}

// Stop asks a live runner to stop its tree, and returns without waiting for
// it. how is StopCancel. If the runner is gone there is nothing to do.
func (r *Run) Stop(how string) error {
	if how != StopCancel {
		return fmt.Errorf("stop a run: unknown way %q", how)
	}
	// A run that was opened while it starts names its runner in a moment.
	for end := time.Now().Add(readyWithin); ; time.Sleep(5 * time.Millisecond) {
		rec, err := r.Record()
		if err != nil {
			return fmt.Errorf("stop a run: %w", err)
		}
		alive, err := r.Alive()
		if err != nil {
			return fmt.Errorf("stop a run: %w", err)
		}
		if !alive {
			return nil
		}
		if rec.RunnerPID != 0 {
			return stopRunner(r, rec)
		}
		if time.Now().After(end) {
			return errors.New("stop a run: its runner has not named itself")
		}
	}
}

// stopRunner looks at the lock again once the pid is pinned: a runner that let
// go of it may have been followed by somebody else's process.
func stopRunner(r *Run, rec Record) error {
	err := signalProc(Proc{PID: rec.RunnerPID, Start: rec.RunnerStart}, syscall.SIGUSR1, r.Alive)
	if err != nil {
		return fmt.Errorf("stop a run: signal the runner %d: %w", rec.RunnerPID, err)
	}
	return nil
}
