package doctor

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"cctask/engine/task"
	"cctask/internal/show"
)

// checkWorktrees looks for worktrees that belong to no task, or to one that has none.
func (d *Doctor) checkWorktrees(context.Context) Finding {
	dirs, err := filepath.Glob(d.file("worktrees/*"))
	if err != nil {
		return failed(err)
	}
	var stray []string
	kept := 0
	for _, dir := range dirs {
		id, err := task.ParseID(filepath.Base(dir))
		if err == nil && d.tasks == nil {
			continue
		}
		var t task.Task
		if err == nil {
			t, err = d.tasks.Task(id)
		}
		switch {
		case err != nil && !errors.Is(err, task.ErrNotFound) && !errors.Is(err, task.ErrInvalid):
			return failed(err)
		case err != nil || t.Worktree == nil || t.Status.Ended() && t.Worktree.State != task.TreeKept:
			stray = append(stray, dir)
		case t.Status.Ended():
			kept++
		}
	}
	switch {
	case len(stray) > 0:
		return problem("Look whether they hold anything (git -C DIR status), then remove them with git worktree remove.", "they belong to no task: %s", strings.Join(stray, ", "))
	case kept > 0:
		return note("`cctask diff` shows what they hold, `cctask merge` brings it back, `cctask rm` removes them.", "%s with changes of tasks that have ended", show.Plural(kept, "worktree"))
	}
	return ok("none but those of tasks that have not ended")
}
