package site

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cctask/engine/runner"
)

// Host is where runs may go.
type Host struct {
	Name  string
	Slots int      // most runs at a time
	Pipe  []string // what connects us to a shell there
}

// Config is a site as a person has described it. Only Name, ID and Hosts must be set.
type Config struct {
	Name  string
	ID    string // of the state directory whose runs they are: others have theirs beside it
	Hosts []Host
	// Dir holds the runs over there; "": ~/.local/state/cctask-site.
	Dir string
	// Claude is a path or a name on the host's PATH; "": claude.
	Claude string
	// Program is the host's own cctask; "": this binary is copied there.
	Program string
	Self    string // this binary; "": that of this process
	// Env are the variables that travel with a task: names, a * at the end for any rest.
	Env []string
	// CallerEnv are further variables that reach the pipe's command as they were where
	// a task was submitted.
	CallerEnv []string
}

func (c Config) farDir() string { return cmp.Or(c.Dir, "~/.local/state/cctask-site") + "/" + c.ID }

// lookWithin is how long a look waits for one of several hosts.
const lookWithin = 3 * time.Second

// Site is an engine.Site.
type Site struct {
	cfg   Config
	hosts []*host

	mu sync.Mutex
	at map[string]spot // of each run that is known, until it is cleared
	// cleared are the runs that are gone since a while: a look that was on its way then
	// must not bring them back, which would cost a slot for good.
	cleared map[string]time.Time
	news    func(name string, s runner.Sight)
	from    []string // the environment of the pipes' commands
	done    atomic.Bool
}

// spot is where a run was sent, and which life of that host it was.
type spot struct {
	host *host
	boot string
}

// New is a site that nobody has spoken to yet.
func New(c Config) *Site {
	s := &Site{cfg: c, at: map[string]spot{}, cleared: map[string]time.Time{}, from: os.Environ()}
	for _, h := range c.Hosts {
		s.hosts = append(s.hosts, &host{site: s, name: h.Name, slots: h.Slots, argv: h.Pipe})
	}
	return s
}

// Close lets go of all hosts, as the death of the owner does.
func (s *Site) Close() {
	s.done.Store(true)
	for _, h := range s.hosts {
		h.mu.Lock()
		k := h.conn
		h.mu.Unlock()
		if k != nil {
			k.close()
			<-k.gone
		}
	}
}

// callers are the variables by which a person reaches hosts.
var callers = []string{
	"PATH", "SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY",
	"KUBECONFIG", "CONTAINER_HOST", "DOCKER_HOST", "SLURM_CONF",
}

