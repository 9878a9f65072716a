package engine

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
)

func (e *Engine) Submit(ctx context.Context, s Submission) (task.Task, error) {
	all, err := e.SubmitAll(ctx, Batch{Tasks: []Submission{s}})
	if err != nil {
		return task.Task{}, err
	}
	if t := all[0]; t.Status == "" {
		return t, task.Errorf(task.CodeRemoved, "Nothing was started: a key starts one task a day, kept or not. Give another one to do it again.", "%s", t.Message)
	}
	return all[0], nil
}

// firstWrite makes the record of a new task, whose ID and Spec stand.
func (e *Engine) firstWrite(m *member, now time.Time) (task.Write, error) {
	seq, err := e.nextSeq()
	if err != nil {
		return task.Write{}, err
	}
	id, spec := m.t.ID, m.t.Spec
	at, err := task.StartOf(spec.StartAt, now)
	if err != nil {
		return task.Write{}, err
	}
	m.t = task.Task{
		ID: id, Spec: spec, RealDir: realDir(e.at(spec.Site), spec.WorkingDir), Policy: m.Policy, PromptBytes: len(m.Prompt), PromptHead: task.Head(m.Prompt),
		Template: m.t.Template, Refs: m.t.Refs, NotBefore: at, Seq: seq, Attempt: 1, Limits: m.Limits, Account: claude.Account(m.Env), CreatedAt: now, SessionID: cmp.Or(m.first.SessionID, id.UUID()),
	}
	m.first.SessionID, m.first.CreatedAt = m.t.SessionID, now
	return task.Write{
		At: now, Task: &m.t, Attempts: []task.Attempt{m.first},
		Prompt: &task.Blob{ID: id, Attempt: 1, Data: []byte(m.Prompt)},
		Env:    environment(m.Env), Key: m.Key, KeyHash: m.hash,
	}, m.t.Become(task.Queued, now, "submitted")
}

// environment is never nil, which would mean that none is recorded: the task
// could not be launched.
func environment(client []string) []string { return append([]string{}, client...) }

// repeated gives the task that is recorded under a key already; one that was removed
// since has its ID alone, and says so.
func (e *Engine) repeated(taken *task.KeyTaken, key, hash string) (task.Task, error) {
	if taken.Hash != hash {
		return task.Task{}, task.Errorf(task.CodeIdempotencyConflict, "Use a new key for a new task.",
			"idempotency key %q was used for task %s with another prompt or other options", key, taken.ID)
	}
	t, err := e.get(taken.ID)
	if !errors.Is(err, task.ErrNotFound) {
		return t, err
	}
	at, by, err := e.store.Removed(taken.ID)
	what := fmt.Sprintf("the task of idempotency key %q, %s, was removed", key, taken.ID)
	if !at.IsZero() {
		what += fmt.Sprintf(" (%s, by %s)", task.Ago(at, time.Now()), by)
	}
	return task.Task{ID: taken.ID, Message: what}, err
}

// hashOf tells whether two submissions under one key are the same task. The
// environment is left out: a repeat may come from another process.
func hashOf(s Submission) string {
	spec, err := json.Marshal(s.Spec)
	if err != nil {
		return ""
	}
	h := sha256.New()
	h.Write(spec)
	h.Write([]byte{0})
	h.Write([]byte(s.Prompt))
	return hex.EncodeToString(h.Sum(nil))
}

func check(at Asker, s Submission) error {
	if err := task.CheckPrompt(s.Prompt); err != nil {
		return err
	}
	if err := s.Spec.Check(); err != nil {
		return err
	}
	if err := checkNames(s.Spec.EnvNames); err != nil {
		return err
	}
	return ifItAnswers(at, func(at Asker) error { return checkFiles(at, s) })
}

// listener notes that a site does not answer.
type listener struct {
	Asker
	silent bool
}

func (l *listener) Ask(ctx context.Context, path string, head int) (runner.File, error) {
	f, err := l.Asker.Ask(ctx, path, head)
	l.silent = l.silent || errors.Is(err, runner.ErrSilent)
	return f, err
}

