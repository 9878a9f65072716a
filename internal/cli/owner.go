package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/site"
	"cctask/engine/task"
	"cctask/engine/worktree"
	"cctask/internal/cli/settings"
	"cctask/internal/herald"
	"cctask/internal/ipc"
	"cctask/internal/sys"
	"cctask/storage"
)

var (
	_ engine.Store   = (*storage.DB)(nil)
	_ engine.Site    = (*runner.Local)(nil)
	_ engine.Service = (*ipc.Client)(nil)
	_ ipc.Backend    = (*owner)(nil)
)

// owner holds a state directory: its lock, its database and the engine on it.
// A daemon serves it over the socket, an --embedded front calls it.
type owner struct {
	*engine.Engine
	engine.Unsealed // for dumps
	dir             string
	lock            *ipc.Owner
	db              *storage.DB
	policy          ownerPolicy
	sites           []*site.Site
}

// relaunch tells a runner how to start this owner again.
type relaunch struct {
	Exe      string       `json:"exe"`
	Dir      string       `json:"dir"`
	Settings ipc.Settings `json:"settings"`
}

// open takes the lock before it touches anything that the lock guards.
func (a *app) open(ctx context.Context, s settings.Settings, phase string, log zerolog.Logger) (*owner, error) {
	if s.Owner.Jobs == 0 {
		s.Owner.Jobs = engine.DefaultJobs()
	}
	// Orphans of a killed runner fall to us and are swept.
	if err := runner.Become(); err != nil {
		return nil, fmt.Errorf("become a subreaper: %w", err)
	}
	lock, err := ipc.Acquire(ctx, s.Dir, ipc.Lock{
		Phase: phase, Version: version(), Settings: s.Owner, DB: filepath.Join(s.Dir, storage.FileName),
	})
	if err != nil {
		return nil, err
	}
	o := &owner{dir: s.Dir, lock: lock, policy: ownerPolicy{read: a.source().File}}
	lock.Notice = o.policy.notice
	if err := o.start(s, phase, log); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

func (o *owner) start(s settings.Settings, phase string, log zerolog.Logger) error {
	_, err := o.policy.now()
	if err != nil {
		log.Error().Err(err).Msg("new tasks are refused")
	}
	o.db, err = storage.Open(s.Dir, storage.Options{App: version()})
	if err != nil {
		return err
	}
	cfg := engine.Config{
		Dir: s.Dir, Jobs: s.Owner.Jobs, Log: log,
		Keep:   keepPolicy(s.Owner),
		Policy: o.policy.now, Budgets: o.policy.budgets,
		Retry:  o.policy.retry,
		Trees:  &worktree.Trees{Dir: filepath.Join(s.Dir, "worktrees")},
		Herald: herald.Herald{Settings: o.policy.notify, Run: runner.RunOwn},
	}
	here := &runner.Local{Dir: s.Dir, Spare: spareOwner(s.Dir)}
	o.Unsealed = engine.Unsealed{Source: o.db, At: here}
	if phase != ipc.PhaseEmbedded {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		cfg.Server = &engine.Server{Command: exe, Args: []string{"mcp", "--dir", s.Dir}}
		if s.File.There {
			cfg.Server.Args = append(cfg.Server.Args, "--config", s.File.Path)
		}
		if !utf8.ValidString(exe) {
			exe = "" // JSON would name another file; a runner's own is the same
		}
		if here.Owner, err = json.Marshal(relaunch{exe, s.Dir, s.Owner}); err != nil {
			return fmt.Errorf("write down how to start an owner again: %w", err)
		}
	}
	if cfg.Sites, err = o.openSites(s.Dir); err != nil {
		return err
	}
	if o.Engine, err = engine.New(cfg, o.db, here); err == nil {
		o.At = o.Engine
	}
	return err
}

func keepPolicy(s ipc.Settings) task.KeepPolicy {
	return task.KeepPolicy{Age: s.KeepAge, Count: s.KeepCount, Size: s.KeepSize}
}

// close lets go in the reverse order: whoever gets the lock next finds the
// database closed.
func (o *owner) close() error {
	if o.Engine != nil {
		o.Engine.Close()
	}
	for _, far := range o.sites {
		far.Close()
	}
	var err error
	if o.db != nil {
		err = o.db.Close()
	}
	return errors.Join(err, o.lock.Release())
}

// Lost tells why nothing can be kept in the database any more, or nil.
func (o *owner) Lost() error { return o.db.Lost() }

// spareOwner names the process that holds the state directory: born inside a
// task's tree it must not be swept with it.
func spareOwner(dir string) runner.Spare {
	return func() []sys.Process {
		lock, held, err := ipc.Holder(dir)
		if err != nil || !held {
			return nil
		}
		return []sys.Process{{PID: lock.PID, Start: lock.Start}}
	}
}