// CalledFrom takes note of the environment of who submits: the owner's own, which was
// another command's long ago, may lead nowhere.
func (s *Site) CalledFrom(env []string) {
	names := slices.Concat(callers, s.cfg.CallerEnv)
	var own []string
	has := map[string]bool{}
	for _, v := range env {
		if name, _, _ := strings.Cut(v, "="); matches(names, name) {
			own, has[name] = append(own, v), true
		}
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !has[name] {
			own = append(own, v)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = own
}

func (s *Site) way() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from
}

// Where is that of engine.Site: as it was last known.
func (s *Site) Where() runner.Place {
	p := runner.Place{Site: s.cfg.Name, Claude: cmp.Or(s.cfg.Claude, "claude")}
	for _, h := range s.hosts {
		_, usable, place := h.state()
		if usable {
			p.Slots += h.slots
		}
		if p.Root = p.Root || place.Root; len(s.hosts) == 1 {
			p.Host, p.Boot = h.name, place.Boot
		}
	}
	return p
}

// Follow is that of engine.Site. News of no run says that a start may be tried again.
func (s *Site) Follow(news func(name string, s runner.Sight)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news = news
}

func (s *Site) tell(name string, seen runner.Sight) {
	s.mu.Lock()
	news, sp := s.news, s.at[name]
	s.mu.Unlock()
	if s.done.Load() {
		return
	}
	if sp.host != nil {
		seen.Host = sp.host.name
	}
	if news != nil {
		news(name, seen)
	}
}

// Start is that of engine.Site. It takes the freest host of those that answer.
func (s *Site) Start(ctx context.Context, name string, o runner.Order) (runner.Sight, error) {
	q := call{Verb: verbStart, Name: name, Env: s.travels(o)}
	o.Env, o.Own = nil, nil
	q.Order = o
	var why error
	tried := map[*host]bool{}
	for {
		sp, again := s.reserve(name, tried)
		if sp.host == nil {
			return runner.Sight{}, fmt.Errorf("%w: %w", runner.ErrNotStarted, cmp.Or(why, errors.New(s.cfg.Name+" has no room")))
		}
		a, sent, err := sp.host.ask(ctx, q)
		if a.Sight.Host = sp.host.name; sent || again {
			return a.Sight, err
		}
		// It has not heard of it: another one may.
		s.forget(name)
		tried[sp.host] = true
		why = errors.Join(why, errors.New(err.Error()))
	}
}

// travels is what of a task's environment goes to a host: what the site lists, the
// task's own variables, and ours.
func (s *Site) travels(o runner.Order) (env [][]byte) {
	for _, v := range o.Env {
		name, _, _ := strings.Cut(v, "=")
		if matches(s.cfg.Env, name) || slices.Contains(o.Own, name) || strings.HasPrefix(name, "CCTASK_") {
			env = append(env, []byte(v))
		}
	}
	return env
}

// reserve gives a run a place at the freest host that was not tried; again: it had one.
func (s *Site) reserve(name string, tried map[*host]bool) (sp spot, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp, again = s.at[name]; again {
		return sp, true
	}
	live := map[*host]int{}
	for _, sp := range s.at {
		live[sp.host]++
	}
	most := 0
	for _, h := range s.hosts {
		_, usable, place := h.state()
		if free := h.slots - live[h]; usable && !tried[h] && free > most {
			most, sp = free, spot{h, place.Boot}
		}
	}
	if sp.host != nil {
		s.at[name] = sp
		delete(s.cleared, name)
	}
	return sp, false
}

func (s *Site) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, name)
	now := time.Now()
	maps.DeleteFunc(s.cleared, func(_ string, at time.Time) bool { return now.Sub(at) > time.Minute })
	s.cleared[name] = now
}

func (s *Site) spotOf(name string) spot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[name]
}

// looked is what one host has answered.
type looked struct {
	host *host
	seen map[string]runner.Sight
	err  error
}

// Look is that of engine.Site. Of hosts that are silent it says so for each of their
// runs; with an error only what is in the answer is known.
func (s *Site) Look(ctx context.Context, names ...string) (map[string]runner.Sight, error) {
	ask := s.questions(names)
	back := make(chan looked, len(ask))
	for h, q := range ask {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, lookWithin)
			defer cancel()
			a, _, err := h.ask(ctx, q)
			back <- looked{h, a.Sights, err}
		}()
	}
	all, silent := map[string]runner.Sight{}, []error(nil)
	for range ask {
		l := <-back
		if l.err != nil {
			silent = append(silent, l.err)
			s.silence(all, names, l)
			continue
		}
		for name, seen := range l.seen {
			s.found(name, l.host)
			seen.Host = l.host.name
			all[name] = seen
		}
		s.missing(all, names, l)
	}
	if len(names) > 0 {
		known := 0
		for _, name := range names {
			if _, ok := all[name]; ok {
				known++
			}
		}
		if known == len(names) {
			silent = nil
		}
	}
	if len(silent) == 0 {
		return all, nil
	}
	return all, fmt.Errorf("%w: %w", runner.ErrSilent, errors.Join(silent...))
}

