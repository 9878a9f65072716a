package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
)

// attempt is a slot that is taken: one run of claude from its claim to the
// clearing of its run. Its goroutine takes the steps; others may only stop it,
// tell what they have seen of the run, look at its progress and read its output.
type attempt struct {
	e      *Engine
	id     task.ID
	probed bool // it was the probe of its account's gate, which closed again at its end
	// absent is why it cannot start: it has waited in vain for its claude, or can have
	// no worktree.
	absent error
	// unfilled is set if the prompt lacks what another task was to give.
	unfilled error
	n        int
	at       *post      // where it runs; set before n
	spec     *task.Spec // as it was launched; nil when adopted
	env      []string   // kept for a fresh start after a lost session; nil when adopted
	silences
	scope string // whose budget bounds it more than its own; "": none does

	before  <-chan struct{} // closed when the attempt before has started
	started chan struct{}   // closed when this one has, or never will

	unrecorded *runner.Sight // of a start that the record does not tell of yet

	mu         sync.Mutex
	began      time.Time       // as the record says or will say; zero of one that an earlier owner recorded
	stopped    task.StopReason // why the runner is to stop; "": it is not
	news       chan struct{}   // sight has changed; nil until the site may have the run
	sight      runner.Sight    // what was seen of the run last
	giveUp     func()          // ends the making of its worktree; nil until that begins
	closed     bool            // its output is in the store, all of it
	progress   claude.Progress
	progressAt time.Time
	answer     *[]byte // of a claude that has answered and stays
}

var (
	// errGone says that the task left the queue another way.
	errGone = errors.New("task left the queue")
	// errHeld says that it stays in it: its claude is not there, or it was changed.
	errHeld = errors.New("task stays in the queue")
)

// run takes an attempt through its steps. Each step is durable before the next
// begins; recover repairs a crash between any two.
func (e *Engine) run(a *attempt) {
	defer e.release(a)
	if a.start() {
		a.follow()
	}
}

// start is steps 1 to 4; it tells whether there is something to follow.
func (a *attempt) start() bool {
	next := sync.OnceFunc(func() { close(a.started) })
	defer next()
	t, rec, err := a.claim()
	if err != nil {
		<-a.before
		if !errors.Is(err, errGone) && !errors.Is(err, errHeld) && a.e.ctx.Err() == nil {
			a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("claim")
		}
		return false
	}
	if t.Worktree != nil { // a checkout may take long, and holds up nobody else's start
		<-a.before
		next()
	}
	s, err := a.launch(t, rec)
	<-a.before
	if err != nil {
		a.notStarted(err)
		return false
	}
	if begun(s) {
		a.begin(s)
		return true
	}
	next() // one that waits elsewhere for room holds up no other one
	return a.ordered(s) == nil && a.begins(&t)
}

// ordered records how the site names what has not begun yet.
func (a *attempt) ordered(s runner.Sight) error {
	if s.Job == "" {
		return nil
	}
	_, err := a.e.persist(a.id, func(t *task.Task, w *task.Write) error {
		rec, err := a.e.store.Attempt(t.ID, a.n)
		rec.Host, rec.Job = s.Host, s.Job
		w.Attempts = []task.Attempt{rec}
		return err
	})
	if err != nil {
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("record a job")
	}
	return err
}

// claim is step 1: queued -> starting. A full disk does not take the task's
// turn away.
func (a *attempt) claim() (task.Task, task.Attempt, error) {
	var rec task.Attempt
	t, err := a.e.persist(a.id, func(t *task.Task, w *task.Write) error {
		if t.Status != task.Queued {
			return errGone
		}
		if a.e.keptBack(t) {
			a.e.stays(t)
			return errHeld
		}
		if err := a.mayClaim(t); err != nil {
			return err
		}
		probes, closed := a.e.atGate(t)
		if closed {
			a.e.stays(t)
			return errHeld
		}
		w.Gate = probes
		a.e.claim(t.ID)
		var err error
		if rec, err = a.e.store.Attempt(t.ID, t.Attempt); err != nil {
			return err
		}
		// Before the start: whoever finds the record knows where to look, and that a
		// host which started anew since has nothing left of it.
		at := a.at.Where()
		rec.Status, rec.Site, rec.Boot = task.Starting, at.Site, at.Boot
		a.unfilled = a.e.fillIn(t, &rec, w)
		w.Attempts = []task.Attempt{rec}
		// A fork's total goes on from the other session's.
		if total, known, err := a.e.store.SessionCost(rec.ForkOf); err == nil && known {
			w.SessionID, w.SessionCost = rec.SessionID, total
		}
		a.planTree(t)
		return t.Become(task.Starting, w.At, "")
	})
	if err == nil {
		a.mu.Lock()
		a.n = rec.N
		a.mu.Unlock()
	}
	return t, rec, err
}

