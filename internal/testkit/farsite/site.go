package farsite

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"cctask/engine/runner"
)

// Config says what kind of a host it is.
type Config struct {
	Root  string        // stands for its disk
	Room  time.Duration // how long a start waits for room, unless the test makes some; 0: it begins at once
	Blind int           // of so many looks one fails; 0: none does
}

// Site is the near side: an engine.Site.
type Site struct {
	cfg Config

	mu    sync.Mutex
	conn  *conn // nil: there is none at the moment
	place runner.Place
	looks int
	blind int       // so many looks fail from now on
	away  time.Time // until then nobody answers
	done  bool

	hears sync.Mutex // of news alone: they come while others wait for a connection
	news  func(name string, s runner.Sight)
}

// conn is one life of the far end.
type conn struct {
	proc *exec.Cmd
	in   io.WriteCloser
	out  sync.Mutex // a line at a time
	gone chan struct{}

	mu    sync.Mutex
	last  int64
	calls map[int64]chan answer
}

// Open reaches the far end, so that it is known where things begin.
func Open(cfg Config) (*Site, error) {
	s := &Site{cfg: cfg}
	_, err := s.dial()
	return s, err
}

// Close lets the far end go, as the death of whoever holds the pipe does.
func (s *Site) Close() {
	s.mu.Lock()
	s.done = true
	s.mu.Unlock()
	s.Drop(0)
}

// Drop breaks the connection, for as long as given. Runners go on.
func (s *Site) Drop(away time.Duration) {
	s.mu.Lock()
	c := s.conn
	s.conn, s.away = nil, time.Now().Add(away)
	s.mu.Unlock()
	if c != nil {
		_ = c.in.Close()
		<-c.gone
	}
}

// MakeRoom lets all starts begin, those that wait too, until full is called.
func (s *Site) MakeRoom() (full func() error, err error) {
	file := filepath.Join(s.cfg.Root, roomFile)
	return func() error { return os.Remove(file) }, os.WriteFile(file, nil, 0o600)
}

// Blind lets so many looks fail from now on.
func (s *Site) Blind(looks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blind = looks
}

// Reboot starts the host anew: what ran there is gone. Nobody answers for a while.
func (s *Site) Reboot(away time.Duration) {
	s.mu.Lock()
	c := s.conn
	s.away = time.Now().Add(away)
	s.mu.Unlock()
	if c != nil {
		_, _ = c.ask(context.Background(), call{Verb: "reboot"})
		<-c.gone
	}
}

// dial is the connection, made if there is none.
func (s *Site) dial() (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		select {
		case <-s.conn.gone:
			s.conn = nil
		default:
			return s.conn, nil
		}
	}
	if s.done || time.Now().Before(s.away) {
		return nil, fmt.Errorf("%w: no connection", runner.ErrSilent)
	}
	c, err := s.connect()
	if err != nil {
		return nil, err
	}
	a, err := c.ask(context.Background(), call{Verb: "hello"})
	if err != nil {
		return nil, err
	}
	s.conn, s.place = c, a.Place
	return c, nil
}

func (s *Site) connect() (*conn, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &conn{proc: exec.Command(self, farArg, s.cfg.Root, s.cfg.Room.String()), gone: make(chan struct{}), calls: map[int64]chan answer{}}
	c.proc.Env, c.proc.Stderr = []string{"HOME=/nowhere", "PATH=" + os.Getenv("PATH")}, os.Stderr
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		c.proc.Env = append(c.proc.Env, "GOCOVERDIR="+dir)
	}
	if c.in, err = c.proc.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.proc.StdoutPipe()
	if err == nil {
		err = c.proc.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start a far end: %w", err)
	}
	go func() {
		s.listen(c, out)
		_ = c.in.Close()
		_ = c.proc.Wait()
		close(c.gone)
	}()
	return c, nil
}

