package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
)

// Config is an engine's settings. Only Dir must be set.
type Config struct {
	Dir  string          // state directory; run directories are made in Dir/run
	Jobs int             // most tasks with a process at once; 0: DefaultJobs
	Keep task.KeepPolicy // the zero policy keeps everything
	// Policy is asked at every submission and every start, so that a change
	// counts at once; its error refuses the task. nil: everything is allowed.
	Policy func() (task.Policy, error)
	Grace  time.Duration // between SIGTERM and SIGKILL; 0: 5 s
	// Patience is how long a task waits at the head of the queue for a claude
	// that is not there any more; 0: two minutes.
	Patience time.Duration
	// Startup is how long claude may take to its first event, and Answered how long its
	// process may stay after its last answer without work in the background; 0: a minute.
	Startup, Answered time.Duration
	// GatePause is how long an account stays closed at first if nobody told for how long
	// its limit holds; 0: five minutes.
	GatePause time.Duration
	// Retry says what is tried again after which end. nil: as the table of retries says.
	Retry func() task.RetryPolicy
	// Random spreads pauses, with numbers from 0 to 1. nil: at random.
	Random func() float64
	// Server is the MCP server of this state directory as claude starts it, for tasks
	// with_cctask; nil: they cannot have it.
	Server *Server
	// Trees makes the worktrees of tasks. nil: none can have one.
	Trees Trees
	// Budgets are what may be spent, as of the last call of Policy. nil: anything.
	Budgets func() task.Budgets
	// Herald tells people of ends. nil: nobody is told.
	Herald Herald
	// Sites are where tasks may run beside this machine, by name.
	Sites map[string]Site
	// ReadOnly is why the store can only be read, and with it all that the engine
	// answers: it starts nothing and changes nothing. nil: the store can be written.
	ReadOnly error
	Log      zerolog.Logger
}

// Engine implements Service inside the process that holds the database.
type Engine struct {
	cfg   Config
	store Store
	site  Site             // this machine
	posts map[string]*post // all sites by their names, "" is this machine
	log   zerolog.Logger
	born  uint64 // the version of every task that has not changed since
	locks keyedMutex
	hub   Hub
	// sessions is held while a task takes an existing session: whether another
	// one holds it must stay true until that is recorded. Also while a recorded task is
	// told what to wait for: two at a time could be made to wait for each other. Taken
	// before locks.
	sessions sync.Mutex
	// naming is held while a task is recorded that waits for others, and for writing while
	// one is removed: who names it is seen before, or finds it gone. Taken after sessions.
	naming sync.RWMutex
	roots  keyedMutex // of a root, held while a task is added to those below it
	groups sync.Mutex // held while what is set of a group changes

	ctx    context.Context // ends at Close: followers detach, nothing new starts
	cancel context.CancelFunc
	// finishing ends a while after ctx: a clearing that has begun is not left half done.
	finishing context.Context
	wg        sync.WaitGroup
	wake      chan struct{} // tells the dispatcher that something has changed
	// readers are the followers that read output at the moment: an owner that adopts
	// thousands has neither descriptors nor buffers for all of them at once.
	readers chan struct{}
	toTell  chan struct{} // tells the outbox that there is an end to be told
	// still is why nothing may change: the database is a restored copy, or can
	// only be read. nil: it may.
	still error
	full  atomic.Pointer[string] // why nothing can be recorded at the moment; nil: it can

	mu       sync.Mutex
	sched    *schedule
	live     map[task.ID]*attempt
	versions map[task.ID]uint64
	// unsettled are queued tasks whose dependencies are to be looked at.
	unsettled map[task.ID]bool
	toSettle  chan struct{}
	borne     map[task.ID]int // how many tasks a root has had below it, where this owner was asked
	removing  sync.Map        // the ids of tasks that are stopped to be removed
	seq       uint64
	draining  bool
	keptOn    int                  // tasks that the last pass of the retention could not delete
	untold    []task.Notice        // the outbox, as of the last look
	holds     map[obstacle]*hold   // what keeps tasks waiting since a launch failed
	gates     map[string]task.Gate // of the accounts that are closed
	startups  startups
	prices    claude.Prices
	ledger    ledger
}

