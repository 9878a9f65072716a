package engine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/task"
)

// What the system would not hand to claude in one call is refused before
// anything is recorded, and what is accepted starts, also behind a wrapper.
func TestArgumentsThatAreTooLarge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	all, one := runner.ArgLimits()
	config := func(size int) string { return `{"mcpServers":{},"of":"` + strings.Repeat("x", size) + `"}` }
	of := func(bytes int) engine.Submission {
		s := engine.Submission{Spec: task.Spec{WorkingDir: w.home, Claude: w.claude}, Prompt: "[[text x]]", Env: w.env()}
		for ; bytes > 99_000; bytes -= 99_000 {
			s.Spec.MCPConfig = append(s.Spec.MCPConfig, config(99_000))
		}
		s.Spec.MCPConfig = append(s.Spec.MCPConfig, config(bytes))
		return s
	}
	env := func(vars ...string) engine.Submission {
		s := of(1)
		s.Env = append(s.Env, vars...)
		return s
	}
	var many []string
	for i := range all/100_000 + 1 {
		many = append(many, fmt.Sprintf("V%d=%s", i, strings.Repeat("x", 100_000)))
	}
	done := of(1)
	ended, err := w.Submit(w.ctx, done)
	w.must(err)
	w.end(ended.ID, task.Completed)
	for name, tt := range map[string]struct {
		s    engine.Submission
		says string
	}{
		"32 configurations": {of(32 * max(99_000, all/32)), "options: they have "},
		"many variables":    {env(many...), "environment: it has "},
		"one variable":      {env("LONG=" + strings.Repeat("x", one)), "environment: LONG has "},
	} {
		_, err := w.Submit(w.ctx, tt.s)
		if !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), tt.says) || task.HintOf(err) == "" {
			t.Errorf("%s: %.200v", name, err)
		}
		// The environment is the asking client's each time.
		if strings.HasPrefix(tt.says, "env") {
			if _, err := w.Retry(w.ctx, engine.Again{Ref: string(w.failed()), Env: tt.s.Env}); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("retry with %s: %.200v", name, err)
			}
		}
	}
	list, err := w.List(w.ctx, task.Filter{Limit: 10})
	if err != nil || len(list.Tasks) != 3 {
		t.Errorf("%d tasks are recorded, %v; want those that ran", len(list.Tasks), err)
	}

	real := w.claude
	w.claude = filepath.Join(t.TempDir(), "claude")
	w.must(os.WriteFile(w.claude, []byte("#!/bin/sh\n"+real+` "$@"`+"\n"), 0o755))
	most := sort.Search(all, func(n int) bool { _, err := engine.Allow(w.site, of(n), task.Policy{}); return err != nil }) - 1
	got, err := w.Submit(w.ctx, of(most))
	w.must(err)
	w.end(got.ID, task.Completed)
}

// failed is a new task that has failed.
func (w *world) failed() task.ID {
	id := w.submit("[[exit 1]]")
	w.end(id, task.Failed)
	return id
}