// ifItAnswers asks a site by check, and lets pass what it cannot tell now: the
// start will.
func ifItAnswers(at Asker, check func(Asker) error) error {
	l := &listener{Asker: at}
	if err := check(l); !l.silent {
		return err
	}
	return nil
}

func checkFiles(at Asker, s Submission) error {
	if err := checkDir(at, "working_dir", s.Spec.WorkingDir); err != nil {
		return err
	}
	for _, d := range s.Spec.AddDirs {
		if err := checkDir(at, "add_dirs", d); err != nil {
			return err
		}
	}
	for _, c := range s.Spec.MCPConfig {
		if err := checkJSON(at, "mcp_config", c, `{"mcpServers": {"NAME": {"command": "..."}}}`); err != nil {
			return err
		}
	}
	if s.Spec.Settings != "" {
		// claude passes over a file of settings that it cannot read, without a word.
		if err := checkJSON(at, "settings", s.Spec.Settings, `{"permissions": {"deny": ["WebFetch"]}}`); err != nil {
			return err
		}
	}
	for _, p := range s.Spec.PluginDirs {
		if _, err := at.Ask(context.Background(), p, 0); err != nil {
			return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("plugin_dirs: %v", err), Hint: "Name a directory or a .zip that exists."}
		}
	}
	return CheckClaude(at, s.Spec.Claude, s.Env)
}

func checkDir(at Asker, field, dir string) error {
	f, err := at.Ask(context.Background(), dir, 0)
	switch {
	case err != nil:
		return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("%s: %v", field, err), Hint: "Create the directory, or name one that exists."}
	case !f.Dir:
		return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("%s: %s is not a directory", field, dir), Hint: "Name the directory that the file is in."}
	case !f.CanRead:
		return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("%s: %s cannot be read: permission denied", field, dir), Hint: "Change its mode, or name a directory that you can read."}
	}
	return nil
}

// checkNames refuses variables that no task can have for itself.
func checkNames(names []string) error {
	for _, name := range names {
		if claude.Reserved(name) {
			return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("env: %s is for cctask or claude to set", name), Hint: "Leave it out."}
		}
	}
	return nil
}

// realDir is a directory without links; "" if that is how it was named.
func realDir(at Asker, dir string) string {
	if f, err := at.Ask(context.Background(), dir, 0); err == nil && f.Real != filepath.Clean(dir) {
		return f.Real
	}
	return ""
}

// maxJSON is the most of a file that is looked at.
const maxJSON = 4 << 20

// checkJSON looks at what claude would refuse in its first second: JSON that stands
// inline or in a file.
func checkJSON(at Asker, option, config, like string) error {
	text, what := []byte(config), "it"
	if !task.IsInline(config) {
		f, err := at.Ask(context.Background(), config, maxJSON)
		switch {
		case err != nil:
		case !f.Regular:
			err = fmt.Errorf("%s is not a plain file", config) // a pipe of the caller is another one here
		case !f.CanRead:
			err = fmt.Errorf("open %s: permission denied", config)
		case f.Size > maxJSON:
			err = fmt.Errorf("%s has %d bytes, and at most %d are read", config, f.Size, maxJSON)
		}
		if err != nil {
			return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("%s: %v", option, err), Hint: "Name a file that can be read, or give the JSON itself."}
		}
		text = f.Head
		what = config
	}
	if !json.Valid(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("%s: %s is not JSON", option, what), Hint: "Write it like " + like + "."}
	}
	return nil
}

func (e *Engine) nextSeq() (uint64, error) {
	if err := e.MayChange(); err != nil {
		return 0, err
	}
	e.mu.Lock()
	draining := e.draining
	e.mu.Unlock()
	if draining {
		return 0, &task.Error{Code: task.CodeClosing, Message: "the owner is leaving", Hint: "Ask again: a new owner starts by itself."}
	}
	return e.takeSeq(), nil
}

// takeSeq is for what must be recorded even as the owner leaves.
func (e *Engine) takeSeq() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seq++
	return e.seq
}
