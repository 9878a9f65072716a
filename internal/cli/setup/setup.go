// Package setup registers the MCP server with its clients: what is to be changed,
// first as text and then done. Claude Code changes its own files where it has a
// command for it. It may import internal/cli/settings; it must never know an owner.
package setup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"cctask/engine/task"
	"cctask/internal/cli/settings"
	"cctask/internal/show"
)

// ServerName is the name under which clients know this server; it is part of
// the names of its tools there.
const ServerName = "cctask"

// HookVerb is what --hook lets Claude Code call after each start_cc_task_async.
const HookVerb = "_hook"

// Scopes are those of a registration with Claude Code.
var Scopes = []string{"user", "project", "local"}

// Setup is what a person wants.
type Setup struct {
	Source       settings.Source
	Settings     settings.Settings
	Environ      []string // for claude
	Scope        string
	Hook, Remove bool
}

// Command is how a client starts this program, with the state directory if the
// person named one.
func Command(s settings.Settings, verb string) ([]string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	words := []string{exe, verb}
	if slices.Contains(s.Explicit, "dir") {
		words = append(words, "--dir", s.Dir)
	}
	return words, nil
}

// Change is one thing that setup does, as the person sees it beforehand.
type Change struct {
	What string
	Do   func(ctx context.Context) error
}

// Changes are what is not yet as it is wanted.
func (s Setup) Changes() ([]Change, error) {
	if !slices.Contains(Scopes, s.Scope) {
		return nil, task.Invalid(fmt.Sprintf("--scope: %q is unknown", s.Scope), "Use one of "+strings.Join(Scopes, ", ")+".")
	}
	places, err := Find(s.Source.Getenv, s.Scope)
	if err != nil {
		return nil, err
	}
	server, err := Command(s.Settings, "mcp")
	if err != nil {
		return nil, err
	}
	hook, err := Command(s.Settings, HookVerb)
	if err != nil {
		return nil, err
	}
	there, err := places.Server()
	if err != nil {
		return nil, err
	}
	var changes []Change
	run := func(args ...string) {
		changes = append(changes, Change{"run: " + task.ShellWords(append([]string{"claude"}, args...)), func(ctx context.Context) error {
			return s.runClaude(ctx, args)
		}})
	}
	if wanted := !s.Remove; there != nil && (!wanted || !slices.Equal(there, server)) {
		run("mcp", "remove", "--scope", s.Scope, ServerName)
		there = nil
	}
	if !s.Remove && there == nil {
		run(append([]string{"mcp", "add", "--scope", s.Scope, ServerName, "--"}, server...)...)
	}
	wanted := ""
	if s.Hook {
		wanted = task.ShellWords(hook)
	}
	// Without --hook a hook that is there stays, unless all is undone.
	if s.Hook || s.Remove {
		c, err := places.hookChange(wanted, s.Remove)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c...)
	}
	return changes, nil
}

// runClaude lets Claude Code change its own files.
func (s Setup) runClaude(ctx context.Context, args []string) error {
	path, err := s.Source.FindClaude(s.Settings.Claude)
	if err != nil {
		return err
	}
	out, err := Claude(ctx, s.Environ, path, args...).CombinedOutput()
	if err != nil {
		return task.Errorf(task.CodeInternal, "Run that command by hand to see what keeps it; nothing after it was changed.",
			"claude %s: %v: %s", strings.Join(args[:2], " "), err, show.OneLine(string(out)))
	}
	return nil
}

// Claude is a call of claude beside all tasks.
func Claude(ctx context.Context, environ []string, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append([]string{}, environ...)
	if _, nowhere := settings.WorkingDir(); nowhere != "" {
		cmd.Dir = "/" // claude does not start in a directory that was removed
	}
	cmd.WaitDelay = time.Second
	return cmd
}