var _ Service = (*Engine)(nil)

// finishWithin bounds how long a site that does not answer keeps an engine from closing.
const finishWithin = 3 * time.Second

const mostReaders = 16

// New recovers what an earlier owner left and starts to run what is queued.
func New(cfg Config, store Store, site Site) (*Engine, error) {
	if cfg.Jobs <= 0 {
		cfg.Jobs = DefaultJobs()
	}
	cfg.Patience, cfg.GatePause = cmp.Or(cfg.Patience, 2*time.Minute), cmp.Or(cfg.GatePause, 5*time.Minute)
	cfg.Startup, cfg.Answered = cmp.Or(cfg.Startup, time.Minute), cmp.Or(cfg.Answered, time.Minute)
	e := &Engine{
		cfg: cfg, store: store, site: site, log: cfg.Log, born: uint64(time.Now().UnixMicro()),
		wake: make(chan struct{}, 1), toSettle: make(chan struct{}, 1), unsettled: map[task.ID]bool{}, toTell: make(chan struct{}, 1), readers: make(chan struct{}, mostReaders), live: map[task.ID]*attempt{}, versions: map[task.ID]uint64{}, holds: map[obstacle]*hold{}, gates: map[string]task.Gate{}, borne: map[task.ID]int{}, startups: startups{pending: map[task.ID]bool{}}, prices: claude.Prices{}, ledger: newLedger(),
		sched: newSchedule(limits{jobs: cfg.Jobs, startups: 2 * runtime.NumCPU(), groups: map[string]int{}}),
	}
	e.posts = map[string]*post{"": newPost("", site)}
	for name, far := range cfg.Sites {
		e.posts[name] = newPost(name, far)
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	finishing, finished := context.WithCancel(context.Background())
	e.finishing = finishing
	context.AfterFunc(e.ctx, func() { time.AfterFunc(finishWithin, finished) })
	restored, err := store.Restored()
	switch {
	case cfg.ReadOnly != nil:
		e.still = cfg.ReadOnly
	case restored:
		e.still = restoredError(cfg.Dir)
	case err == nil:
		for _, p := range e.posts {
			p.Follow(func(name string, s runner.Sight) { e.heard(p, name, s) })
		}
		err = e.recover()
	}
	if err != nil {
		e.cancel()
		e.wg.Wait()
		return nil, err
	}
	if e.still != nil {
		return e, nil
	}
	// Before the first submission is recorded: a clock that jumped is told by the
	// age of the newest record.
	if _, err := e.waits(time.Now()); err != nil {
		e.log.Warn().Err(err).Msg("retention")
	}
	for _, p := range e.posts {
		e.wg.Go(func() { e.watch(p) })
	}
	e.wg.Go(e.repairTrees)
	e.wg.Go(e.dispatch)
	e.wg.Go(e.settler)
	e.wg.Go(e.retain)
	if cfg.Herald != nil {
		e.wg.Go(e.outbox)
	}
	return e, nil
}

// Close lets go of everything: queued tasks stay queued, running ones go on
// under their runners, and the next owner adopts them. It waits until no step
// of an attempt is half done.
func (e *Engine) Close() {
	e.Drain()
	e.cancel()
	e.wg.Wait()
	for _, p := range e.posts {
		p.Follow(nil)
	}
}

// MayChange refuses a change where there may be none.
func (e *Engine) MayChange() error { return e.still }

// restoredError is about a restored copy: its tasks may live on where they were
// dumped, and its queued ones are not to run a second time.
func restoredError(dir string) error {
	return task.Errorf(task.CodeConflict, fmt.Sprintf("`cctask restore --activate --dir %q` makes it one like any other; then its queued tasks start.", dir),
		"the database in %s was restored from a dump: it can only be read", dir)
}

// Drain takes no new work and starts nothing more.
func (e *Engine) Drain() {
	e.mu.Lock()
	e.draining = true
	e.mu.Unlock()
}

// Stats counts the live and the queued tasks.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Stats{Live: len(e.sched.live), Queued: len(e.sched.waiters), Lent: len(e.sched.live) - e.sched.slots}
	for _, n := range e.untold {
		if n.Tries == 0 || !n.Next.IsZero() {
			s.Telling++
		}
		if n.Tries > 0 {
			s.Untold = append(s.Untold, n.Says())
		}
	}
	return s
}

