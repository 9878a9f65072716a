package runner

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// growthPause is between two tellings: what a claude prints in the meantime is told at once.
const growthPause = 100 * time.Millisecond

// growth hears of what is written in run directories: see inotify(7). Its fields are under
// the mutex of its Local.
type growth struct {
	f     *os.File
	names map[uint32]string // by watch
}

// hear has the growth of a run told; false where the system has no watch left for it.
// It goes with the directory.
func (l *Local) hear(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.news == nil {
		return false
	}
	g := l.growth
	if g == nil {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return false
		}
		g = &growth{f: os.NewFile(uintptr(fd), "inotify"), names: map[uint32]string{}}
		l.growth = g
		go l.tellGrowth(g)
	}
	ok := false
	raw, err := g.f.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			wd, err := unix.InotifyAddWatch(int(fd), l.dir(name), unix.IN_MODIFY|unix.IN_ONLYDIR)
			if ok = err == nil; ok {
				g.names[uint32(wd)] = name
				if l.told == nil {
					l.told = map[string]bool{}
				}
				l.told[name] = true
			}
		})
	}
	return ok && err == nil
}

// deafen ends the telling; under mu.
func (l *Local) deafen() {
	if l.growth != nil {
		_ = l.growth.f.Close()
		l.growth = nil
	}
}

// tellGrowth looks at each run in which something was written.
func (l *Local) tellGrowth(g *growth) {
	for buf := make([]byte, 16<<10); ; time.Sleep(growthPause) {
		n, err := g.f.Read(buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		names, news := l.written(g, buf[:n])
		if news == nil {
			return
		}
		for name := range names {
			s, err := l.look(name)
			if errors.Is(err, fs.ErrNotExist) {
				s, err = Sight{Life: Gone, Rec: Record{State: StateNone}}, nil
			}
			if err == nil {
				news(name, s)
			}
		}
	}
}

// written are the runs that events speak of: all, if some were lost.
func (l *Local) written(g *growth, events []byte) (names map[string]bool, news func(string, Sight)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	names = map[string]bool{}
	for len(events) >= unix.SizeofInotifyEvent {
		wd, mask, size := binary.NativeEndian.Uint32(events), binary.NativeEndian.Uint32(events[4:]), binary.NativeEndian.Uint32(events[12:])
		events = events[min(len(events), unix.SizeofInotifyEvent+int(size)):]
		switch name, known := g.names[wd]; {
		case mask&unix.IN_Q_OVERFLOW != 0:
			for _, name := range g.names {
				names[name] = true
			}
		case mask&unix.IN_IGNORED != 0:
			delete(g.names, wd)
			if l.told[name] { // not by Clear
				names[name] = true
			}
		case known:
			names[name] = true
		}
	}
	return names, l.news
}
