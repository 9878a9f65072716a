package runner

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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
func (r *runner) supervise() {
	var deadline, grace, look, empty <-chan time.Time
	spent := false // the grace
	if r.launch.Deadline > 0 {
		deadline = time.After(time.Until(r.rec.StartedAt.Add(r.launch.Deadline)))
	}
	var seen int64
	pause := watchMin
	if r.launch.MaxOutput > 0 {
		look = time.After(pause)
	}
	stop := func(why string) {
		if r.stop(why) {
			grace = time.After(r.grace())
		}
	}
	for r.reap(); !r.rec.Exited || r.rec.Stopped != "" && !spent && r.groupLives(); r.reap() {
		if r.rec.Exited {
			empty = time.After(groupPause)
		}
		select {
		case <-r.children:
		case sig := <-r.stops:
			stop(reasonOf(sig))
		case <-deadline:
			stop(StopDeadline)
		case <-empty:
		case <-grace:
			spent = true
			if !r.rec.Exited { // else the sweep does it, and nothing is left that keeps the number ours
				r.kill()
			}
		case <-look:
			largest := max(size(r.stdout), size(r.stderr))
			if largest > r.launch.MaxOutput {
				stop(StopOutputLimit)
				look = nil
				continue
			}
			pause = watchPause(pause, largest > seen)
			seen = largest
			look = time.After(pause)
		}
	}
	r.measure()
	// The sweep may take its time; the exit status must not be lost with us.
	r.note(r.status.put(r.rec))
}

// measure holds a claude that has ended to its limit: what it wrote may have come
// between two looks.
func (r *runner) measure() {
	most := r.launch.MaxOutput
	if r.rec.Stopped == "" && most > 0 && max(size(r.stdout), size(r.stderr)) > most {
		r.rec.Stopped, r.rec.StoppedAt = StopOutputLimit, r.rec.EndedAt
	}
}

func watchPause(last time.Duration, grew bool) time.Duration {
	if grew {
		return watchMin
	}
	return min(2*last, watchMax)
}

func (r *runner) grace() time.Duration {
	if r.launch.Grace > 0 {
		return r.launch.Grace
	}
	return defaultGrace
}

func reasonOf(sig os.Signal) string {
	if sig == syscall.SIGUSR1 {
		return StopCancel
	}
	return StopTerminated
}

// stop asks claude to end, once, after it has written down why: the exit that
// follows is judged by our intent. SIGTERM lets claude stop its tools; SIGINT
// would look like a person's Escape to a resumed session.
func (r *runner) stop(why string) bool {
	r.reap()
	if r.rec.Exited || r.rec.Stopped != "" {
		return false
	}
	r.rec.Stopped, r.rec.StoppedAt = why, time.Now().UTC()
	r.note(r.status.put(r.rec))
	r.note(r.status.sync())
	// Not reaped yet, so the group is claude's. Its tools have sessions of their
	// own: it stops them better than we could.
	_ = unix.Kill(-r.rec.ClaudePID, unix.SIGTERM)
	return true
}

// groupLives tells whether anybody is left in claude's process group. As long as
// somebody is, its number is not given to another.
func (r *runner) groupLives() bool {
	return !errors.Is(unix.Kill(-r.rec.ClaudePID, 0), unix.ESRCH)
}

func (r *runner) kill() {
	_ = unix.Kill(-r.rec.ClaudePID, unix.SIGKILL)
	_ = unix.Kill(r.rec.ClaudePID, unix.SIGKILL)
}

// reap collects every child that has ended: claude, and what was left to us.
// It returns false when there are no children at all.
func (r *runner) reap() bool {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false
		case pid == 0:
			return true
		case pid == r.rec.ClaudePID && !r.rec.Exited:
			r.ended(ws)
		}
	}
}

func (r *runner) ended(ws unix.WaitStatus) {
	r.rec.Exited, r.rec.EndedAt = true, time.Now().UTC()
	r.rec.ExitCode = ws.ExitStatus()
	if ws.Signaled() {
		r.rec.ExitCode = 128 + int(ws.Signal())
		r.rec.Signal = unix.SignalName(ws.Signal())
	}
}
