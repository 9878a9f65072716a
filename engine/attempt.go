package engine

import (
	"context"
	"errors"
	"fmt"
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
	e       *Engine
	id      task.ID
	n       int
	session string
	env     []string // kept for a fresh start after a lost session; nil when adopted

	before  <-chan struct{} // closed when the attempt before has started
	started chan struct{}   // closed when this one has, or never will

	mu         sync.Mutex
	gated      bool // holds a token of the start-up gate
	cancelled  bool
	run        *runner.Run // set once a runner may be alive
	spool      *spool
	progress   claude.Progress
	progressAt time.Time
}

// errGone says that the task left the queue another way.
var errGone = errors.New("task left the queue")

// run takes an attempt through its steps. Each step is durable before the next
// begins; recover repairs a crash between any two.
func (e *Engine) run(a *attempt) {
	defer e.release(a)
	t, rec, err := a.claim()
	if err != nil {
		close(a.started)
		if !errors.Is(err, errGone) {
			e.log.Error().Err(err).Str("task", string(a.id)).Msg("claim")
		}
		return
	}
	started, err := a.launch(t, rec)
	<-a.before
	if err != nil {
		a.notStarted(err)
		close(a.started)
		return
	}
	err = a.running(started.StartedAt)
	close(a.started)
	if err == nil {
		a.follow()
	}
}

