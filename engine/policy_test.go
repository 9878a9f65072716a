package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// rule makes the engine ask what p holds.
func (w *world) rule(p *atomic.Pointer[task.Policy], broken *atomic.Bool) {
	w.Close()
	w.cfg.Policy = func() (task.Policy, error) {
		if broken.Load() {
			return task.Policy{}, &task.Error{Code: task.CodeInvalid, Message: "config.toml:3:1: broken"}
		}
		return *p.Load(), nil
	}
	w.open()
}

func TestPolicyIsEnforced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var p atomic.Pointer[task.Policy]
	var broken atomic.Bool
	p.Store(&task.Policy{MaxTimeoutSeconds: 60, MaxPermissionMode: "acceptEdits", ExtraArgs: []string{"--settings=/s.json", "--model=mine"}})
	w.rule(&p, &broken)
	spec := task.Spec{WorkingDir: w.home, Claude: w.claude, Model: "theirs"}
	submit := func(s task.Spec, prompt string) (task.Task, error) {
		return w.Submit(w.ctx, engine.Submission{Spec: s, Prompt: prompt, Env: w.env()})
	}

	// The bounds reach claude, the fixed arguments behind all others.
	bound, err := submit(spec, "[[is-error no]]")
	w.must(err)
	if bound.Spec.TimeoutSeconds != 60 || bound.Spec.PermissionMode != "acceptEdits" {
		t.Errorf("recorded: %+v", bound.Spec)
	}
	w.end(bound.ID, task.Failed)
	argv := w.starts(1)[0].Args
	if !slices.Contains(argv, "--permission-mode=acceptEdits") || slices.Contains(argv, "--dangerously-skip-permissions") ||
		!slices.Equal(argv[len(argv)-2:], []string{"--settings=/s.json", "--model=mine"}) {
		t.Errorf("claude's arguments: %q", argv)
	}
	long := spec
	long.TimeoutSeconds = 61
	_, err = submit(long, "never")
	refused(t, err, "max_timeout")

	// Another attempt meets the policy of its time.
	gate := fakeclaude.NewGate(t)
	running, err := submit(spec, gate.Directive())
	w.must(err)
	open := w.reached(gate)
	queued, err := submit(spec, "[[text queued]]")
	w.must(err)
	p.Store(&task.Policy{AllowedModels: []string{"haiku"}})
	_, err = w.Retry(w.ctx, engine.Again{Ref: string(bound.ID), Env: w.env()})
	refused(t, err, "allowed_models")
	_, err = w.Resume(w.ctx, engine.Again{Ref: string(bound.ID), Env: w.env()})
	refused(t, err, "allowed_models")

	// So does a task that was queued before; what runs goes on.
	open()
	w.end(running.ID, task.Completed)
	if got := w.end(queued.ID, task.Failed); got.Reason != task.ReasonPolicy || !strings.HasPrefix(got.Message, "policy.allowed_models: ") {
		t.Errorf("queued before the policy: %q, %q", got.Reason, got.Message)
	}
	w.starts(2)
}

func refused(t *testing.T, err error, rule string) {
	t.Helper()
	if !errors.Is(err, task.ErrPolicy) || !strings.Contains(err.Error(), "policy."+rule+": ") {
		t.Errorf("got %v, want a refusal by policy.%s", err, rule)
	}
}

// What a front may not submit it cannot make of a task that waits, and what it changed
// stays within its policy.
func TestEditMeetsTheFrontsPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	free, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: w.home, Claude: w.claude, Hold: true}, Prompt: "x", Env: w.env()})
	w.must(err)
	front := task.Policy{MaxTimeoutSeconds: 60, MaxPermissionMode: "plan"}
	_, err = w.Edit(w.ctx, engine.Edit{Ref: string(free.ID), Options: draft(t, `{"timeout":61}`), Policy: front})
	refused(t, err, "max_timeout")
	got, err := w.Edit(w.ctx, engine.Edit{Ref: string(free.ID), Prompt: "other", Policy: front})
	w.must(err)
	if got.Spec.PermissionMode != "plan" || got.Spec.TimeoutSeconds != 60 {
		t.Errorf("recorded: %+v", got.Spec)
	}
	_, err = w.Edit(w.ctx, engine.Edit{Ref: string(free.ID), Options: draft(t, `{"timeout":61}`)})
	refused(t, err, "max_timeout")
}

// A policy that cannot be read refuses new tasks; queued ones wait for it.
func TestBrokenPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var p atomic.Pointer[task.Policy]
	var broken atomic.Bool
	p.Store(&task.Policy{})
	w.rule(&p, &broken)
	gate := fakeclaude.NewGate(t)
	first := w.submit(gate.Directive())
	open := w.reached(gate)
	queued := w.submit("[[text patient]]")
	broken.Store(true)
	if _, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: w.home, Claude: w.claude}, Prompt: "x"}); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), "config.toml:3:1") {
		t.Errorf("submitted under a broken policy: %v", err)
	}
	open()
	w.end(first, task.Completed)
	w.until("the queued task says what it waits for", func() bool {
		got, err := w.Get(w.ctx, string(queued))
		w.must(err)
		return got.Status == task.Queued && strings.Contains(got.Message, "config.toml:3:1")
	})
	broken.Store(false)
	w.end(queued, task.Completed)
	w.starts(2)
}

// Links are resolved on both sides, and claude gets what they led to.
func TestPolicyResolvesLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	outside := t.TempDir()
	allowed, inside := filepath.Join(w.home, "allowed"), filepath.Join(w.home, "real", "project")
	w.must(os.MkdirAll(inside, 0o755))
	w.must(os.Symlink(filepath.Join(w.home, "real"), allowed))
	w.must(os.Symlink(outside, filepath.Join(inside, "out")))
	w.must(os.Symlink(inside, filepath.Join(outside, "in")))
	var p atomic.Pointer[task.Policy]
	var broken atomic.Bool
	p.Store(&task.Policy{AllowedDirs: []string{allowed}})
	w.rule(&p, &broken)
	submit := func(dir string, add ...string) (task.Task, error) {
		return w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: dir, Claude: w.claude, AddDirs: add}, Prompt: "[[text x]]", Env: w.env()})
	}
	real, err := filepath.EvalSymlinks(inside)
	w.must(err)
	for _, dir := range []string{inside, filepath.Join(allowed, "project"), filepath.Join(outside, "in")} {
		got, err := submit(dir, dir)
		if err != nil || got.Spec.WorkingDir != real || got.Spec.AddDirs[0] != real {
			t.Errorf("%s: %+v, %v", dir, got.Spec, err)
			continue
		}
		w.end(got.ID, task.Completed)
	}
	for _, dir := range []string{outside, filepath.Join(inside, "out"), filepath.Join(allowed, "project", "out"), w.home, filepath.Join(allowed, "..")} {
		_, err := submit(dir)
		refused(t, err, "allowed_dirs")
		_, err = submit(inside, dir)
		refused(t, err, "allowed_dirs")
	}
}