// launch is steps 2 and 3: the run is made where it shall be, and a runner in it.
func (a *attempt) launch(t task.Task, rec task.Attempt) (runner.Sight, error) {
	e := a.e
	prompt, err := e.store.Prompt(t.ID, rec.PromptN)
	if err != nil {
		return runner.Sight{}, fmt.Errorf("read the prompt: %w", err)
	}
	env, err := e.store.Env(t.ID)
	if err != nil && transient(err) {
		return runner.Sight{}, fmt.Errorf("%w: read the environment: %w", runner.ErrNotStarted, err)
	}
	if err != nil {
		return runner.Sight{}, &runner.SpawnError{Op: "read the environment", Err: err.Error()}
	}
	if err := cmp.Or(a.unfilled, a.absent); err != nil {
		return runner.Sight{}, err
	}
	dir, err := a.makeTree(&t)
	if err != nil {
		return runner.Sight{}, err
	}
	// The same check as at submission: what vanished since is told apart from
	// a fault of the launch.
	err = ifItAnswers(a.at, func(at Asker) error { return checkDir(at, "working_dir", t.Spec.WorkingDir) })
	if err != nil {
		return runner.Sight{}, &runner.SpawnError{Op: "look before the launch", Err: err.Error()}
	}
	p, err := e.Policy()
	if err != nil {
		// The person will repair it; until then nothing starts.
		return runner.Sight{}, fmt.Errorf("%w: %w", runner.ErrNotStarted, err)
	}
	scope, rest, err := e.narrowest(&t)
	if err != nil {
		return runner.Sight{}, err
	}
	argv, own, err := e.argv(&t, rec, p, rest)
	if !own {
		a.scope = scope
	}
	if err == nil {
		err = checkSize(argv, env, 0) // the policy's own arguments may have come since
	}
	if err != nil {
		return runner.Sight{}, err
	}
	a.spec, a.silences = &t.Spec, a.e.silences(&t)
	a.at.calledFrom(env)
	order := runner.Order{
		Launch: runner.Launch{
			Argv: argv, WorkDir: dir, Deadline: t.Spec.Timeout(), Grace: e.cfg.Grace,
			MaxOutput: t.Spec.OutputLimit(),
			Umask:     t.Limits.Umask, NoFile: t.Limits.NoFile, Nice: t.Limits.Nice,
		},
		Prompt: claude.Stdin(prompt, t.Spec.Literal || t.Template != "" && t.Template[0] != '/'), Env: environ(t, env, e.retries().May(t.Spec)), Own: t.Spec.EnvNames,
	}
	if a.whyStopped() != "" {
		return runner.Sight{}, errCancelled
	}
	a.env = env
	name := runName(a.id, rec.N)
	s, err := a.at.Start(e.ctx, name, order)
	var spawn *runner.SpawnError
	if errors.Is(err, runner.ErrNotStarted) || errors.As(err, &spawn) {
		a.clear(name)
		return s, err
	}
	if err != nil {
		// What became of the launch is unknown: the attempt is followed and
		// judged by what is there, as after a crash.
		e.log.Warn().Err(err).Str("task", string(a.id)).Msg("launch without an answer")
		s = runner.Sight{Life: runner.Unknown, Why: err.Error()}
	}
	a.attach(s)
	return s, nil
}

var errCancelled = errors.New("cancelled before the launch")

// clear removes a run that is no longer needed.
func (a *attempt) clear(name string) {
	if _, err := retry(a.e.ctx, func() (struct{}, error) { return struct{}{}, a.at.Clear(a.e.finishing, name, false) }); err != nil {
		a.e.log.Warn().Err(err).Str("task", string(a.id)).Msg("clear a run")
	}
}

// attach makes the run one that is looked at and that a cancel reaches, and tells
// its runner of one that came before.
func (a *attempt) attach(s runner.Sight) {
	a.mu.Lock()
	a.news, a.sight = make(chan struct{}, 1), s
	a.news <- struct{}{}
	why := a.stopped
	a.mu.Unlock()
	select {
	case a.at.attached <- struct{}{}:
	default:
	}
	if why != "" {
		a.stop(why)
	}
}

// recordAfter is how long a start is known to this process alone: the record of one
// that ends sooner tells of start and end in one commit. A next owner reads of it in
// the run.
const recordAfter = 50 * time.Millisecond

// begin takes note of a claude that has started.
func (a *attempt) begin(s runner.Sight) {
	a.mu.Lock()
	a.unrecorded, a.began = &s, time.Now()
	a.mu.Unlock()
	a.e.startsUp(a.id)
	if a.spec != nil {
		a.e.over(a.at, a.spec.Claude)
	}
}

