package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/cli/settings"
	"cctask/internal/ipc"
	"cctask/internal/show"
	"cctask/storage"
)

func newDaemon(a *app) *cobra.Command {
	var detached bool
	cmd := &cobra.Command{
		Use: "daemon", Short: "Be the owner of the state directory in the foreground",
		Long: `Hold the database and run the tasks, in the foreground and until SIGTERM or Ctrl-C; log
JSON lines to stderr, or lines for people with --log-format console. There is no need to call this: the first command that needs an
owner starts one in the background, which leaves after five idle minutes.
When an owner leaves running tasks go on; the next owner adopts them.`,
		Example:     "  cctask daemon --jobs 8\n  cctask daemon status\n  cctask daemon stop",
		Annotations: exits(exitDone, exitFault, exitInput),
		Args:        arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.daemon(cmd.Context(), detached)
			if err == nil {
				return nil
			}
			ipc.Ready(err)
			if !detached {
				return err
			}
			// Its stderr is the owner's log, which has JSON lines only.
			log := logger(a.Stderr, zerolog.LevelInfoValue)
			log.Error().Err(err).Msg("owner fails")
			return &stop{code: exitCode(err)}
		},
	}
	f := cmd.Flags()
	a.flags.Register(f, true)
	f.BoolVar(&detached, "detach", false, "")
	f.BoolVar(&detached, "detached", false, "")
	f.Int("ready-fd", -1, "")
	for _, hidden := range []string{"detach", "detached", "ready-fd"} {
		_ = f.MarkHidden(hidden)
	}
	cmd.AddCommand(newDaemonStatus(a), newDaemonStop(a), newDaemonCall(a))
	return cmd
}

// ownerGC lets the heap of an owner, which has few megabytes, grow further before it is
// collected: a seventh of what a task costs it went there.
const ownerGC = 400

func (a *app) daemon(ctx context.Context, detached bool) error {
	if leave, err := ipc.Detach(); leave || err != nil {
		return err
	}
	runner.Name("cctask")
	debug.SetGCPercent(ownerGC)
	// A log that nobody reads any more must not end the owner.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := notify().until(ctx)
	defer cancel()
	c, broken := a.source().File()
	if broken != nil && !detached {
		return broken
	}
	// What runs must find its owner also while the settings file is broken: all
	// settings of one that a front or a runner starts are flags.
	s, err := a.source().Resolve(c)
	if err != nil {
		return err
	}
	if !detached {
		if err := vacant(s.Dir, "daemon"); err != nil {
			return err
		}
	}
	log := a.stderrLog(s, s.Owner.LogLevel)
	if detached {
		log = logger(newOwnerLog(s.Dir), s.Owner.LogLevel)
	}
	log.Info().Int("pid", os.Getpid()).Str("dir", s.Dir).Str("version", version()).Msg("owner starts")
	o, err := a.open(ctx, s, ipc.PhaseStarting, log)
	if err != nil {
		return err
	}
	o.lock.Log = func(line string) { log.Warn().Msg(line) }
	if o.lock.Idle = 0; detached || slices.Contains(s.Explicit, "idle") {
		o.lock.Idle = s.Idle
	}
	err = errors.Join(o.lock.Serve(ctx, o), o.close())
	log.Info().Int("pid", os.Getpid()).Msg("owner leaves")
	return err
}

// ownerJSON is what a person and a script learn of the owner.
type ownerJSON struct {
	Running bool          `json:"running"`
	PID     int           `json:"pid,omitempty"`
	Version string        `json:"version,omitempty"`
	Phase   string        `json:"phase,omitempty"`
	Socket  string        `json:"socket,omitempty"`
	DB      string        `json:"db"`
	Live    int           `json:"live"`
	Queued  int           `json:"queued"`
	Jobs    int           `json:"jobs,omitempty"`
	Uptime  time.Duration `json:"-"`
}

