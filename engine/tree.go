package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/engine/worktree"
)

// Trees makes git worktrees where the runs are. *worktree.Trees does so on this
// machine. Each call may be repeated: a worktree is known by its directory, and one
// call at a time has it.
type Trees interface {
	// Plan tells how a worktree for a task in dir would be, and makes nothing.
	Plan(ctx context.Context, id, name, dir string) (task.Worktree, error)
	// Make makes it, or finds it as it was left; worktree.ErrTaken: under that branch it cannot.
	Make(ctx context.Context, w task.Worktree) error
	// Look tells what was changed in it, and whether it is to be kept.
	Look(ctx context.Context, w task.Worktree) (task.Worktree, error)
	// Remove removes it; task.ErrUnmerged: it holds what is nowhere else.
	Remove(ctx context.Context, w task.Worktree) error
	// List are the ids of the tasks of which anything may be there.
	List() ([]string, error)
}

// mayHaveTrees refuses a task for which no worktree could be made as things are. Each
// directory is asked about once.
func (e *Engine) mayHaveTrees(ctx context.Context, b Batch, members []*member) error {
	asked := map[string]bool{}
	for i, m := range members {
		s := m.t.Spec
		if m.taken || s.WorkdirMode != task.DirWorktree || asked[s.WorkingDir] {
			continue
		}
		if e.cfg.Trees == nil {
			return b.About(i, task.Invalid("workdir_mode: worktrees cannot be made where this task would run", "Use workdir_mode exclusive."))
		}
		if _, err := e.cfg.Trees.Plan(ctx, string(m.t.ID), s.Name, s.WorkingDir); err != nil {
			return b.About(i, err)
		}
		asked[s.WorkingDir] = true
	}
	return nil
}

// planTree names, in the claim, the worktree that the launch makes: whoever finds the
// record knows what may be there. A task has one for all of its attempts.
func (a *attempt) planTree(t *task.Task) {
	switch {
	case t.Spec.WorkdirMode != task.DirWorktree:
		return
	case t.Worktree == nil:
		w, err := a.e.cfg.Trees.Plan(a.e.ctx, string(t.ID), t.Spec.Name, t.Spec.WorkingDir)
		if err != nil {
			a.absent = hinted(err)
			return
		}
		t.Worktree = &w
	}
	t.Worktree.State = ""
}

// makeTree makes it, and tells where in it the task works.
func (a *attempt) makeTree(t *task.Task) (dir string, err error) {
	if t.Spec.WorkdirMode != task.DirWorktree {
		return t.Spec.WorkingDir, nil
	}
	a.letIn() // as it waits for no turn
	ctx, cancel := context.WithCancel(a.e.ctx)
	defer cancel()
	a.mu.Lock()
	a.giveUp = cancel
	a.mu.Unlock()
	if err = a.e.cfg.Trees.Make(ctx, *t.Worktree); errors.Is(err, worktree.ErrTaken) {
		*t, err = a.e.persist(a.id, func(t *task.Task, _ *task.Write) error {
			w := worktree.Renamed(string(t.ID), *t.Worktree)
			t.Worktree = &w
			return nil
		})
		if err == nil {
			err = a.e.cfg.Trees.Make(ctx, *t.Worktree)
		}
	}
	switch {
	case err == nil:
		return filepath.Join(t.Worktree.Dir, t.Worktree.Sub), nil
	case a.whyStopped() != "":
		return "", errCancelled
	case a.e.ctx.Err() != nil || isResourceError(err):
		return "", fmt.Errorf("%w: make the worktree: %w", runner.ErrNotStarted, err)
	}
	return "", fmt.Errorf("make the worktree: %w", hinted(err))
}

// hinted says what to do in the text: that is all that the record of a failure keeps.
func hinted(err error) error {
	if hint := task.HintOf(err); hint != "" {
		return fmt.Errorf("%w. %s", err, hint)
	}
	return err
}

// lookAtTree tells what a task has done in its worktree, for the record of its end.
func (e *Engine) lookAtTree(w *task.Worktree) *task.Worktree {
	if w == nil || w.State != "" || e.cfg.Trees == nil {
		return w
	}
	seen, err := e.cfg.Trees.Look(e.finishing, *w)
	switch {
	case err == nil:
	case e.ctx.Err() != nil:
		return w // the next owner looks
	default:
		seen.State, seen.Note = task.TreeKept, "cannot be looked at: "+err.Error()
	}
	return &seen
}

// tidyTree brings a worktree to what is recorded of its task that has ended, and
// records first what is not. Both under the task's lock: another attempt would begin
// to work in what is looked at and removed here.
func (e *Engine) tidyTree(id task.ID) {
	err := func() error {
		unlock := e.locks.lock(id)
		defer unlock()
		t, err := e.store.Task(id)
		if errors.Is(err, task.ErrNotFound) {
			return nil // what nobody knows is shown by doctor
		}
		if err != nil {
			return err
		}
		do := planTree(treeFacts{ended: t.Status.Ended(), tree: t.Worktree})
		if do == treeLook {
			t.Worktree = e.lookAtTree(t.Worktree)
			if err := e.apply(task.Write{At: time.Now(), Task: &t}); err != nil {
				return err
			}
			e.publish(id, true)
			do = planTree(treeFacts{ended: true, tree: t.Worktree})
		}
		if do == treeRemove {
			return e.removeTree(e.finishing, &t)
		}
		return nil
	}()
	if err != nil {
		e.log.Warn().Err(err).Str("task", string(id)).Msg("tidy a worktree; the next owner tries again")
	}
}

// repairTrees looks after what is there of worktrees when an owner starts.
func (e *Engine) repairTrees() {
	if e.cfg.Trees == nil {
		return
	}
	ids, err := e.cfg.Trees.List()
	if err != nil {
		e.log.Warn().Err(err).Msg("look for worktrees")
	}
	for _, name := range ids {
		if id, err := task.ParseID(name); err == nil && e.ctx.Err() == nil {
			e.tidyTree(id)
		}
	}
}

// removeTree removes the worktree of a task, or refuses.
func (e *Engine) removeTree(ctx context.Context, t *task.Task) error {
	switch {
	case t.Worktree == nil:
		return nil
	case e.cfg.Trees == nil:
		return task.Errorf(task.CodeUnmerged, "Remove it where it is, then remove the task with --force.", "the worktree %s is not on this machine", t.Worktree.Dir)
	}
	// Another task may go on in its session, and there.
	in, err := e.store.List(ctx, task.Filter{Statuses: []task.Status{task.Queued, task.Starting, task.Running}, WorkingDir: t.Worktree.Dir, Limit: 1, Now: time.Now()})
	if err != nil {
		return err
	}
	if len(in.Tasks) > 0 {
		return task.Errorf(task.CodeConflict, "Wait for its end, or cancel it first.", "task %s works in the worktree of task %s", in.Tasks[0].ID, t.ID)
	}
	return e.cfg.Trees.Remove(ctx, *t.Worktree)
}