// questions are what each host is asked: of all its runs, or of those that may be there.
func (s *Site) questions(names []string) map[*host]call {
	ask := map[*host]call{}
	if len(names) == 0 {
		for _, h := range s.hosts {
			ask[h] = call{Verb: verbLook}
		}
		return ask
	}
	for _, name := range names {
		hosts := s.hosts
		if sp := s.spotOf(name); sp.host != nil {
			hosts = []*host{sp.host}
		}
		for _, h := range hosts {
			q := ask[h]
			q.Verb, q.Names = verbLook, append(q.Names, name)
			ask[h] = q
		}
	}
	return ask
}

// found takes note of where a run is.
func (s *Site) found(name string, h *host) {
	_, _, place := h.state()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, gone := s.cleared[name]; !gone && s.at[name].host == nil {
		s.at[name] = spot{h, place.Boot}
	}
}

// silence says of the runs of a host that it does not answer.
func (s *Site) silence(all map[string]runner.Sight, names []string, l looked) {
	for _, name := range names {
		if s.spotOf(name).host == l.host {
			all[name] = runner.Sight{Life: runner.Unknown, Host: l.host.name, Why: l.err.Error()}
		}
	}
}

// missing looks after runs that a host was sent and does not have. If it has started
// anew since, claude may have run there: nothing of a run is synced before its end.
func (s *Site) missing(all map[string]runner.Sight, names []string, l looked) {
	_, _, place := l.host.state()
	for _, name := range names {
		if sp := s.spotOf(name); sp.host == l.host && sp.boot != "" && sp.boot != place.Boot {
			if _, there := all[name]; !there {
				all[name] = runner.Sight{Life: runner.Gone, Host: l.host.name, Rec: runner.Record{State: runner.StateIntent, Boot: sp.boot}}
			}
		}
	}
}

// of asks the host that has a run.
func (s *Site) of(ctx context.Context, q call) (answer, error) {
	sp := s.spotOf(q.Name)
	if sp.host == nil && len(s.hosts) == 1 {
		sp.host = s.hosts[0]
	}
	if sp.host == nil {
		if _, err := s.Look(ctx, q.Name); err != nil {
			return answer{}, err
		}
		sp = s.spotOf(q.Name)
	}
	if sp.host == nil {
		return answer{}, fs.ErrNotExist
	}
	a, _, err := sp.host.ask(ctx, q)
	return a, err
}

// Stop is that of engine.Site. What carries the mark of a run is found without its
// directory too, so of one that is nowhere every host is swept.
func (s *Site) Stop(ctx context.Context, name, why string, hard bool) error {
	q := call{Verb: verbStop, Name: name, Why: why, Hard: hard}
	_, err := s.of(ctx, q)
	if !errors.Is(err, fs.ErrNotExist) || s.spotOf(name).host != nil {
		return err
	}
	err = nil
	for _, h := range s.hosts {
		_, _, e := h.ask(ctx, q)
		err = errors.Join(err, e)
	}
	return err
}

// Keep is that of engine.Site.
func (s *Site) Keep(ctx context.Context, name string) error {
	_, err := s.of(ctx, call{Verb: verbKeep, Name: name})
	return err
}

// Clear is that of engine.Site.
func (s *Site) Clear(ctx context.Context, name string, lost bool) error {
	_, err := s.of(ctx, call{Verb: verbClear, Name: name, Lost: lost})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		s.forget(name)
	}
	return err
}

// Read is that of engine.Site.
func (s *Site) Read(ctx context.Context, name, stream string, b []byte, off int64) (n int, size int64, err error) {
	a, err := s.of(ctx, call{Verb: verbRead, Name: name, Stream: stream, Off: off, N: len(b)})
	return copy(b, a.Data), a.Size, err
}

// Ask is that of engine.Site: of the first host that answers.
func (s *Site) Ask(ctx context.Context, path string, head int) (runner.File, error) {
	var silent []error
	for _, h := range s.hosts {
		a, _, err := h.ask(ctx, call{Verb: verbAsk, Path: path, N: head})
		if !errors.Is(err, runner.ErrSilent) {
			return a.File, err
		}
		silent = append(silent, err)
	}
	return runner.File{}, errors.Join(silent...)
}