// running is step 4. The environment goes in the same commit, unless the task may
// start by itself again.
func (a *attempt) running() error {
	_, err := a.e.persist(a.id, func(t *task.Task, w *task.Write) error {
		rec, err := a.e.store.Attempt(t.ID, a.n)
		if err == nil {
			err = a.runs(t, &rec)
		}
		w.Attempts, w.DropEnv = []task.Attempt{rec}, !a.e.mayStart(t)
		return err
	})
	if err != nil {
		return fmt.Errorf("record a started task: %w", err)
	}
	a.unrecorded = nil
	return nil
}

// runs writes a start that is not recorded yet into the records.
func (a *attempt) runs(t *task.Task, rec *task.Attempt) error {
	s := a.unrecorded
	if s == nil {
		return nil
	}
	rec.Status, rec.StartedAt, rec.Message = task.Running, s.Rec.StartedAt, ""
	rec.Host, rec.Job = s.Host, s.Job
	t.Message, t.Host = "", ""
	if a.at.name != "" {
		t.Host = s.Host
	}
	if a.spec != nil {
		t.Spec = *a.spec
	}
	// One that was adopted may have started long ago; with the others the
	// order of these times is the queue's.
	if t.StartedAt.IsZero() && a.before == nil {
		t.StartedAt = s.Rec.StartedAt
	}
	return t.Become(task.Running, a.began, fmt.Sprintf("attempt %d", a.n))
}

// stop asks the runner to end its tree, now or as soon as there is one. Of several
// reasons the first one counts.
func (a *attempt) stop(why task.StopReason) {
	a.mu.Lock()
	a.stopped = cmp.Or(a.stopped, why)
	if a.giveUp != nil {
		a.giveUp()
	}
	a.mu.Unlock()
	name := a.followedName()
	if name == "" {
		return
	}
	err := a.tellRunner(name, why)
	if err == nil {
		return
	}
	a.e.log.Warn().Err(err).Str("task", string(a.id)).Msg("tell the runner to stop; trying again")
	go func() { // until it has heard, or has ended, or another owner comes who tells it
		for wait := 100 * time.Millisecond; err != nil && a.e.sleepFor(wait); wait = min(2*wait, 10*time.Second) {
			err = a.tellRunner(name, why)
		}
	}()
}

// tellRunner does not tell a runner that has just ended.
func (a *attempt) tellRunner(name string, why task.StopReason) error {
	err := a.at.Stop(a.e.ctx, name, string(why), false)
	if err == nil || a.followedName() == "" {
		return nil
	}
	if s, lookErr := a.e.lookAt(a.e.ctx, a.at, name); lookErr == nil && (s == nil || s.Life == runner.Gone) {
		return nil
	}
	return err
}

func (a *attempt) whyStopped() task.StopReason {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stopped
}

// letIn lets the next start-up in; safe to call more than once.
func (a *attempt) letIn() {
	a.e.mu.Lock()
	was := a.e.sched.started(a.id)
	a.e.mu.Unlock()
	if was {
		a.e.poke()
	}
}

// fill adds live progress and output sizes to a task that is being shown.
func (a *attempt) fill(t *task.Task) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.Status == task.Starting && !a.began.IsZero() {
		t.Status, t.StartedAt = task.Running, a.began
	}
	p := a.progress
	t.Model = p.Model
	p.At, p.Answered = a.progressAt, a.answer != nil
	t.Progress = &p.Progress
	if a.answer != nil {
		text := string((*a.answer)[:min(len(*a.answer), task.MaxInlineResult)])
		t.Result, t.ResultBytes = &text, int64(len(*a.answer))
	}
	t.StdoutBytes, t.StderrBytes = a.sight.Stdout, a.sight.Stderr
	switch a.sight.Life {
	case runner.Pending:
		t.Message = strings.TrimSpace("waits for room: " + a.sight.Why)
	case runner.Unknown:
		t.Message = "where it runs does not answer: " + a.sight.Why
	case runner.Up, runner.Gone:
	}
}

// output reads the output of attempt n where it runs; os.ErrClosed if the stream is
// not there, or not any more.
func (a *attempt) output(ctx context.Context, n int, q OutputQuery) (task.Output, error) {
	a.mu.Lock()
	current := a.n == n && !a.closed
	a.mu.Unlock()
	if !current || q.Stream != task.Stdout && q.Stream != task.Stderr {
		return task.Output{}, os.ErrClosed
	}
	name := runName(a.id, n)
	out := task.Output{ID: a.id, Attempt: n, Stream: q.Stream, Offset: q.Offset}
	_, size, err := a.at.Read(ctx, name, string(q.Stream), nil, 0)
	if err != nil {
		return out, err
	}
	out.Size, out.Offset = size, start(q, size)
	out.Data = make([]byte, min(int64(q.Limit), size-out.Offset))
	got, _, err := a.at.Read(ctx, name, string(q.Stream), out.Data, out.Offset)
	out.Data = out.Data[:got]
	return out, err
}
