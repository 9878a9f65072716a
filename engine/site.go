package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"cctask/engine/runner"
	"cctask/engine/task"
)

// Site is where runners live. A run is known there by its name, so that every call may
// be repeated, and nothing but the site knows what it keeps of one, and where.
// *runner.Local is this machine.
//
// An error that wraps runner.ErrSilent says that the site does not answer: the call is
// repeated until it does.
type Site interface {
	Asker
	// Where names the site as it is now, before anything starts there.
	Where() runner.Place
	// Start has a runner started in a new run, now or when there is room, and tells
	// what is known of it then. One that began before stays as it is; what a start
	// left that failed is replaced.
	//
	// runner.ErrNotStarted and *runner.SpawnError say that claude did not run and
	// will not. With any other error nothing is known: Look tells.
	Start(ctx context.Context, name string, o runner.Order) (runner.Sight, error)
	// Look tells of the named runs, of all without a name, in one question. A run
	// that is not in the answer is not there; with an error nothing is known of it.
	Look(ctx context.Context, names ...string) (map[string]runner.Sight, error)
	// Follow hands over what the site hears of a run by itself, such as an end or that
	// its output grows, until nil is given. It may be little, or nothing: Look tells the rest.
	// Without a name it says that the site may have room again.
	Follow(news func(name string, s runner.Sight))
	// Stop asks the runner to end its tree, and says why (a task.StopReason), without
	// waiting for it. hard: it returns when nothing of the run's tree is left.
	Stop(ctx context.Context, name, why string, hard bool) error
	// Keep makes the end of a run outlast a power loss, since it cannot be recorded now.
	Keep(ctx context.Context, name string) error
	// Clear removes a run in which nothing lives; keep: to where a person finds it.
	// No other attempt follows before it has succeeded.
	Clear(ctx context.Context, name string, keep bool) error
	// Read reads a piece of what claude has written, and tells how much there is;
	// fs.ErrNotExist if that is not there (any more).
	Read(ctx context.Context, name, stream string, b []byte, off int64) (n int, size int64, err error)
}

// Asker answers what is at a path of a site, with up to head bytes of its content.
type Asker interface {
	Ask(ctx context.Context, path string, head int) (runner.File, error)
}

// runName is the name of an attempt's run, which also marks its processes.
func runName(id task.ID, n int) string { return fmt.Sprintf("%s.%d", id, n) }

// ParseRunName tells whose run has a name.
func ParseRunName(name string) (id task.ID, n int, ok bool) {
	idText, nText, ok := strings.Cut(name, ".")
	if !ok {
		return "", 0, false
	}
	id, err := task.ParseID(idText)
	n, nErr := strconv.Atoi(nText)
	return id, n, err == nil && nErr == nil && n > 0
}

// notThere is the sight of a run that is not at its site.
var notThere = runner.Sight{Life: runner.Gone, Rec: runner.Record{State: runner.StateNone}}

// begun tells whether claude may have run.
func begun(s runner.Sight) bool {
	switch s.Rec.State {
	case runner.StateIntent, runner.StateRunning, runner.StateEnded:
		return true
	}
	return false
}