func newDaemonStatus(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show the owner of the state directory",
		Long: `Show the process that owns the state directory. It starts none: where none runs it says
so and exits with 0 ("running": false in JSON).`,
		Example:     `  cctask daemon status --json | jq .pid`,
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 0, ""),
		RunE: a.interruptible(func(ctx context.Context, _ []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			o, err := a.ownerStatus(ctx, s)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(o)
			}
			if !o.Running {
				_, err = fmt.Fprintf(a.Stdout, "no owner is running for %s; the next command that needs one starts it\n", s.Dir)
				return err
			}
			text := fmt.Sprintf("pid      %d\nversion  %s\nphase    %s\ndb       %s\njobs     %d\n", o.PID, o.Version, o.Phase, o.DB, o.Jobs)
			// One that does not serve has not said how much it has to do.
			if o.Phase == ipc.PhaseServing {
				text += fmt.Sprintf("socket   %s\nlive     %d\nqueued   %d\nuptime   %s\n", o.Socket, o.Live, o.Queued, show.Duration(o.Uptime))
			}
			_, err = fmt.Fprint(a.Stdout, text)
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// ownerStatus asks the owner itself; one that does not answer on a socket
// (it starts, it is embedded) is told from its lock.
func (a *app) ownerStatus(ctx context.Context, s settings.Settings) (ownerJSON, error) {
	lock, held, err := ipc.Inspect(s.Dir)
	if err != nil {
		return ownerJSON{}, err
	}
	db := filepath.Join(s.Dir, storage.FileName)
	if !held {
		return ownerJSON{DB: db}, nil
	}
	h := ipc.Hello{Lock: lock}
	if lock.Phase == ipc.PhaseServing {
		client := a.client(s, false)
		defer client.Close()
		if h, err = client.Hello(ctx); err != nil {
			return ownerJSON{}, err
		}
	}
	return ownerJSON{
		Running: true, PID: h.PID, Version: h.Version, Phase: h.Phase, Socket: h.Socket, DB: db,
		Live: h.Live, Queued: h.Queued, Jobs: h.Settings.Jobs, Uptime: h.Uptime,
	}, nil
}

func newDaemonStop(a *app) *cobra.Command {
	var cancel bool
	cmd := &cobra.Command{
		Use: "stop", Short: "Let the owner leave",
		Long: `Let the owner take no new work, hand over and leave; the command returns when the state
directory is free. Running tasks go on, and an owner comes back when one of them ends.
With --cancel all queued and running tasks are ended first, also those that run on
without an owner.`,
		Example:     "  cctask daemon stop\n  cctask daemon stop --cancel",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 0, ""),
		RunE: a.interruptible(func(ctx context.Context, _ []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			s.Explicit = nil // an owner that is to leave needs no other settings
			return a.stopOwner(ctx, s, cancel)
		}),
	}
	cmd.Flags().BoolVar(&cancel, "cancel", false, "cancel all queued and running tasks first")
	return cmd
}

// stopOwner looks again when the owner that it saw was gone before it could be
// asked: with --cancel its tasks are then another owner's to end.
func (a *app) stopOwner(ctx context.Context, s settings.Settings, cancel bool) error {
	for try := 1; ; try++ {
		err := a.stopOnce(ctx, s, cancel)
		if try == stopTries || !errors.Is(err, task.ErrOwnerGone) {
			return err
		}
	}
}

const stopTries = 5

func (a *app) stopOnce(ctx context.Context, s settings.Settings, cancel bool) error {
	// An owner that does not answer is Stop's to deal with.
	before, err := a.ownerStatus(ctx, s)
	absent := err == nil && !before.Running
	client := a.client(s, absent && cancel)
	defer client.Close()
	switch {
	case absent && cancel && recorded(s.Dir):
		// Tasks may run on without an owner: only an owner can end them.
		if _, err := client.Hello(ctx); err != nil {
			return err
		}
	case absent:
		_, err = fmt.Fprintf(a.Stdout, "no owner is running for %s\n", s.Dir)
		return err
	}
	if err := client.Stop(ctx, cancel); err != nil {
		return err
	}
	text := "owner has left"
	if before.Live > 0 && !cancel {
		text += fmt.Sprintf("; still running: %s", show.Plural(before.Live, "task"))
	}
	_, err = fmt.Fprintln(a.Stdout, text)
	return err
}

// recorded tells whether a state directory has ever held a task.
func recorded(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, storage.FileName))
	return !errors.Is(err, fs.ErrNotExist)
}

func newDaemonCall(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "call VERB [JSON]", Short: "Ask the owner one question in its own language",
		Long: `Send one verb of the protocol between cctask's processes to the running owner, with a JSON
value, and print its JSON answer: for looking into it by hand, and for scripts that need
what no other command shows. It starts no owner. The protocol is not stable: it grows
with cctask's version (` + "`cctask daemon status --json`" + ` names both).`,
		Example:     "  cctask daemon call hello\n  cctask daemon call get '{\"ref\": \"last\"}' | jq .spec",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, 2, "a verb"),
		ValidArgs:   ipc.Verbs(),
		RunE: a.interruptible(func(ctx context.Context, args []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			in := json.RawMessage("{}")
			if len(args) == 2 {
				in = json.RawMessage(args[1])
			}
			if !json.Valid(in) {
				return badInput("the value is not JSON", "Quote it for the shell: '{\"ref\": \"last\"}'.")
			}
			client := a.client(s, false)
			defer client.Close()
			answer, err := client.Call(ctx, args[0], in)
			if err != nil {
				return err
			}
			var shown bytes.Buffer
			if err := json.Indent(&shown, answer, "", "  "); err != nil {
				return &task.Error{Code: task.CodeInternal, Message: "the owner's answer is not JSON", Err: err, Hint: "Ask with the same version of cctask as the owner's."}
			}
			_, err = a.Stdout.Write(append(bytes.TrimSpace(shown.Bytes()), '\n'))
			return err
		}),
	}
}
