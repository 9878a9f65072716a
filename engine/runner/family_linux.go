package runner

import (
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// subreaper is set by Become.
var subreaper atomic.Bool

// Become makes this process the one that inherits what a killed runner leaves
// behind, and collects the exit statuses of these orphans. Children that live
// in this process's own session, as os/exec starts them, runners and what RunOwn runs
// are left to whoever waits for them; any other child with a session of its own counts
// as an orphan.
func Become() error {
	if subreaper.Swap(true) {
		return nil
	}
	if err := becomeSubreaper(); err != nil {
		subreaper.Store(false)
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	// Of those that ended before there was nobody to hear: look once. A signal that
	// came since has taken the place.
	select {
	case ended <- syscall.SIGCHLD:
	default:
	}
	go func() {
		for range ended {
			family.mu.Lock()
			for _, pid := range childPIDs() {
				family.bury(pid)
			}
			family.mu.Unlock()
		}
	}()
	return nil
}

// isFirst: of a pid namespace the first process, a container's, gets every orphan.
var isFirst = os.Getpid() == 1

// orphan tells whether a child came to us when its runner died: every runner
// makes a session of its own, and nobody gets from there into ours.
func (f *children) orphan(pid int) (process, bool) {
	if _, own := f.own[pid]; own {
		return process{}, false
	}
	p, ok := readProcess(pid)
	return p, ok && p.parent == os.Getpid() && p.session != ownSession()
}

// bury reaps a child if it is an orphan that has ended. One of our own session may
// be somebody's to wait for, but in the first process none is: its verbs ask no
// child how it went, and what it was before its exec may have left some.
func (f *children) bury(pid int) {
	p, ok := f.orphan(pid)
	if _, own := f.own[pid]; !own && isFirst {
		p, ok = readProcess(pid)
	}
	if ok && p.zombie {
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

// killOrphans kills orphans, except those that keep names, and buries the dead.
// n is how many it met, fresh how many of them it had not met before: what an
// orphan has left came to us before it died, perhaps behind our back.
func (f *children) killOrphans(keep func(pid int) bool, killed map[int]struct{}) (n, fresh int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, pid := range childPIDs() {
		p, ok := f.orphan(pid)
		if !ok || keep(pid) {
			continue
		}
		n++
		if p.zombie {
			f.bury(pid)
			fresh++
			continue
		}
		fresh += kill(pid, killed)
	}
	return n, fresh
}

func ownSession() int {
	sid, err := unix.Getsid(0)
	if err != nil {
		return 0
	}
	return sid
}
