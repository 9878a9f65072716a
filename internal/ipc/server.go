package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/statedir"
	"cctask/internal/sys"
)

type Backend interface {
	engine.Service
	Stats() engine.Stats
	// Policy is the owner's of this moment; its error refuses every task.
	Policy() (task.Policy, error)
	// Lost tells why nothing can be kept any more, or nil. ErrCorrupt: the
	// database is damaged. ErrClosing: it is no longer the owner's.
	Lost() error
	// Drain takes no new work and starts nothing more.
	Drain()
	// CancelAll ends every queued and live task.
	CancelAll(ctx context.Context) error
	// MayChange refuses where no task will ever change.
	MayChange() error
	task.Source
	// Inside is the task in which a caller runs.
	Inside(ctx context.Context, marks task.Within) task.ID
	// Lent lends that task's slot while it waits for others.
	Lent(ctx context.Context, marks task.Within, refs []string) error
	// Ended takes a runner's report.
	Ended(run string)
}

const (
	// closeGrace is how long requests in flight may go on while the owner leaves.
	closeGrace = 2 * time.Second
	// heartbeat is the pause after which an event stream shows that it lives.
	heartbeat = 15 * time.Second
	// goneCheck is the longest pause between two looks at the owner's files.
	goneCheck = 5 * time.Second
)

// server counts requests. Whether the owner may leave is decided under the
// mutex that every request takes on its way in: a request is either counted
// before the decision or told that the owner is closing.
type server struct {
	o     *Owner
	b     Backend
	verbs map[string]handler
	began time.Time
	told  chan error    // a front has asked the owner to leave (nil), or it has lost what it needs
	cut   chan struct{} // closed when streams must end

	mu       sync.Mutex
	conns    map[net.Conn]bool
	inflight int
	busy     time.Time // when there was something to do last
	closing  bool
	empty    chan struct{} // closed when closing and nothing is in flight
}

// Serve answers fronts until one of them tells it to stop, ctx ends, nothing
// was to do for o.Idle, or the owner's files are gone. When it returns nothing is in flight, b
// is drained and owner.lock says closing: close the engine and the database,
// then Release.
func (o *Owner) Serve(ctx context.Context, b Backend) error {
	ln, path, err := o.listen()
	if err != nil {
		return err
	}
	s := newServer(o, b)
	base, cancel := context.WithCancel(context.Background())
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- s.accept(base, ln) }()
	defer func() {
		_ = ln.Close()
		s.hangUp()
	}()
	if err := o.publish(path); err != nil {
		return err
	}
	Ready(nil)
	err = s.untilDone(ctx, failed)
	s.startClosing()
	b.Drain()
	if err := o.set(func(l *Lock) { l.Phase = PhaseClosing }); err != nil {
		o.log(err.Error())
	}
	_ = ln.Close()
	close(s.cut)
	s.finish(cancel)
	return err
}

// listen binds sock.<pid>. Under owner.lock no other owner can be there, so
// what killed owners have left is removed.
func (o *Owner) listen() (net.Listener, string, error) {
	dir, err := socketDir(o.dir)
	if err != nil {
		return nil, "", err
	}
	old, _ := filepath.Glob(filepath.Join(dir, "sock.*"))
	for _, p := range old {
		_ = os.Remove(p)
	}
	path := filepath.Join(dir, fmt.Sprintf("sock.%d", os.Getpid()))
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, "", statedir.Refused(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, "", fmt.Errorf("close the socket to others: %w", err)
	}
	return ownListener{ln}, path, nil
}

// publish moves the bound socket to its name and says so: whoever finds it can
// connect to it.
func (o *Owner) publish(bound string) error {
	path := filepath.Join(filepath.Dir(bound), "sock")
	fi, err := os.Lstat(bound)
	if err != nil {
		return fmt.Errorf("publish the socket: %w", err)
	}
	o.bound = fi
	if err := os.Rename(bound, path); err != nil {
		return fmt.Errorf("publish the socket: %w", err)
	}
	return o.set(func(l *Lock) { l.Socket, l.Phase = path, PhaseServing })
}

