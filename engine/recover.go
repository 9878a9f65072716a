package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cctask/engine/runner"
	"cctask/engine/task"
)

// recover brings the database, the run directories and the processes together
// again. What takes time (sweeps, the sealing of large outputs) goes on in the
// background; when it returns, every task has a status that can be shown.
func (e *Engine) recover() error {
	if err := os.MkdirAll(e.runDir(), 0o700); err != nil {
		return fmt.Errorf("make the directory of run directories: %w", err)
	}
	var err error
	if e.seq, err = e.store.LastSeq(); err != nil {
		return fmt.Errorf("read the last queue sequence: %w", err)
	}
	found, err := e.findRuns()
	if err != nil {
		return err
	}
	if err := e.repairLive(found); err != nil {
		return err
	}
	// Whatever directories are left belong to no live task.
	for _, fr := range found {
		if err := e.repairIdle(fr); err != nil {
			return err
		}
	}
	return e.loadQueue()
}

func (e *Engine) loadQueue() error {
	queued, err := e.store.Queue()
	if err != nil {
		return fmt.Errorf("load the queue: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range queued {
		e.sched.add(waiterOf(p))
	}
	return nil
}

// foundRun is a run directory with what its runner says.
type foundRun struct {
	id  task.ID
	n   int
	run *runner.Run
	rec runner.Record
	up  bool
}

// findRuns reads the run directories by name.
func (e *Engine) findRuns() (map[string]*foundRun, error) {
	entries, err := os.ReadDir(e.runDir())
	if err != nil {
		return nil, fmt.Errorf("read the run directories: %w", err)
	}
	found := map[string]*foundRun{}
	for _, ent := range entries {
		if _, _, ok := parseRunName(ent.Name()); !ok || !ent.IsDir() {
			// Not ours: nothing of cctask's has such a name.
			if err := os.RemoveAll(filepath.Join(e.runDir(), ent.Name())); err != nil {
				e.log.Warn().Err(err).Str("dir", ent.Name()).Msg("remove a stray run directory")
			}
			continue
		}
		if found[ent.Name()], err = e.findRun(ent.Name()); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (e *Engine) findRun(name string) (*foundRun, error) {
	r, err := runner.Open(filepath.Join(e.runDir(), name))
	if err != nil {
		return nil, fmt.Errorf("open the run directory %s: %w", name, err)
	}
	fr := &foundRun{run: r}
	fr.id, fr.n, _ = parseRunName(name)
	if fr.up, err = r.Alive(); err != nil {
		return nil, fmt.Errorf("look whether the runner of %s lives: %w", name, err)
	}
	// After the lock was looked at: a record read before could be older than
	// the end that let go of the lock.
	if fr.rec, err = r.Record(); err != nil {
		// Not read is not the same as not written: claude may have run.
		e.log.Warn().Err(err).Str("dir", name).Msg("read the status record")
		fr.rec = runner.Record{State: runner.StateIntent}
	}
	return fr, nil
}

func parseRunName(name string) (task.ID, int, bool) {
	idText, nText, ok := strings.Cut(name, ".")
	if !ok {
		return "", 0, false
	}
	id, err := task.ParseID(idText)
	n, nErr := strconv.Atoi(nText)
	return id, n, err == nil && nErr == nil && n > 0
}

func factsOf(t *task.Task, fr *foundRun) facts {
	f := facts{recorded: t != nil}
	if t != nil {
		f.status, f.cancel = t.Status, t.CancelRequested
	}
	if fr != nil {
		f.dir, f.alive = true, fr.up
		f.earlier = t != nil && fr.n < t.Attempt
		switch fr.rec.State {
		case runner.StateIntent, runner.StateRunning:
			f.intent = true
		case runner.StateEnded:
			f.intent, f.final = true, true
		}
	}
	return f
}

// repairLive looks after every task that was starting or running.
func (e *Engine) repairLive(found map[string]*foundRun) error {
	live, err := e.store.Live()
	if err != nil {
		return fmt.Errorf("find the live tasks: %w", err)
	}
	for i := range live {
		t := &live[i]
		name := filepath.Base(e.attemptDir(t.ID, t.Attempt))
		if err := e.repairTask(t, found[name]); err != nil {
			return err
		}
		delete(found, name)
	}
	return nil
}

// repairTask looks after one starting or running task that nobody follows; fr
// is its run directory, if it has one.
func (e *Engine) repairTask(t *task.Task, fr *foundRun) error {
	do := plan(factsOf(t, fr))
	e.log.Info().Str("task", string(t.ID)).Str("status", string(t.Status)).Str("action", string(do)).Msg("recover")
	switch do {
	case doFollow, doStop:
		e.adopt(t, fr, do == doStop)
		return nil
	case doRequeue:
		return e.backToQueue(t, fr)
	case doInterrupt:
		e.wg.Go(func() { e.interrupt(t) })
		return nil
	case doNothing, doSeal, doDiscard, doSetAside:
	}
	return fmt.Errorf("no way to recover task %s in status %s by %q", t.ID, t.Status, do)
}

// Ended takes a runner's report. The attempt's follower has seen the lock come
// free by then; one that nobody follows any more, because its follower met an
// error, is looked after as at a start.
func (e *Engine) Ended(run string) {
	id, n, ok := parseRunName(run)
	if !ok {
		return
	}
	// Before the record: the follower leaves after it has written the end.
	e.mu.Lock()
	followed := e.live[id] != nil || e.draining
	e.mu.Unlock()
	if followed {
		return
	}
	t, err := e.store.Task(id)
	if err != nil || !t.Status.Live() || t.Attempt != n {
		return
	}
	fr, err := e.findRun(run)
	if err == nil {
		err = e.repairTask(&t, fr)
	}
	if err != nil {
		e.log.Error().Err(err).Str("task", string(id)).Msg("recover a reported run")
	}
}

// repairIdle looks after a directory that no live task claims.
func (e *Engine) repairIdle(fr *foundRun) error {
	t, err := e.store.Task(fr.id)
	known := &t
	if errors.Is(err, task.ErrNotFound) {
		known = nil
	} else if err != nil {
		return err
	}
	do := plan(factsOf(known, fr))
	e.log.Info().Str("task", string(fr.id)).Int("attempt", fr.n).Str("action", string(do)).Msg("recover a run directory")
	switch do {
	case doSetAside:
		e.wg.Go(func() { e.setAside(fr) })
	case doSeal:
		e.wg.Go(func() { e.sealRest(fr) })
	case doDiscard:
		if err := fr.run.Remove(); err != nil {
			e.log.Warn().Err(err).Str("task", string(fr.id)).Msg("remove an unused run directory")
		}
	case doNothing, doRequeue, doFollow, doStop, doInterrupt:
	}
	return nil
}

// adopt goes on with an attempt of an earlier owner at step 4.
func (e *Engine) adopt(t *task.Task, fr *foundRun, stop bool) {
	a := &attempt{e: e, id: t.ID, n: t.Attempt}
	a.attach(fr.run)
	e.mu.Lock()
	twice := e.live[t.ID] != nil // two reports of one end, side by side
	if !twice {
		e.sched.occupy(waiterOf(task.PlaceOf(t)), false)
		e.live[t.ID] = a
	}
	e.mu.Unlock()
	if twice {
		return
	}
	e.wg.Go(func() {
		defer e.release(a)
		if t.Status == task.Starting && !a.begins(t, fr) {
			return
		}
		if stop {
			a.stop()
		}
		a.follow()
	})
}

// begins waits until whoever holds the lock of an adopted run has written that
// claude may run, and records that. A process that the last owner was about to start
// when it died has a copy of the lock until it executes: it lets go without a word,
// and the task waits again.
func (a *attempt) begins(t *task.Task, fr *foundRun) bool {
	for wait := time.Millisecond; fr.up && !factsOf(t, fr).intent; wait = min(2*wait, 100*time.Millisecond) {
		select {
		case <-time.After(wait):
		case <-a.e.ctx.Done():
			return false
		}
		next, err := retry(a.e.ctx, func() (*foundRun, error) { return a.e.findRun(filepath.Base(fr.run.Dir())) })
		if err != nil {
			a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("look at an adopted run")
			return false
		}
		fr = next
	}
	if factsOf(t, fr).intent {
		return a.running(fr.rec.StartedAt) == nil
	}
	if err := a.e.backToQueue(t, fr); err != nil {
		a.e.log.Error().Err(err).Str("task", string(a.id)).Msg("queue an adopted task again")
	}
	return false
}

// backToQueue is for a claim whose claude cannot have run.
func (e *Engine) backToQueue(t *task.Task, fr *foundRun) error {
	if fr != nil {
		// One that stays is removed before the next launch.
		if err := fr.run.Remove(); err != nil {
			e.log.Warn().Err(err).Str("task", string(t.ID)).Msg("remove an unused run directory")
		}
	}
	again := func(t *task.Task, w *task.Write) error {
		rec, err := e.store.Attempt(t.ID, t.Attempt)
		if err != nil {
			return err
		}
		rec.Status = task.Queued
		if t.CancelRequested {
			rec.Status, rec.Reason, rec.Message, rec.FinishedAt = task.Cancelled, task.ReasonCancelled, "cancelled before it started", w.At
			t.Reason, t.Message, w.DropEnv = rec.Reason, rec.Message, true
		}
		w.Attempts = []task.Attempt{rec}
		return t.Become(rec.Status, w.At, "the owner ended before it started")
	}
	_, err := e.change(t.ID, again)
	if err == nil || !transient(err) {
		return err
	}
	// A full disk keeps the task where it is, but not the owner from answering.
	e.wg.Go(func() {
		if _, err := e.persist(t.ID, again); err != nil {
			e.log.Error().Err(err).Str("task", string(t.ID)).Msg("queue a task again")
		}
	})
	return nil
}

// interrupt is for a task whose run directory is gone. An empty one takes its
// place: what still carries its mark is swept, and the end is judged as after a
// runner that died without a word.
func (e *Engine) interrupt(t *task.Task) {
	name := filepath.Base(e.attemptDir(t.ID, t.Attempt))
	fr, err := retry(e.ctx, func() (*foundRun, error) {
		if err := os.Mkdir(filepath.Join(e.runDir(), name), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		return e.findRun(name)
	})
	if err != nil {
		e.log.Error().Err(err).Str("task", string(t.ID)).Msg("look after a task without a run directory")
		return
	}
	e.adopt(t, fr, false)
}

// sealRest is for a directory whose attempt has its outcome already.
func (e *Engine) sealRest(fr *foundRun) {
	if err := e.stopRun(fr); err != nil {
		e.log.Error().Err(err).Str("task", string(fr.id)).Msg("stop a leftover runner")
		return
	}
	a := &attempt{e: e, id: fr.id, n: fr.n}
	a.attach(fr.run)
	f, err := a.newFollower()
	if err == nil {
		_, err = retry(e.ctx, func() (struct{}, error) {
			chunks, err := f.rest()
			if err == nil {
				err = e.apply(task.Write{At: time.Now(), Chunks: chunks})
			}
			return struct{}{}, err
		})
	}
	// A removal that was cut short leaves a directory without its files: all
	// of them were in the store before it began. So was a task that is gone.
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, task.ErrNotFound) {
		// Kept: the next owner tries again.
		e.log.Error().Err(err).Str("task", string(fr.id)).Msg("seal the rest of an output")
		return
	}
	a.cleanUp()
}

// cleanUp is step 8.
func (a *attempt) cleanUp() {
	a.spool.close()
	a.discard(a.run)
}

// stopRun ends whatever lives of a run that should not live.
func (e *Engine) stopRun(fr *foundRun) error {
	if fr.up {
		if err := fr.run.Stop("cancel"); err != nil {
			e.log.Warn().Err(err).Str("task", string(fr.id)).Msg("tell a leftover runner to stop")
		}
		if err := fr.run.Wait(e.ctx); err != nil {
			return err
		}
	} else if fr.rec.State == runner.StateEnded {
		return nil // it swept before it said so
	}
	_, err := fr.run.Sweep(e.ctx, e.cfg.Spare)
	return err
}

// setAside keeps a directory that no record knows, for a person to look at.
func (e *Engine) setAside(fr *foundRun) {
	if err := e.stopRun(fr); err != nil {
		e.log.Error().Err(err).Str("task", string(fr.id)).Msg("stop a runner without a record")
		return
	}
	lost := filepath.Join(e.cfg.Dir, "lost")
	err := os.MkdirAll(lost, 0o700)
	if err == nil {
		name := fmt.Sprintf("%s.%d", filepath.Base(fr.run.Dir()), time.Now().Unix())
		err = os.Rename(fr.run.Dir(), filepath.Join(lost, name))
	}
	e.log.Warn().AnErr("error", err).Str("task", string(fr.id)).Msg("a run directory without a record was moved to lost/")
}
