package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
)

type callerKey struct{}

// CalledBy says of a context's calls from which process of this machine they come.
func CalledBy(ctx context.Context, pid int) context.Context {
	return context.WithValue(ctx, callerKey{}, pid)
}

// Inside is the task in which a caller runs; "" if in none of this owner's. There are two
// witnesses. Of a process of this machine, the runner above it: nobody leaves a runner's
// tree, whatever becomes of its environment. Of any other, what the marks in its
// environment say.
func (e *Engine) Inside(ctx context.Context, marks task.Within) task.ID {
	if pid, _ := ctx.Value(callerKey{}).(int); pid > 0 {
		if id := e.above(pid); id != "" {
			return id
		}
	}
	for _, mark := range slices.Backward(marks) {
		id, err := task.ParseID(mark)
		if err != nil {
			continue
		}
		if _, err := e.store.Task(id); err == nil {
			return id
		}
	}
	return ""
}

// above is the live task whose runner is the next one above a process.
func (e *Engine) above(pid int) task.ID {
	runners := e.runners()
	if len(runners) == 0 {
		return ""
	}
	return runners[runner.Above(pid, func(pid int) bool { return runners[pid] != "" })]
}

// runners are those of live tasks on this machine. One that has ended a run may have the
// next one while the first is still being recorded.
func (e *Engine) runners() map[int]task.ID {
	if e.site.Where().Site != "" {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make(map[int]task.ID, len(e.live))
	for id, a := range e.live {
		a.mu.Lock()
		if rec := a.sight.Rec; rec.RunnerPID > 0 && rec.State != runner.StateEnded && a.at.name == "" {
			all[rec.RunnerPID] = id
		}
		a.mu.Unlock()
	}
	return all
}

// bear notes in new tasks of one caller who started them, and refuses one too many. Until
// the caller unlocks, no other task of the same root is counted.
func (e *Engine) bear(ctx context.Context, members []*member, p task.Policy) (unlock func(), err error) {
	unlock = func() {}
	// The depth counts tasks of other state directories too, of which no record is here.
	env := members[0].Env
	marks := claude.Lineage(env)
	k := task.Kin{Parent: e.Inside(ctx, marks), Depth: max(len(marks), claude.Depth(env))}
	var above task.Spec
	if k.Parent != "" {
		parent, err := e.store.Task(k.Parent)
		if err != nil {
			return unlock, fmt.Errorf("read the task that starts this one: %w", err)
		}
		k.Root, k.Depth = parent.Root(), max(k.Depth, parent.Depth+1)
		unlock = e.roots.lock(k.Root)
		if k.Live, k.All, err = e.descendants(k.Root); err != nil {
			return unlock, err
		}
		above = parent.Spec
	}
	for _, m := range members {
		// Nobody says of it that it is more or less urgent than what it is a part of.
		m.t.Spec.Priority = cmp.Or(m.t.Spec.Priority, above.Priority)
		m.t.Spec.Group = cmp.Or(m.t.Spec.Group, above.Group)
		m.t.ParentID, m.t.RootID, m.t.Depth = k.Parent, k.Root, k.Depth
		if err := p.MayBear(m.Policy, k); err != nil {
			return unlock, err
		}
		k.Live, k.All = k.Live+1, k.All+1
	}
	return unlock, nil
}

// descendants counts the tasks below a root: those that have not ended, and all.
func (e *Engine) descendants(root task.ID) (live, all int, err error) {
	ids, err := e.store.Descendants(root)
	if err != nil {
		return 0, 0, fmt.Errorf("count the tasks below task %s: %w", root, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		if e.sched.waiters[id] != nil || e.sched.live[id] != nil {
			live++
		}
	}
	// What was deleted counts on, as long as this owner lives: else a task could start
	// and delete without end.
	e.borne[root] = max(e.borne[root], len(ids))
	return live, e.borne[root], nil
}

// borneOne counts a task that was recorded.
func (e *Engine) borneOne(root task.ID) {
	if root == "" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.borne[root]++
}

// Server is how claude starts an MCP server; see its .mcp.json.
type Server struct {
	Command string            `json:"command"`
	Args    []string          `json:"args"`
	Env     map[string]string `json:"env,omitempty"`
}

// served is a specification with the MCP server of this owner, if the task is to have it.
func (e *Engine) served(s task.Spec) (task.Spec, error) {
	switch {
	case !s.WithCCTask:
		return s, nil
	case e.cfg.Server == nil:
		return s, task.Errorf(task.CodeInvalid, "Leave out --embedded, or with_cctask.", "with_cctask: this owner serves no other process")
	}
	own := *e.cfg.Server
	own.Env = map[string]string{"CCTASK_CLAUDE": s.Claude}
	config, err := json.Marshal(map[string]map[string]Server{"mcpServers": {"cctask": own}})
	if err != nil {
		return s, fmt.Errorf("write down the MCP server: %w", err)
	}
	s.MCPConfig = append(slices.Clip(s.MCPConfig), string(config))
	return s, nil
}
