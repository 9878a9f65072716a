// Package runner launches, supervises and re-attaches one process tree per
// attempt of a task.
//
// The owner prepares a run directory and gives it to a runner that it has hired: the same
// binary as `cctask _run`, which serves one attempt after another (order.go has how they speak).
// The runner starts claude, keeps the deadline, the output limit and the exit
// status while the owner is dead or replaced, kills what claude leaves behind, and
// answers; if nobody hears it, it reports, and leaves. The directory is all that a
// later owner, of whatever version, knows of an attempt:
//
//	lock     an flock, taken by the owner and passed to the runner with the
//	         order: held means that the attempt lives
//	status   the status record: two slots of 4 KiB, written in place
//	stop     why the runner is to stop claude, once somebody wants it to
//	prompt   claude's stdin
//	stdout, stderr   claude's own output files
//
// It may import the standard library and golang.org/x/sys. It must never know
// what a task is, how it is stored, or how an owner is spoken to: the owner's
// process and the report come in as Hooks.
package runner

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"cctask/internal/sys"
)

// MarkerVar is the environment variable that names the run directory in every
// process of a run's tree.
const MarkerVar = "CCTASK_RUN"

// Launch is what a runner needs.
type Launch struct {
	Argv      []string        // claude's path and arguments
	WorkDir   string          // claude's working directory
	Deadline  time.Duration   // counted from the exec; 0: none
	Grace     time.Duration   // between SIGTERM to claude's group and SIGKILL; 0: 5 s
	MaxOutput int64           // bytes a stream; 0: no limit
	Umask     *int            // claude's file mode mask; nil: the one of the process that launches
	NoFile    uint64          // claude's soft limit of open files, where it may be had; 0: the same
	Nice      *int            // claude's niceness, where it may be had; nil: the same
	Owner     json.RawMessage `json:",omitempty"` // opaque: how to start an owner again, for Hooks.Report
}

// State says how far an attempt's runner has come.
type State = string

const (
	StateNone        State = "none"         // no valid record
	StatePrepared    State = "prepared"     // claude cannot have run
	StateIntent      State = "intent"       // claude may have run
	StateRunning     State = "running"      // claude was started
	StateEnded       State = "ended"        // claude has ended and its tree is dead
	StateSpawnFailed State = "spawn_failed" // claude could not be started
)

// Why a runner signalled its tree, of its own accord or as Run.Stop said; that may
// be any word.
const (
	StopCancel      = "cancel"
	StopDeadline    = "deadline"
	StopOutputLimit = "output_limit"
	StopTerminated  = "terminated" // the runner itself got SIGTERM, SIGINT or SIGHUP
)

// Record is what a runner writes down. With State running and Exited set the
// runner died while it killed what claude had left: the exit status is right,
// the tree needs a Sweep.
type Record struct {
	State       State
	RunnerPID   int
	RunnerStart uint64 // clock ticks since boot; 0 where the system does not say
	ClaudePID   int
	StartedAt   time.Time
	EndedAt     time.Time // of claude, before the sweep
	Exited      bool      // claude's end was seen: ExitCode and Signal hold
	ExitCode    int       // 128+n for a signal
	Signal      string    // e.g. "SIGKILL"
	// Stopped says why the runner signalled claude before its exit; "" if it
	// did not. StopOutputLimit also says that it ended with more output than it may have.
	Stopped   string
	StoppedAt time.Time
	Leftovers int // processes that had to be killed after claude's end

	SpawnOp     string // as SpawnError.Op
	SpawnPath   string
	SpawnError  string
	StdoutBytes int64 // of an ended run
	StderrBytes int64
	DiskFull    bool // at the end there was no room left for more of its output

	// Boot is the host's while this was written. Nothing of a run is synced as long as
	// its owner lives, whose commits alone must outlast a power loss: the claim, which
	// names the boot too, and the outcome. After one the files of a run may be torn or
	// stale, so a record of another boot says no more than that claude may have run.
	// "": it is safe, with the output that it tells of (Run.Keep).
	Boot string
}

// stale tells whether a power loss may have come since it was written.
func (r Record) stale() bool { return r.Boot != "" && bootID() != "" && r.Boot != bootID() }

// begun tells whether claude may have run.
func (r Record) begun() bool { return r.State != StateNone && r.State != StatePrepared }

// MarkedProc is a process of a run's tree.
type MarkedProc struct {
	PID  int
	Name string // the executable's, cut by the system at 15 characters
}

// Spare names processes that a sweep must not touch, with their subtrees: the
// owner. Live runners are found by this package itself.
type Spare func() []sys.Process

// Hooks are what a runner needs from outside. Zero fields do nothing.
type Hooks struct {
	// Spare is as that of a sweep, for the run in dir.
	Spare func(dir string) []sys.Process
	// Report tells an owner that the run in dir has ended, and starts an owner
	// if there is none: it is called when the one who gave the order is gone, with the lock
	// free, and again with backoff for 60 s while it fails and the directory stands. It must not
	// create directories. owner is Launch.Owner.
	Report func(ctx context.Context, dir string, owner json.RawMessage) error
}

// ErrNotStarted says that claude cannot have run: no intent was written.
var ErrNotStarted = errors.New("the runner did not start")

// SpawnError says that claude could not be started; nothing ran.
type SpawnError struct {
	Op   string // "chdir", "exec", "fork", or "arguments" if they are too large
	Path string
	Err  string // e.g. "no such file or directory"
}

func (e *SpawnError) Error() string { return strings.TrimSpace(e.Op+" "+e.Path) + ": " + e.Err }
