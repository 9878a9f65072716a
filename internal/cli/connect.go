package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/cli/settings"
	"cctask/internal/ipc"
	"cctask/storage"
)

// service is the engine as a verb reaches it.
type service struct {
	engine.Service
	embedded bool
	close    func()
}

func (s *service) Lend(ctx context.Context, refs []string) (back func()) {
	return engine.Lend(ctx, s.Service, refs...)
}

// connect reaches the owner, which is started if there is none, or with
// --embedded is one. Over the socket nothing is dialled before the first call.
func (a *app) connect(ctx context.Context) (*service, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	if why := ipc.ReadOnly(s.Dir, storage.FileName); why != nil {
		return a.readFile(s, why)
	}
	if s.Embedded {
		return a.embed(ctx, s)
	}
	client := a.client(s, true)
	return &service{Service: client, close: func() { client.Close() }}, nil
}

// readFile answers from the database file, without an owner.
func (a *app) readFile(s settings.Settings, why error) (*service, error) {
	db, err := storage.OpenReadOnly(filepath.Join(s.Dir, storage.FileName), storage.DefaultTimeout)
	if err != nil {
		return nil, err
	}
	e, err := engine.New(engine.Config{Dir: s.Dir, ReadOnly: why}, db, &runner.Local{Dir: s.Dir})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	a.tellReadOnly(why)
	return &service{Service: e, embedded: true, close: func() {
		e.Close()
		_ = db.Close() // nothing was written that could be lost
	}}, nil
}

func (a *app) tellReadOnly(why error) {
	fmt.Fprintf(a.Stderr, "cctask: %s; reading its file, without an owner\n", claude.Visible(why.Error()))
}

func (a *app) client(s settings.Settings, autoStart bool) *ipc.Client {
	// Without a path ipc starts the file of this very process.
	exe, err := os.Executable()
	if err != nil {
		exe = ""
	}
	return ipc.New(ipc.Config{
		Dir: s.Dir, Settings: s.Owner, Within: a.within(), Explicit: s.Explicit, Exe: exe, AutoStart: autoStart, Version: version(),
		Warn: func(line string) { fmt.Fprintf(a.Stderr, "cctask: %s\n", claude.Visible(line)) },
	})
}

func (a *app) embed(ctx context.Context, s settings.Settings) (*service, error) {
	if err := vacant(s.Dir, "--embedded"); err != nil {
		return nil, err
	}
	level := s.Owner.LogLevel
	if !slices.Contains(s.Explicit, "log-level") {
		level = zerolog.LevelWarnValue // stderr is a person's here
	}
	o, err := a.open(ctx, s, ipc.PhaseEmbedded, a.stderrLog(s, level))
	if err != nil {
		return nil, err
	}
	return &service{Service: o.Engine, embedded: true, close: func() {
		if err := o.close(); err != nil {
			fmt.Fprintf(a.Stderr, "cctask: close the state directory: %v\n", err)
		}
	}}, nil
}

// vacant refuses a state directory that an owner holds for good; one that is
// leaving is waited for by whoever takes the lock.
func vacant(dir, who string) error {
	lock, held, err := ipc.Inspect(dir)
	if err != nil || !held || lock.Phase == ipc.PhaseClosing {
		return err
	}
	return task.Errorf(task.CodeLocked, fmt.Sprintf("Every command uses that owner without %s; `cctask daemon stop` ends it, and running tasks go on.", who),
		"%s: %s holds the state directory %s", who, lock, dir)
}

// ofThisFront is what a resumed or retried task gets of this front: its claude
// only where the person named one.
func (a *app) ofThisFront() (engine.Again, error) {
	s, err := a.settings()
	again := engine.Again{Env: a.Environ(), Limits: callerLimits(), Policy: s.File.Policy}
	if err == nil && s.Claude.From != "" {
		again.Claude, err = a.source().FindClaude(s.Claude)
	}
	return again, err
}