// DefaultJobs is two tasks a core, as far as half of the memory holds them:
// claude takes about 250 MB and waits for its API most of the time.
func DefaultJobs() int {
	const perTask = 256 << 20
	jobs := 2 * runtime.NumCPU()
	if mem := totalMemory(); mem > 0 {
		jobs = min(jobs, int(mem/2/perTask))
	}
	return min(max(jobs, 1), 64)
}

// change is every write to a recorded task: under the task's lock it reads the
// record, lets f change it, and makes the result durable.
func (e *Engine) change(id task.ID, f func(t *task.Task, w *task.Write) error) (task.Task, error) {
	unlock := e.locks.lock(id)
	defer unlock()
	t, err := e.store.Task(id)
	if err != nil {
		return task.Task{}, err
	}
	w := task.Write{At: time.Now(), Task: &t}
	ended := t.Status.Ended()
	if err := f(&t, &w); err != nil {
		return t, err
	}
	if !ended && t.Status.Ended() {
		w.Notice = e.notice(t, w.At)
	}
	if err := e.apply(w); err != nil {
		return t, fmt.Errorf("record task %s: %w", id, err)
	}
	if w.Gate != nil {
		if err := e.gateRecorded(*w.Gate); err != nil {
			e.log.Error().Err(err).Str("account", w.Gate.Account).Msg("record a gate")
		}
	}
	e.changed(&t)
	if w.Notice != nil {
		e.tellSoon()
	}
	if !ended && t.Status.Ended() && t.Worktree != nil {
		e.wg.Go(func() { e.tidyTree(id) })
	}
	return t, nil
}

// apply is every write of what a task has done. While the disk is full for it, the
// record of each task that has not ended is behind, and says so.
func (e *Engine) apply(ws ...task.Write) error {
	err := e.store.Apply(ws...)
	var full *string
	if errors.Is(err, task.ErrNoSpace) {
		full = new(string)
		*full = "the disk is full, so that nothing can be recorded until there is space: " + err.Error()
	}
	if err == nil || full != nil {
		e.full.Store(full)
	}
	return err
}

// changed follows a durable write, under the task's lock still: the queue holds
// a task exactly as long as its record says so, and those who wait are told.
func (e *Engine) changed(t *task.Task) {
	e.mu.Lock()
	if t.Status == task.Queued {
		e.enqueue(task.PlaceOf(t))
	} else {
		e.sched.remove(t.ID)
	}
	if t.Status.Ended() {
		e.freed(t.ID)
	}
	e.mu.Unlock()
	e.poke()
	t.Version = e.publish(t.ID, t.Status.Ended())
}

// publish gives the task a new version and tells those who wait.
func (e *Engine) publish(id task.ID, ended bool) (version uint64) {
	e.mu.Lock()
	v := max(e.versions[id]+1, uint64(time.Now().UnixMicro()))
	if ended {
		delete(e.versions, id)
	} else {
		e.versions[id] = v
	}
	e.mu.Unlock()
	e.hub.Publish(Event{ID: id, Version: v, Ended: ended})
	return v
}

// poke wakes the dispatcher.
func (e *Engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// keyedMutex is a lock for each task, there only while somebody holds or wants it.
type keyedMutex struct {
	mu   sync.Mutex
	held map[task.ID]*keyLock
}

type keyLock struct {
	sync.Mutex
	users int
}

func (k *keyedMutex) lock(id task.ID) (unlock func()) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[task.ID]*keyLock{}
	}
	l := k.held[id]
	if l == nil {
		l = &keyLock{}
		k.held[id] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		if l.users--; l.users == 0 {
			delete(k.held, id)
		}
		k.mu.Unlock()
	}
}
