package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
)

// attempt is a slot that is taken: one run of claude from its claim to the
// removal of its run directory. Its goroutine takes the steps; others may
// only stop it, look at its progress and read its output.
type attempt struct {
	e  *Engine
	id task.ID
	// absent is set once the task has waited in vain for its claude.
	absent error
	n      int
	spec   *task.Spec // as it was launched; nil when adopted
	env    []string   // kept for a fresh start after a lost session; nil when adopted

	before  <-chan struct{} // closed when the attempt before has started
	started chan struct{}   // closed when this one has, or never will

	mu         sync.Mutex
	cancelled  bool
	run        *runner.Run // set once a runner may be alive
	spool      *spool
	progress   claude.Progress
	progressAt time.Time
	answer     *[]byte // of a claude that has answered and stays
}

var (
	// errGone says that the task left the queue another way.
	errGone = errors.New("task left the queue")
	// errHeld says that it stays in it, since its claude is not there.
	errHeld = errors.New("task waits for its claude")
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
	defer close(a.started)
	t, rec, err := a.claim()
	if err != nil {
		<-a.before
		if !errors.Is(err, errGone) && !errors.Is(err, errHeld) && a.e.ctx.Err() == nil {
			a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("claim")
		}
		return false
	}
	started, err := a.launch(t, rec)
	<-a.before
	if err != nil {
		a.notStarted(err)
		return false
	}
	return a.running(started.StartedAt) == nil
}

// claim is step 1: queued -> starting. A full disk does not take the task's
// turn away.
func (a *attempt) claim() (task.Task, task.Attempt, error) {
	var rec task.Attempt
	t, err := a.e.persist(a.id, func(t *task.Task, w *task.Write) error {
		if t.Status != task.Queued {
			return errGone
		}
		if err := a.mayClaim(t); err != nil {
			return err
		}
		a.e.claim(t.ID)
		var err error
		if rec, err = a.e.store.Attempt(t.ID, t.Attempt); err != nil {
			return err
		}
		rec.Status = task.Starting
		w.Attempts = []task.Attempt{rec}
		// A fork's total goes on from the other session's.
		if total, known, err := a.e.store.SessionCost(rec.ForkOf); err == nil && known {
			w.SessionID, w.SessionCost = rec.SessionID, total
		}
		return t.Become(task.Starting, w.At, "")
	})
	if err == nil {
		a.mu.Lock()
		a.n = rec.N
		a.mu.Unlock()
	}
	return t, rec, err
}

// launch is steps 2 and 3: the run directory, then the runner.
func (a *attempt) launch(t task.Task, rec task.Attempt) (runner.Record, error) {
	e := a.e
	prompt, err := e.store.Prompt(t.ID, rec.PromptN)
	if err != nil {
		return runner.Record{}, fmt.Errorf("read the prompt: %w", err)
	}
	env, err := e.store.Env(t.ID)
	if err != nil && transient(err) {
		return runner.Record{}, fmt.Errorf("%w: read the environment: %w", runner.ErrNotStarted, err)
	}
	if err != nil {
		return runner.Record{}, &runner.SpawnError{Op: "read the environment", Err: err.Error()}
	}
	if a.absent != nil {
		return runner.Record{}, a.absent
	}
	// The same check as at submission: what vanished since is told apart from
	// a fault of the launch.
	if err := checkDir("working_dir", t.Spec.WorkingDir); err != nil {
		return runner.Record{}, &runner.SpawnError{Op: "look before the launch", Err: err.Error()}
	}
	p, err := e.Policy()
	if err != nil {
		// The person will repair it; until then nothing starts.
		return runner.Record{}, fmt.Errorf("%w: %w", runner.ErrNotStarted, err)
	}
	argv, err := e.argv(&t, rec, p)
	if err == nil {
		err = checkSize(argv, env, 0) // the policy's own arguments may have come since
	}
	if err != nil {
		return runner.Record{}, err
	}
	a.spec = &t.Spec
	r, err := a.prepare(rec.N, runner.Launch{
		Argv: argv, WorkDir: t.Spec.WorkingDir, Deadline: t.Spec.Timeout(), Grace: e.cfg.Grace,
		MaxOutput: t.Spec.OutputLimit(), Owner: e.cfg.Owner,
		Umask: t.Limits.Umask, NoFile: t.Limits.NoFile, Nice: t.Limits.Nice,
	}, claude.Stdin(prompt, t.Spec.Literal))
	if err != nil {
		return runner.Record{}, fmt.Errorf("%w: make the run directory: %w", runner.ErrNotStarted, err)
	}
	if a.isCancelled() {
		a.discard(r)
		return runner.Record{}, errCancelled
	}
	a.env = env
	a.show(r)
	// Not e.ctx: a launch that has begun is finished even when the owner leaves.
	started, err := e.runs.Start(context.Background(), r, environ(t, env))
	var spawn *runner.SpawnError
	if errors.Is(err, runner.ErrNotStarted) || errors.As(err, &spawn) {
		a.discard(r)
		return started, err
	}
	if err != nil {
		// What became of the launch is unknown: the attempt is followed and
		// judged by its run directory, as after a crash.
		e.log.Warn().Err(err).Str("task", string(a.id)).Msg("launch without an answer")
	}
	a.attach(r)
	return started, nil
}

var errCancelled = errors.New("cancelled before the launch")

