package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"cctask/internal/sys"
)

const (
	claudeGrace = 3 * time.Second // for a claude whose runner died, to stop its tools
	sweepPause  = 5 * time.Millisecond
)

// sweep kills what claude has left, until the system says that we have no
// children or only spared ones are left. Under a subreaper whatever loses its
// parent becomes our child, so it is enough to look at these; and since nobody
// else reaps them, a pid in the list cannot have become somebody else's.
func (a *attempt) sweep() {
	killed := map[int]struct{}{}
	for pause := time.Millisecond; a.reap(); {
		// The spared are collected before the children are listed: nothing may
		// come between list and kill, or one who forks for ever runs away.
		keep := sparedBy(a.run.dir, a.spare())
		n, fresh := 0, 0
		for _, pid := range childPIDs() {
			if !keep.has(pid) {
				n++
				fresh += kill(pid, killed)
			}
		}
		if n == 0 {
			a.worn = true // it has the spared for children
			break
		}
		if fresh > 0 {
			pause = time.Millisecond
			continue
		}
		time.Sleep(pause)
		pause = min(2*pause, 100*time.Millisecond)
	}
	a.rec.Leftovers = len(killed)
}

// Sweep kills what is left of a run whose runner was killed: processes that
// carry its marker, orphans that came to this process (after Become), and the
// descendants of both. It spares what spare names, live runners, and their
// subtrees. It returns when nothing is left, with the number of processes that
// it signalled.
func (r *Run) Sweep(ctx context.Context, spare Spare) (killed int, err error) {
	if alive, err := r.Alive(); err != nil || alive {
		if alive {
			err = fmt.Errorf("sweep %s: its runner lives", r.dir)
		}
		return 0, err
	}
	rec, err := r.Record()
	if err != nil {
		return 0, err
	}
	s := sweeper{run: r, spare: spare, rec: rec, killed: map[int]struct{}{}}
	if err := s.ask(ctx); err != nil {
		return len(s.killed), err
	}
	for {
		left, err := s.strike()
		if err != nil || left == 0 {
			return len(s.killed), err
		}
		select {
		case <-ctx.Done():
			return len(s.killed), ctx.Err()
		case <-time.After(sweepPause):
		}
	}
}

type sweeper struct {
	run    *Run
	spare  Spare
	rec    Record
	killed map[int]struct{}
	struck []process // what was signalled, as it was then
}

// ask sends SIGTERM and gives a claude that lives, with what is in its group, the
// time to stop its tools, which it does better than we could.
func (s *sweeper) ask(ctx context.Context) error {
	victims, err := s.victims()
	if err != nil {
		return err
	}
	for _, p := range victims {
		s.signal(p, unix.SIGTERM)
	}
	ctx, cancel := context.WithTimeout(ctx, claudeGrace)
	defer cancel()
	for _, p := range victims {
		if p.group == s.rec.ClaudePID {
			awaitEnd(ctx, p)
		}
	}
	return nil
}

// strike kills everything that is left and returns how much that was.
func (s *sweeper) strike() (int, error) {
	left := 0
	if subreaper.Load() {
		// In a tight loop: the table is too slow for one who forks for ever.
		keep := s.spared()
		for fresh := 1; fresh > 0; {
			left, fresh = family.killOrphans(keep.has, s.killed)
		}
	}
	victims, err := s.victims()
	for _, p := range victims {
		s.signal(p, unix.SIGKILL)
	}
	return left + len(victims), err
}

func (s *sweeper) signal(p process, sig unix.Signal) {
	if (sys.Process{PID: p.pid, Start: p.start}).Signal(sig, nil) == nil {
		if _, again := s.killed[p.pid]; !again {
			s.struck = append(s.struck, p)
		}
		s.killed[p.pid] = struct{}{}
	}
}

// spared adds the run's own runner: one that has ended well may be about to
// start an owner.
func (s *sweeper) spared() spared {
	keep := sparedBy(s.run.dir, s.spare)
	if s.rec.RunnerPID != 0 {
		keep.procs[s.rec.RunnerPID] = s.rec.RunnerStart
	}
	return keep
}

// victims are the living processes of the run.
func (s *sweeper) victims() ([]process, error) {
	keep := s.spared()
	table, err := processes()
	if err != nil {
		return nil, err
	}
	below := map[int][]int{}
	for pid, p := range table {
		below[p.parent] = append(below[p.parent], pid)
	}
	// We are spared without our children: among these are the orphans. A live
	// runner is spared alone too, since nothing of ours is reached through it,
	// and an orphan of this run may have come to it.
	safe := map[int]bool{os.Getpid(): true}
	if s.spare != nil {
		for _, p := range s.spare() {
			if table[p.PID].start == p.Start {
				spread(p.PID, below, safe, nil)
			}
		}
	}
	for pid := range table {
		if keep.has(pid) {
			safe[pid] = true
		}
	}
	hit := map[int]bool{}
	for pid := range table {
		if !safe[pid] && (hasMarker(pid, s.run.marker()) || isOrphan(pid)) {
			spread(pid, below, hit, safe)
		}
	}
	// One that dies has lost its environment, and with it the marker, before it
	// lets go of its files; one whose parent died may be reached by nothing else.
	for _, p := range s.struck {
		if table[p.pid].start == p.start {
			hit[p.pid] = true
		}
	}
	var victims []process
	for pid := range hit {
		if p := table[pid]; !p.zombie {
			victims = append(victims, p)
		}
	}
	return victims, nil
}

// spread adds pid and its descendants to set, but none that is in except.
func spread(pid int, below map[int][]int, set, except map[int]bool) {
	if set[pid] || except[pid] {
		return
	}
	set[pid] = true
	for _, c := range below[pid] {
		spread(c, below, set, except)
	}
}

func isOrphan(pid int) bool {
	if !subreaper.Load() {
		return false
	}
	family.mu.Lock()
	defer family.mu.Unlock()
	_, ok := family.orphan(pid)
	return ok
}

// hasMarker reads the environment that a process was executed with.
func hasMarker(pid int, marker string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && bytes.Contains(append([]byte{0}, b...), []byte("\x00"+marker+"\x00"))
}

// awaitEnd waits until p has ended or ctx is over.
func awaitEnd(ctx context.Context, p process) {
	fd := sys.Pidfd(p.pid)
	if fd < 0 {
		return
	}
	defer unix.Close(fd)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for (sys.Process{PID: p.pid, Start: p.start}).Alive() && ctx.Err() == nil {
		if n, err := unix.Poll(fds, 50); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
