package runner

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"cctask/internal/sys"
)

const (
	watchMin = 200 * time.Millisecond // between looks at output that grows
	watchMax = time.Second            // and at output that does not

	// groupPause is between looks whether a group is empty: of a process whose
	// parent has left the group nobody tells us.
	groupPause = 50 * time.Millisecond
)

// supervise returns when claude has ended and its status is recorded. Of one
// that we stop, its whole process group has ended then, or its grace: claude may
// be a shell or a shim that dies of the first signal and leaves the real one,
// which writes down what it has spent.
func (a *attempt) supervise() {
	child := sys.Pidfd(a.rec.ClaudePID)
	defer func() { _ = unix.Close(child) }()
	w := watch{pause: watchMin, look: time.Now().Add(watchMin), quiet: a.rec.StartedAt.Add(quietFor)}
	if a.launch.Deadline > 0 {
		w.deadline = a.rec.StartedAt.Add(a.launch.Deadline)
	}
	// Whoever wrote the file before this look has perhaps not known whom to signal.
	a.heed(&w)
	for a.reap(); !a.rec.Exited || a.rec.Stopped != "" && !w.spent && a.groupLives(); a.reap() {
		if a.rec.Exited {
			a.sleep(-1, earliest(w.grace, time.Now().Add(groupPause)))
		} else {
			a.sleep(child, earliest(w.grace, w.deadline, w.look))
		}
		a.heed(&w)
	}
	a.measure()
	// The sweep may take its time; the exit status must not be lost with us.
	a.put()
}

// watch is what a runner waits for while claude lives. A zero time is never.
type watch struct {
	deadline, grace, look, quiet time.Time

	pause time.Duration // between looks
	seen  int64         // the largest file at the last one
	spent bool          // the grace
}

func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// heed does what is due.
func (a *attempt) heed(w *watch) {
	now := time.Now()
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	var why string
	switch {
	case a.leaving():
		why = StopTerminated
	case due(w.deadline):
		why, w.deadline = StopDeadline, time.Time{}
	default:
		why = a.run.stopReason()
	}
	if due(w.look) {
		largest := max(size(a.stdout), size(a.stderr))
		if most := a.launch.MaxOutput; why == "" && most > 0 && largest > most {
			why = StopOutputLimit
		}
		w.pause = watchPause(w.pause, largest > w.seen)
		w.seen, w.look = largest, now.Add(w.pause)
		if due(w.quiet) {
			a.shrink()
			w.quiet = time.Time{}
		}
	}
	if why != "" && a.stop(why) {
		w.grace = now.Add(a.grace())
	}
	if due(w.grace) {
		w.spent, w.grace = true, time.Time{}
		if !a.rec.Exited { // else the sweep does it, and nothing is left that keeps the number ours
			a.kill()
		}
	}
}

// measure holds a claude that has ended to its limit: what it wrote may have come
// between two looks.
func (a *attempt) measure() {
	most := a.launch.MaxOutput
	if a.rec.Stopped == "" && most > 0 && max(size(a.stdout), size(a.stderr)) > most {
		a.rec.Stopped, a.rec.StoppedAt = StopOutputLimit, a.rec.EndedAt
	}
}

func watchPause(last time.Duration, grew bool) time.Duration {
	if grew {
		return watchMin
	}
	return min(2*last, watchMax)
}

func (a *attempt) grace() time.Duration {
	if a.launch.Grace > 0 {
		return a.launch.Grace
	}
	return defaultGrace
}

// stop asks claude to end, once, after it has written down why: the exit that
// follows is judged by our intent. SIGTERM lets claude stop its tools; SIGINT
// would look like a person's Escape to a resumed session.
func (a *attempt) stop(why string) bool {
	a.reap()
	if a.rec.Exited || a.rec.Stopped != "" {
		return false
	}
	a.rec.Stopped, a.rec.StoppedAt = why, time.Now().UTC()
	a.put()
	// Not reaped yet, so the group is claude's. Its tools have sessions of their
	// own: it stops them better than we could.
	_ = unix.Kill(-a.rec.ClaudePID, unix.SIGTERM)
	return true
}

// groupLives tells whether anybody is left in claude's process group. As long as
// somebody is, its number is not given to another.
func (a *attempt) groupLives() bool {
	return !errors.Is(unix.Kill(-a.rec.ClaudePID, 0), unix.ESRCH)
}

func (a *attempt) kill() {
	_ = unix.Kill(-a.rec.ClaudePID, unix.SIGKILL)
	_ = unix.Kill(a.rec.ClaudePID, unix.SIGKILL)
}

// reap collects every child that has ended: claude, and what was left to us.
// It returns false when there are no children at all.
func (a *attempt) reap() bool {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false
		case pid == 0:
			return true
		case pid == a.rec.ClaudePID && !a.rec.Exited:
			a.ended(ws)
		}
	}
}

func (a *attempt) ended(ws unix.WaitStatus) {
	a.rec.Exited, a.rec.EndedAt = true, time.Now().UTC()
	a.rec.ExitCode = ws.ExitStatus()
	if ws.Signaled() {
		a.rec.ExitCode = 128 + int(ws.Signal())
		a.rec.Signal = unix.SignalName(ws.Signal())
	}
}