// prepare makes the run directory. One that stands already is of a launch
// before, which failed without descriptors to clean up after itself.
func (a *attempt) prepare(n int, l runner.Launch, prompt []byte) (*runner.Run, error) {
	dir := a.e.attemptDir(a.id, n)
	// Not MkdirAll: a state directory that somebody removed stays removed.
	if err := os.Mkdir(a.e.runDir(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	r, err := a.e.runs.Prepare(dir, l, prompt)
	if !errors.Is(err, os.ErrExist) {
		return r, err
	}
	fr, err := a.e.findRun(filepath.Base(dir))
	if err != nil {
		return nil, err
	}
	if fr.up || factsOf(nil, fr).intent {
		return nil, fmt.Errorf("%s is in use", dir)
	}
	if err := fr.run.Remove(); err != nil {
		return nil, err
	}
	return a.e.runs.Prepare(dir, l, prompt)
}

// show lets readers see the spool. It comes before the launch: claude may have
// written much before the runner's answer is here.
func (a *attempt) show(r *runner.Run) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spool == nil {
		a.spool = newSpool(r)
	}
}

// discard removes a run directory that is no longer needed.
func (a *attempt) discard(r *runner.Run) {
	a.mu.Lock()
	if a.spool != nil {
		a.spool.close()
	}
	a.mu.Unlock()
	if _, err := retry(a.e.ctx, func() (struct{}, error) { return struct{}{}, r.Remove() }); err != nil {
		a.e.log.Warn().Err(err).Str("task", string(a.id)).Msg("remove the run directory")
	}
}

// attach makes the runner reachable for a cancel, and tells it of one that
// came before.
func (a *attempt) attach(r *runner.Run) {
	a.show(r)
	a.mu.Lock()
	a.run = r
	cancelled := a.cancelled
	a.mu.Unlock()
	if cancelled {
		a.stop()
	}
}

// running is step 4. The environment goes in the same commit, unless the task may
// start by itself again.
func (a *attempt) running(at time.Time) error {
	_, err := a.e.persist(a.id, func(t *task.Task, w *task.Write) error {
		rec, err := a.e.store.Attempt(t.ID, a.n)
		if err != nil {
			return err
		}
		rec.Status, rec.StartedAt, rec.Message = task.Running, at, ""
		w.Attempts = []task.Attempt{rec}
		t.Message = ""
		if a.spec != nil {
			t.Spec = *a.spec
		}
		// One that was adopted may have started long ago; with the others the
		// order of these times is the queue's.
		if t.StartedAt.IsZero() && a.before == nil {
			t.StartedAt = at
		}
		err = t.Become(task.Running, w.At, fmt.Sprintf("attempt %d", a.n))
		w.DropEnv = !t.MayStart()
		return err
	})
	if err != nil {
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("record a started task")
		return err
	}
	if a.spec != nil {
		a.e.over(a.spec.Claude)
	}
	return nil
}

// stop asks the runner to end its tree, now or as soon as there is one.
func (a *attempt) stop() {
	a.mu.Lock()
	a.cancelled = true
	a.mu.Unlock()
	if _, err := retry(a.e.ctx, func() (struct{}, error) { return struct{}{}, a.tellRunner() }); err != nil {
		a.e.log.Warn().Err(err).Str("task", string(a.id)).Msg("tell the runner to stop")
	}
}

func (a *attempt) tellRunner() error {
	a.mu.Lock()
	r := a.run
	a.mu.Unlock()
	if r == nil {
		return nil
	}
	if err := r.Stop("cancel"); err != nil {
		// A runner that has just ended needs no telling.
		if alive, aliveErr := r.Alive(); aliveErr == nil && !alive {
			return nil
		}
		return err
	}
	return nil
}

func (a *attempt) isCancelled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cancelled
}

// openGate lets the next start-up in; safe to call more than once.
func (a *attempt) openGate() {
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
	p := a.progress
	t.Model = p.Model
	p.CostUSD, p.At, p.Answered = task.RoundUSD(p.CostUSD), a.progressAt, a.answer != nil
	t.Progress = &p.Progress
	if a.answer != nil {
		text := string((*a.answer)[:min(len(*a.answer), task.MaxInlineResult)])
		t.Result, t.ResultBytes = &text, int64(len(*a.answer))
	}
	if a.spool == nil {
		return
	}
	if stdout, stderr, err := a.spool.sizes(); err == nil {
		t.StdoutBytes, t.StderrBytes = stdout, stderr
	}
}

// output reads the spool of attempt n; os.ErrClosed if the stream is not in it,
// or not any more.
func (a *attempt) output(n int, q OutputQuery) (task.Output, error) {
	a.mu.Lock()
	sp, current := a.spool, a.n
	a.mu.Unlock()
	if sp == nil || n != current || q.Stream != task.Stdout && q.Stream != task.Stderr {
		return task.Output{}, os.ErrClosed
	}
	size, err := sp.size(q.Stream)
	if err != nil {
		return task.Output{}, err
	}
	out := task.Output{ID: a.id, Attempt: n, Stream: q.Stream, Size: size, Offset: start(q, size)}
	out.Data = make([]byte, min(int64(q.Limit), size-out.Offset))
	got, err := sp.readAt(q.Stream, out.Data, out.Offset)
	out.Data = out.Data[:got]
	return out, err
}
