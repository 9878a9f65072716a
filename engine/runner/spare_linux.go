package runner

import (
	"os"
	"path/filepath"

	"cctask/internal/sys"
)

// spared are the processes that a sweep must not touch. They are never gone
// down into either, so their subtrees are safe with them.
type spared struct {
	procs map[int]uint64 // pid -> start time
	// locks are held by runners that have not named themselves yet, or by the
	// owner that is about to fork them.
	locks []string
}

// sparedBy collects the processes that spare names and the live runners beside
// dir: every directory whose lock is held.
func sparedBy(dir string, spare Spare) spared {
	s := spared{procs: map[int]uint64{}}
	if spare != nil {
		for _, p := range spare() {
			s.procs[p.PID] = p.Start
		}
	}
	parent := filepath.Dir(dir)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return s
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != filepath.Base(dir) {
			s.addRunner(filepath.Join(parent, e.Name()))
		}
	}
	return s
}

func (s *spared) addRunner(dir string) {
	lock := filepath.Join(dir, lockName)
	if held, err := lockHeld(lock); err != nil || !held {
		return
	}
	rec, err := readRecord(filepath.Join(dir, statusName))
	if err == nil && rec.RunnerPID != 0 {
		s.procs[rec.RunnerPID] = rec.RunnerStart
		return
	}
	s.locks = append(s.locks, lock)
}

func (s spared) has(pid int) bool {
	start, ok := s.procs[pid]
	return ok && (sys.Process{PID: pid, Start: start}).Alive() || holdsAny(pid, s.locks)
}
