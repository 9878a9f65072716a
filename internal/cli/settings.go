package cli

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/ipc"
)

// maxJobs bounds the pool: more processes than this no machine of one person holds.
const maxJobs = 1000

const (
	defaultKeepAge  = 30 * 24 * time.Hour
	defaultIdle     = 5 * time.Minute
	defaultLogLevel = "info"
)

// settings are the resolved settings of a front.
type settings struct {
	dir      string
	claude   value // what the person named; found by findClaude
	embedded bool
	console  bool // the format of a log on stderr
	idle     time.Duration
	owner    ipc.Settings
	explicit []string // the names of the settings that the person gave
	rows     []Row
	config   config
}

// setting is a row of the one table of settings: its flag, its variable, its
// key in the settings file (name with _), its help and its line in doctor.
type setting struct {
	name, variable   string
	arg, usage, def  string // arg "" is a switch
	want             string // what is allowed, for a refusal
	daemon           bool   // a flag of daemon alone
	notInFile, paths bool
	set              func(s *settings, text string) error
}

var settingTable = []setting{
	{
		name: "config", variable: "CCTASK_CONFIG", arg: "FILE", usage: "settings file", notInFile: true,
		def: "$XDG_CONFIG_HOME/cctask/config.toml or ~/.config/cctask/config.toml",
		set: func(*settings, string) error { return nil },
	},
	{
		name: "dir", variable: "CCTASK_DIR", arg: "DIR", usage: "state directory", paths: true,
		def: "$XDG_STATE_HOME/cctask or ~/.local/state/cctask", want: "a directory that can be found from here",
		set: func(s *settings, text string) (err error) {
			s.dir, err = filepath.Abs(text) // an owner and a runner have another working directory
			return err
		},
	},
	{
		name: "claude", variable: "CCTASK_CLAUDE", arg: "FILE", usage: "the claude binary", def: "claude on your PATH", paths: true,
		set: func(*settings, string) error { return nil },
	},
	{
		name: "jobs", variable: "CCTASK_JOBS", arg: "NUMBER", usage: "most tasks running at once", def: "by cores and memory",
		want: fmt.Sprintf("a number from 1 to %d, or 0 for the default", maxJobs),
		set: func(s *settings, text string) (err error) {
			if s.owner.Jobs, err = count(text, maxJobs); s.owner.Jobs == 0 {
				s.owner.Jobs = engine.DefaultJobs() // the number that an owner by default has
			}
			return err
		},
	},
	{
		name: "log-level", variable: "CCTASK_LOG", arg: "LEVEL", usage: "detail of the owner's log: debug, info, warn or error",
		def: defaultLogLevel, want: "debug, info, warn or error",
		set: func(s *settings, text string) error {
			s.owner.LogLevel = text
			if !slices.Contains([]string{"debug", "info", "warn", "error"}, text) {
				return errors.New("unknown")
			}
			return nil
		},
	},
	{
		name: "log-format", variable: "CCTASK_LOG_FORMAT", arg: "FORMAT", usage: "how a log on stderr looks: json, or console for people",
		def: "json", want: "json or console",
		set: func(s *settings, text string) error {
			s.console = text == "console"
			if !s.console && text != "json" {
				return errors.New("unknown")
			}
			return nil
		},
	},
	{
		name: "embedded", variable: "CCTASK_EMBEDDED", usage: "run the engine inside this process instead of a background owner",
		def: "false", want: "true or false",
		set: func(s *settings, text string) (err error) {
			s.embedded, err = strconv.ParseBool(text)
			return err
		},
	},
	{
		name: "keep-age", variable: "CCTASK_KEEP_AGE", arg: "TIME", usage: "delete tasks that ended longer ago, 0 never",
		def: "30d", want: "a time like 30d, 2w or 12h, or 0 for ever", daemon: true,
		set: func(s *settings, text string) error {
			return (*task.Age)(&s.owner.KeepAge).Set(text)
		},
	},
	{
		name: "keep-count", variable: "CCTASK_KEEP_COUNT", arg: "NUMBER", usage: "keep so many ended tasks, 0 any number",
		def: "0", want: "a number of tasks, or 0 for all", daemon: true,
		set: func(s *settings, text string) (err error) {
			s.owner.KeepCount, err = count(text, math.MaxInt32)
			return err
		},
	},
	{
		name: "keep-size", variable: "CCTASK_KEEP_SIZE", arg: "SIZE", usage: "keep ended tasks up to a size like 10GiB, 0 any size",
		def: "0", want: "a size like 500MB or 10GiB, or 0 for no limit", daemon: true,
		set: func(s *settings, text string) error {
			return (*task.Bytes)(&s.owner.KeepSize).Set(text)
		},
	},
	{
		name: "idle", variable: "CCTASK_IDLE", arg: "TIME", usage: "leave after so long without work, 0 never",
		def: "5m", want: "a time like 5m, 1h or 1d, or 0 for never", daemon: true,
		set: func(s *settings, text string) error {
			err := (*task.Age)(&s.idle).Set(text)
			s.owner.Idle = s.idle.String()
			return err
		},
	},
}

// key is the setting's name in the settings file.
func (o setting) key() string { return strings.ReplaceAll(o.name, "-", "_") }

// flagTexts are the settings that were given as flags. They are judged when
// they are needed, with those from elsewhere.
type flagTexts map[string]string