// claim is step 1: queued -> starting.
func (a *attempt) claim() (task.Task, task.Attempt, error) {
	var rec task.Attempt
	t, err := a.e.change(a.id, func(t *task.Task, w *task.Write) error {
		if t.Status != task.Queued {
			return errGone
		}
		var err error
		if rec, err = a.e.store.Attempt(t.ID, t.Attempt); err != nil {
			return err
		}
		rec.Status = task.Starting
		w.Attempts = []task.Attempt{rec}
		return t.Become(task.Starting, w.At, "")
	})
	if err == nil {
		a.mu.Lock()
		a.n, a.session = rec.N, rec.SessionID
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
	if err != nil {
		return runner.Record{}, &runner.SpawnError{Op: "read the environment", Err: err.Error()}
	}
	// The same checks as at submission: what vanished since is told apart from
	// a fault of the launch.
	if err := errors.Join(checkDir("working_dir", t.Spec.WorkingDir), checkClaude(t.Spec.Claude)); err != nil {
		return runner.Record{}, &runner.SpawnError{Op: "look before the launch", Err: err.Error()}
	}
	dir := e.attemptDir(t.ID, rec.N)
	r, err := e.runs.Prepare(dir, runner.Launch{
		Argv:    append([]string{t.Spec.Claude}, claude.Args(options(t.Spec, rec))...),
		WorkDir: t.Spec.WorkingDir, Deadline: t.Spec.Timeout(), Grace: e.cfg.Grace,
		MaxOutput: t.Spec.OutputLimit(), Owner: e.cfg.Owner,
	}, claude.Stdin(prompt, t.Spec.Literal))
	if err != nil {
		return runner.Record{}, fmt.Errorf("%w: make the run directory: %w", runner.ErrNotStarted, err)
	}
	if a.isCancelled() {
		return runner.Record{}, errors.Join(errCancelled, r.Remove())
	}
	a.env = env
	// Not e.ctx: a launch that has begun is finished even when the owner leaves.
	started, err := e.runs.Start(context.Background(), r, environ(t, env))
	var spawn *runner.SpawnError
	if errors.Is(err, runner.ErrNotStarted) || errors.As(err, &spawn) {
		return started, errors.Join(err, r.Remove())
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

// attach makes the runner reachable for a cancel, and tells it of one that
// came before.
func (a *attempt) attach(r *runner.Run) {
	a.mu.Lock()
	a.run, a.spool = r, newSpool(r)
	cancelled := a.cancelled
	a.mu.Unlock()
	if cancelled {
		a.stop()
	}
}

// notStarted ends or requeues an attempt whose claude never ran.
func (a *attempt) notStarted(cause error) {
	again := false
	_, err := a.e.persist(a.id, func(t *task.Task, w *task.Write) error {
		rec, err := a.e.store.Attempt(t.ID, a.n)
		if err != nil {
			return err
		}
		w.Attempts = []task.Attempt{rec}
		end := &w.Attempts[0]
		var spawn *runner.SpawnError
		switch {
		case t.CancelRequested:
			end.Status, end.Reason, end.Message = task.Cancelled, task.ReasonCancelled, "cancelled before it started"
		case errors.As(cause, &spawn):
			end.Status, end.Reason, end.Message = task.Failed, task.ReasonSpawnFailed, spawn.Error()
		case errors.Is(cause, runner.ErrNotStarted):
			end.Status, end.Message, again = task.Queued, "waits for the machine: "+cause.Error(), true
		default:
			end.Status, end.Reason, end.Message = task.Failed, task.ReasonSpawnFailed, cause.Error()
		}
		t.Reason, t.Message = end.Reason, end.Message
		if !again {
			end.FinishedAt, w.DropEnv = w.At, true
		}
		return t.Become(end.Status, w.At, end.Message)
	})
	if err != nil {
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("record a failed launch")
		return
	}
	if again {
		a.e.log.Warn().Err(cause).Str("task", string(a.id)).Msg("not started; queued again")
		a.e.stall(a.e.ctx)
		a.e.mu.Lock()
		if t, err := a.e.store.Task(a.id); err == nil && t.Status == task.Queued {
			a.e.queue.push(a.id, t.Seq)
		}
		a.e.mu.Unlock()
	}
}

// running is step 4. The environment goes in the same commit: from here on the
// task does not start by itself again.
func (a *attempt) running(at time.Time) error {
	_, err := a.e.persist(a.id, func(t *task.Task, w *task.Write) error {
		rec, err := a.e.store.Attempt(t.ID, a.n)
		if err != nil {
			return err
		}
		rec.Status, rec.StartedAt = task.Running, at
		w.Attempts, w.DropEnv = []task.Attempt{rec}, true
		t.Message = ""
		return t.Become(task.Running, w.At, fmt.Sprintf("attempt %d", a.n))
	})
	if err != nil {
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("record a started task")
	}
	return err
}

// stop asks the runner to end its tree, now or as soon as there is one.
func (a *attempt) stop() {
	a.mu.Lock()
	a.cancelled = true
	a.mu.Unlock()
	if err := a.tellRunner(); err != nil {
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
	a.mu.Lock()
	held := a.gated
	a.gated = false
	a.mu.Unlock()
	if held {
		<-a.e.gate
	}
}

// fill adds live progress and output sizes to a task that is being shown.
func (a *attempt) fill(t *task.Task) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.progress
	t.Model = p.Model
	t.Progress = &task.Progress{
		Turns: p.Turns, LastTool: p.LastTool, LastText: p.LastText, Retrying: p.Retrying,
		CostUSD: p.CostUSD, Events: p.Events, At: a.progressAt,
	}
	if a.spool == nil {
		return
	}
	if stdout, stderr, err := a.spool.sizes(); err == nil {
		t.StdoutBytes, t.StderrBytes = stdout, stderr
	}
}

// output reads the spool; not ok if the stream is not in it, or not any more:
// a spool that was closed meanwhile is in the store.
func (a *attempt) output(q OutputQuery) (task.Output, bool) {
	a.mu.Lock()
	sp, n := a.spool, a.n
	a.mu.Unlock()
	if sp == nil || q.Stream != task.Stdout && q.Stream != task.Stderr {
		return task.Output{}, false
	}
	size, err := sp.size(q.Stream)
	if err != nil {
		return task.Output{}, false
	}
	out := task.Output{ID: a.id, Attempt: n, Stream: q.Stream, Size: size, Offset: start(q, size)}
	out.Data = make([]byte, min(int64(q.Limit), size-out.Offset))
	got, err := sp.readAt(q.Stream, out.Data, out.Offset)
	out.Data = out.Data[:got]
	return out, err == nil
}