func (s *Site) listen(c *conn, out io.Reader) {
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadBytes('\n')
		var a answer
		if err != nil || json.Unmarshal(line, &a) != nil {
			return
		}
		if a.ID == 0 {
			s.hears.Lock()
			news := s.news
			s.hears.Unlock()
			if news != nil {
				news(a.Name, a.Sight)
			}
			continue
		}
		c.mu.Lock()
		back := c.calls[a.ID]
		delete(c.calls, a.ID)
		c.mu.Unlock()
		if back != nil {
			back <- a
		}
	}
}

func (c *conn) ask(ctx context.Context, q call) (answer, error) {
	back := make(chan answer, 1)
	c.mu.Lock()
	c.last++
	q.ID = c.last
	c.calls[q.ID] = back
	c.mu.Unlock()
	b, err := json.Marshal(q)
	if err != nil {
		return answer{}, err
	}
	c.out.Lock()
	_, err = c.in.Write(append(b, '\n'))
	c.out.Unlock()
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", runner.ErrSilent, err)
	}
	select {
	case a := <-back:
		return a, a.Fault.err()
	case <-c.gone:
		return answer{}, fmt.Errorf("%w: the connection is gone", runner.ErrSilent)
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

func (s *Site) ask(ctx context.Context, q call) (answer, error) {
	c, err := s.dial()
	if err != nil {
		return answer{}, err
	}
	return c.ask(ctx, q)
}

// Where is that of engine.Site: as it was last known.
func (s *Site) Where() runner.Place {
	_, _ = s.dial()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.place
}

// Start is that of engine.Site.
func (s *Site) Start(ctx context.Context, name string, o runner.Order) (runner.Sight, error) {
	env := make([][]byte, len(o.Env))
	for i, v := range o.Env {
		env[i] = []byte(v)
	}
	o.Env = nil
	a, err := s.ask(ctx, call{Verb: "start", Name: name, Order: o, Env: env})
	return a.Sight, err
}

// Look is that of engine.Site.
func (s *Site) Look(ctx context.Context, names ...string) (map[string]runner.Sight, error) {
	s.mu.Lock()
	s.looks++
	fails := s.blind > 0 || s.cfg.Blind > 0 && s.looks%s.cfg.Blind == 0
	s.blind = max(0, s.blind-1)
	n := s.looks
	s.mu.Unlock()
	if fails {
		return nil, fmt.Errorf("%w: look %s", runner.ErrSilent, strconv.Itoa(n))
	}
	a, err := s.ask(ctx, call{Verb: "look", Names: names})
	if err == nil && a.Sights == nil {
		a.Sights = map[string]runner.Sight{}
	}
	return a.Sights, err
}

// Follow is that of engine.Site.
func (s *Site) Follow(news func(name string, s runner.Sight)) {
	s.hears.Lock()
	defer s.hears.Unlock()
	s.news = news
}

// Stop is that of engine.Site.
func (s *Site) Stop(ctx context.Context, name, why string, hard bool) error {
	_, err := s.ask(ctx, call{Verb: "stop", Name: name, Why: why, Hard: hard})
	return err
}

// Keep is that of engine.Site.
func (s *Site) Keep(ctx context.Context, name string) error {
	_, err := s.ask(ctx, call{Verb: "keep", Name: name})
	return err
}

// Clear is that of engine.Site.
func (s *Site) Clear(ctx context.Context, name string, keep bool) error {
	_, err := s.ask(ctx, call{Verb: "clear", Name: name, Hard: keep})
	return err
}

// Read is that of engine.Site.
func (s *Site) Read(ctx context.Context, name, stream string, b []byte, off int64) (n int, size int64, err error) {
	a, err := s.ask(ctx, call{Verb: "read", Name: name, Stream: stream, Off: off, N: len(b)})
	return copy(b, a.Data), a.Size, err
}

// Ask is that of engine.Site.
func (s *Site) Ask(ctx context.Context, path string, head int) (runner.File, error) {
	a, err := s.ask(ctx, call{Verb: "ask", Path: path, N: head})
	return a.File, err
}