// register adds the flags of the table: those of daemon alone, or all others.
func (f flagTexts) register(fs *pflag.FlagSet, daemon bool) {
	for _, o := range settingTable {
		if o.daemon != daemon {
			continue
		}
		fs.Var(flagText{f, o}, o.name, fmt.Sprintf("%s (%s; default %s)", o.usage, o.variable, o.def))
		fs.Lookup(o.name).Annotations = map[string][]string{groupAnnotation: {"Settings"}}
		if o.arg == "" {
			fs.Lookup(o.name).NoOptDefVal = "true"
		}
	}
}

type flagText struct {
	to flagTexts
	o  setting
}

func (f flagText) String() string { return "" }
func (f flagText) Type() string   { return cmp.Or(f.o.arg, "bool") }

func (f flagText) Set(text string) error {
	// An unset variable of a script must not lead to another place, or away from a policy.
	if text == "" {
		return errors.New("is empty")
	}
	f.to[f.o.name] = text
	return nil
}

// value is a setting's text and where it was given; the zero value was not.
type value struct{ text, from string }

// Row is what doctor shows of a setting.
type Row struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"` // "default", a flag, a variable, or file:line:column
}

// given is the setting's flag, else its variable, else its line in the file.
func (a *app) given(o setting, c config) value {
	if text := a.flags[o.name]; text != "" {
		return value{text, "--" + o.name}
	}
	if text := a.Getenv(o.variable); text != "" {
		return value{text, o.variable}
	}
	return c.settings[o.name]
}

// settings resolves what an owner or a front needs to know: flag, then
// environment, then settings file, then default.
func (a *app) settings() (settings, error) {
	c, err := a.config()
	if err != nil {
		return settings{}, err
	}
	return a.resolve(c)
}

func (a *app) resolve(c config) (settings, error) {
	s := settings{config: c, idle: defaultIdle, owner: ipc.Settings{
		LogLevel: defaultLogLevel, KeepAge: defaultKeepAge, Idle: defaultIdle.String(), Config: c.path,
	}}
	for _, o := range settingTable {
		v := a.given(o, c)
		if v.from == "" {
			s.rows = append(s.rows, Row{o.name, o.def, "default"})
			continue
		}
		if o.paths {
			v.text = a.homed(v.text)
		}
		if err := o.set(&s, v.text); err != nil || o.paths && strings.HasPrefix(v.text, "~") {
			return s, v.refused(cmp.Or(o.want, "a path that can be found from here"))
		}
		if o.name == "claude" {
			s.claude = v
		}
		s.rows = append(s.rows, Row{o.name, v.text, v.from})
		s.explicit = append(s.explicit, o.name)
	}
	if s.dir == "" {
		base, err := a.base("XDG_STATE_HOME", ".local/state")
		if err != nil {
			return s, badInput("the state directory is unknown: HOME is not set", "Set HOME, or give --dir or CCTASK_DIR.")
		}
		s.dir = filepath.Join(base, "cctask")
	}
	return s, nil
}

// Explain shows every setting, task default and rule with where it came from.
func (s settings) Explain() []Row { return append(slices.Clone(s.rows), s.config.rows...) }

func (v value) refused(want string) error {
	return badInput(fmt.Sprintf("%s: %q is not %s", v.from, v.text, want), fmt.Sprintf("Correct %s, or leave it out.", v.from))
}

// homed writes out the home directory of a path that no shell has: to a shell
// ~ is a letter in quotes and behind an =.
func (a *app) homed(path string) string {
	if home := a.Getenv("HOME"); filepath.IsAbs(home) && (path == "~" || strings.HasPrefix(path, "~/")) {
		return filepath.Join(home, path[1:])
	}
	return path
}

// base is a directory of the XDG specification, which tells to ignore a
// relative path.
func (a *app) base(variable, below string) (string, error) {
	if dir := a.Getenv(variable); filepath.IsAbs(dir) {
		return dir, nil
	}
	home := a.Getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", errors.New("HOME is not set")
	}
	return filepath.Join(home, below), nil
}

// findClaude finds the claude binary of this client: the owner has another PATH.
func (a *app) findClaude(v value) (string, error) {
	path, err := a.lookPath(cmp.Or(v.text, "claude"))
	switch {
	case err == nil:
		return path, nil
	case v.from == "":
		return "", badInput("claude was not found on your PATH",
			"Install Claude Code (npm install -g @anthropic-ai/claude-code), or set CCTASK_CLAUDE or --claude to its path.")
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner // what the system says, without the steps that led to it
	}
	return "", badInput(fmt.Sprintf("%s: %q: %v", v.from, v.text, err), "Give the path of an executable file, or leave it out to take claude from your PATH.")
}

// ofThisFront is what a resumed or retried task gets of this front: its claude
// only where the person named one.
func (a *app) ofThisFront() (engine.Again, error) {
	s, err := a.settings()
	again := engine.Again{Env: a.Environ(), Limits: callerLimits(), Policy: s.config.policy}
	if err == nil && s.claude.from != "" {
		again.Claude, err = a.findClaude(s.claude)
	}
	return again, err
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

// registerSettings adds the flags that every verb takes.
func (a *app) registerSettings(root *cobra.Command) {
	if a.flags == nil {
		a.flags = flagTexts{}
	}
	a.flags.register(root.PersistentFlags(), false)
}
