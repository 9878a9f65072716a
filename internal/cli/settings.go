package cli

import (
	"errors"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/internal/ipc"
)

// globalFlags are the settings that every verb takes. Each has a variable that
// counts where the flag is not given.
type globalFlags struct {
	dir, claude, logLevel string
	jobs                  string
	embedded              bool
	// The owner's alone: flags of daemon, variables elsewhere.
	keepAge, keepCount, keepSize string
}

func (g *globalFlags) register(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&g.dir, "dir", "", "state `DIR` (CCTASK_DIR; default $XDG_STATE_HOME/cctask or ~/.local/state/cctask)")
	f.StringVar(&g.claude, "claude", "", "`FILE` of the claude binary (CCTASK_CLAUDE; default claude on your PATH)")
	f.StringVar(&g.jobs, "jobs", "", "most tasks running at once, a `NUMBER` (CCTASK_JOBS; default by cores and memory)")
	f.StringVar(&g.logLevel, "log-level", "", "`LEVEL` of the owner's log: debug, info, warn or error (CCTASK_LOG; default info)")
	f.BoolVar(&g.embedded, "embedded", false, "run the engine inside this process instead of a background owner")
}

// maxJobs bounds the pool: more processes than this no machine of one person holds.
const maxJobs = 1000

const (
	defaultKeepAge  = 30 * 24 * time.Hour
	defaultLogLevel = "info"
)

// settings are the resolved settings of a front.
type settings struct {
	dir      string
	owner    ipc.Settings
	explicit []string // the names of the owner's settings that the person gave
}

// value is a setting's text and the name under which it was given; "" if it was not.
func (a *app) value(flag, flagName, variable string) (text, name string) {
	if flag != "" {
		return flag, flagName
	}
	if v := a.Getenv(variable); v != "" {
		return v, variable
	}
	return "", ""
}

// settings resolves what an owner or a front needs to know: flag, then
// environment, then default.
func (a *app) settings() (settings, error) {
	s := settings{owner: ipc.Settings{LogLevel: defaultLogLevel, KeepAge: defaultKeepAge}}
	var err error
	if s.dir, err = a.stateDir(); err != nil {
		return s, err
	}
	for _, o := range a.ownerSettings(&s.owner) {
		text, name := a.value(o.flag, "--"+o.name, o.variable)
		if name == "" {
			continue
		}
		if err := o.set(text); err != nil {
			return s, badInput(fmt.Sprintf("%s: %q is not %s", name, text, o.want), fmt.Sprintf("Correct %s, or leave it out.", name))
		}
		s.explicit = append(s.explicit, o.name)
	}
	return s, nil
}

// ownerSetting is one of the settings that an owner is started with.
type ownerSetting struct {
	name, flag, variable, want string
	set                        func(text string) error
}

func (a *app) ownerSettings(s *ipc.Settings) []ownerSetting {
	f := &a.flags
	return []ownerSetting{
		{"jobs", f.jobs, "CCTASK_JOBS", fmt.Sprintf("a number from 1 to %d, or 0 for the default", maxJobs), func(text string) (err error) {
			if s.Jobs, err = count(text, maxJobs); s.Jobs == 0 {
				s.Jobs = engine.DefaultJobs() // the number that an owner by default has
			}
			return err
		}},
		{"log-level", f.logLevel, "CCTASK_LOG", "debug, info, warn or error", func(text string) error {
			s.LogLevel = text
			if !slices.Contains([]string{"debug", "info", "warn", "error"}, text) {
				return errors.New("unknown")
			}
			return nil
		}},
		{"keep-age", f.keepAge, "CCTASK_KEEP_AGE", "a time like 30d or 12h, or 0 for ever", func(text string) (err error) {
			s.KeepAge, err = parseAge(text)
			return err
		}},
		{"keep-count", f.keepCount, "CCTASK_KEEP_COUNT", "a number of tasks, or 0 for all", func(text string) (err error) {
			s.KeepCount, err = count(text, math.MaxInt32)
			return err
		}},
		{"keep-size", f.keepSize, "CCTASK_KEEP_SIZE", "a size like 500MB or 10GiB, or 0 for no limit", func(text string) (err error) {
			s.KeepSize, err = parseSize(text)
			return err
		}},
	}
}

// stateDir is where everything is kept, as an absolute path: an owner and a
// runner have another working directory.
func (a *app) stateDir() (string, error) {
	dir, _ := a.value(a.flags.dir, "--dir", "CCTASK_DIR")
	if dir == "" {
		// The specification tells to ignore a relative XDG path.
		if base := a.Getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
			return filepath.Join(base, "cctask"), nil
		}
		home := a.Getenv("HOME")
		if !filepath.IsAbs(home) {
			return "", badInput("the state directory is unknown: HOME is not set", "Set HOME, or give --dir or CCTASK_DIR.")
		}
		return filepath.Join(home, ".local", "state", "cctask"), nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", badInput(fmt.Sprintf("the state directory %q cannot be found from here: %v", dir, err), "Give --dir as an absolute path.")
	}
	return abs, nil
}

// claudePath finds the claude binary of this client: the owner has another PATH.
func (a *app) claudePath() (string, error) {
	text, name := a.value(a.flags.claude, "--claude", "CCTASK_CLAUDE")
	if name == "" {
		text = "claude"
	}
	path, err := a.lookPath(text)
	switch {
	case err == nil:
		return path, nil
	case name == "":
		return "", badInput("claude was not found on your PATH",
			"Install Claude Code (npm install -g @anthropic-ai/claude-code), or set CCTASK_CLAUDE or --claude to its path.")
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner // what the system says, without the steps that led to it
	}
	return "", badInput(fmt.Sprintf("%s: %q: %v", name, text, err), "Give the path of an executable file, or leave it out to take claude from your PATH.")
}

// explicitClaude is the claude that the person named, or "" for the task's own.
func (a *app) explicitClaude() (string, error) {
	if _, name := a.value(a.flags.claude, "--claude", "CCTASK_CLAUDE"); name == "" {
		return "", nil
	}
	return a.claudePath()
}

// lookPath is exec.LookPath for this Env, with an absolute answer.
func (a *app) lookPath(name string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		path, err := filepath.Abs(name)
		if err == nil {
			path, err = exec.LookPath(path)
		}
		return path, err
	}
	for _, dir := range filepath.SplitList(a.Getenv("PATH")) {
		// An empty or relative entry would run what lies in a project's directory.
		if !filepath.IsAbs(dir) {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}