// lost tells what the owner needs and no longer has, or nil. A socket in a
// temporary directory may be cleaned away: then nobody could reach the owner, and
// nobody could take its place.
func (o *Owner) lost(b Backend) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := b.Lost(); err != nil {
		return err
	}
	now, err := os.Lstat(o.lock.Socket)
	what := "the state directory"
	if named(o.file) {
		if err == nil && os.SameFile(now, o.bound) {
			return nil
		}
		what = "the socket"
	}
	return &task.Error{Code: task.CodeClosing, Message: what + " was removed or replaced", Hint: "Run the command again."}
}

func (o *Owner) log(line string) {
	if o.Log != nil {
		o.Log(line)
	}
}

// ownListener refuses the processes of other users.
type ownListener struct{ *net.UnixListener }

func (l ownListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if checkPeer(c) == nil {
			return c, nil
		}
		_ = c.Close()
	}
}

// checkPeer fails unless the other end runs as the same user.
func checkPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	uid := -1
	if err == nil {
		var uerr error
		err = errors.Join(raw.Control(func(fd uintptr) { uid, uerr = sys.PeerUID(int(fd)) }), uerr)
	}
	if err != nil {
		return fmt.Errorf("user at the other end of the socket: %w", err)
	}
	if uid != os.Geteuid() {
		return fmt.Errorf("the other end of the socket runs as user %d", uid)
	}
	return nil
}

// peerPID is the process at the other end; 0 if it cannot be seen from here.
func peerPID(c *net.UnixConn) (pid int) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { pid = sys.PeerPID(int(fd)) })
	}
	return pid
}

func (s *server) untilDone(ctx context.Context, failed <-chan error) error {
	every := goneCheck
	if s.o.Idle > 0 {
		every = min(every, max(s.o.Idle/4, time.Millisecond))
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.told:
			return err
		case err := <-failed:
			return fmt.Errorf("serve fronts: %w", err)
		case <-tick.C:
			if s.lost() == nil && s.o.Idle > 0 && s.idle() {
				return nil
			}
		}
	}
}

// lost tells why the owner can do nothing more, and lets it leave then: with an
// error if the next one could do no better.
func (s *server) lost() error {
	err := s.o.lost(s.b)
	switch {
	case errors.Is(err, task.ErrCorrupt):
		s.tell(err)
	case err != nil && s.tell(nil):
		s.o.log(err.Error() + ": leaving")
	}
	return err
}

// tell lets the owner leave; only the first reason counts.
func (s *server) tell(why error) (first bool) {
	select {
	case s.told <- why:
		return true
	default:
		return false
	}
}

// idle decides whether the owner leaves because nothing was to do for long.
func (s *server) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.b.Stats(); s.inflight > 0 || st.Live > 0 || st.Queued > 0 || st.Telling > 0 {
		s.busy = time.Now()
	}
	if time.Since(s.busy) < s.o.Idle {
		return false
	}
	s.close()
	return true
}

// enter counts a request, or refuses it because the owner is closing.
func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.inflight++
	return true
}

func (s *server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inflight--
	s.busy = time.Now()
	if s.closing && s.inflight == 0 {
		close(s.empty)
	}
}

func (s *server) startClosing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
}

// close is called with mu held.
func (s *server) close() {
	if s.closing {
		return
	}
	s.closing = true
	if s.inflight == 0 {
		close(s.empty)
	}
}

func (s *server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// finish lets requests end by themselves, then ends them: what was cut off is
// told that the owner is closing, and asks the next one.
func (s *server) finish(cancel context.CancelFunc) {
	for _, grace := range []time.Duration{closeGrace, time.Second} {
		select {
		case <-s.empty:
			return
		case <-time.After(grace):
			cancel()
		}
	}
	s.o.log("requests did not end: cut off")
}

// stop ends the owner. Even when a task could not be cancelled the owner
// leaves: drained, it is of no use.
func (s *server) stop(ctx context.Context, r stopRequest) (none, error) {
	s.b.Drain()
	var err error
	if r.Cancel {
		if err = s.b.CancelAll(ctx); err != nil && errors.Is(ctx.Err(), context.Canceled) {
			err = closingError()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
	s.tell(nil)
	return none{}, err
}
