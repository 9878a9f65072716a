// Package settings is what a person has chosen of this installation: one table of
// settings, each a flag, a variable and a key of the settings file, and that file
// with the defaults of task options and the policy. It may import the owner's settings
// of internal/ipc, engine and engine/task; it must never know a verb.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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

type Settings struct {
	Dir      string
	Claude   Value // what the person named; found by FindClaude
	Embedded bool
	Console  bool // the format of a log on stderr
	Idle     time.Duration
	Owner    ipc.Settings
	Explicit []string // the names of the settings that the person gave
	rows     []Row
	File     File
}

// setting is a row of the one table of settings: its flag, its variable, its
// key in the settings file (name with _), its help and its line in doctor.
type setting struct {
	name, variable   string
	arg, usage, def  string // arg "" is a switch
	want             string // what is allowed, for a refusal
	daemon           bool   // a flag of daemon alone
	notInFile, paths bool
	set              func(s *Settings, text string) error
}

var settingTable = []setting{
	{
		name: "config", variable: "CCTASK_CONFIG", arg: "FILE", usage: "settings file", notInFile: true,
		def: "$XDG_CONFIG_HOME/cctask/config.toml or ~/.config/cctask/config.toml",
		set: func(*Settings, string) error { return nil },
	},
	{
		name: "dir", variable: "CCTASK_DIR", arg: "DIR", usage: "state directory", paths: true,
		def: "$XDG_STATE_HOME/cctask or ~/.local/state/cctask", want: "a directory that can be found from here",
		set: func(s *Settings, text string) (err error) {
			s.Dir, err = filepath.Abs(text) // an owner and a runner have another working directory
			return err
		},
	},
	{
		name: "claude", variable: "CCTASK_CLAUDE", arg: "FILE", usage: "the claude binary", def: "claude on your PATH", paths: true,
		set: func(*Settings, string) error { return nil },
	},
	{
		name: "jobs", variable: "CCTASK_JOBS", arg: "NUMBER", usage: "most tasks running at once", def: "by cores and memory",
		want: fmt.Sprintf("a number from 1 to %d, or 0 for the default", maxJobs),
		set: func(s *Settings, text string) (err error) {
			if s.Owner.Jobs, err = count(text, maxJobs); s.Owner.Jobs == 0 {
				s.Owner.Jobs = engine.DefaultJobs() // the number that an owner by default has
			}
			return err
		},
	},
	{
		name: "log-level", variable: "CCTASK_LOG", arg: "LEVEL", usage: "detail of the owner's log: debug, info, warn or error",
		def: defaultLogLevel, want: "debug, info, warn or error",
		set: func(s *Settings, text string) error {
			s.Owner.LogLevel = text
			if !slices.Contains([]string{"debug", "info", "warn", "error"}, text) {
				return errors.New("unknown")
			}
			return nil
		},
	},
	{
		name: "log-format", variable: "CCTASK_LOG_FORMAT", arg: "FORMAT", usage: "how a log on stderr looks: json, or console for people",
		def: "json", want: "json or console",
		set: func(s *Settings, text string) error {
			s.Console = text == "console"
			if !s.Console && text != "json" {
				return errors.New("unknown")
			}
			return nil
		},
	},
	{
		name: "embedded", variable: "CCTASK_EMBEDDED", usage: "run the engine inside this process instead of a background owner",
		def: "false", want: "true or false",
		set: func(s *Settings, text string) (err error) {
			s.Embedded, err = strconv.ParseBool(text)
			return err
		},
	},
	{
		name: "keep-age", variable: "CCTASK_KEEP_AGE", arg: "TIME", usage: "delete tasks that ended longer ago, 0 never",
		def: "30d", want: "a time like 30d, 2w or 12h, or 0 for ever", daemon: true,
		set: func(s *Settings, text string) error {
			return (*task.Age)(&s.Owner.KeepAge).Set(text)
		},
	},
	{
		name: "keep-count", variable: "CCTASK_KEEP_COUNT", arg: "NUMBER", usage: "keep so many ended tasks, 0 any number",
		def: "0", want: "a number of tasks, or 0 for all", daemon: true,
		set: func(s *Settings, text string) (err error) {
			s.Owner.KeepCount, err = count(text, math.MaxInt32)
			return err
		},
	},
	{
		name: "keep-size", variable: "CCTASK_KEEP_SIZE", arg: "SIZE", usage: "keep ended tasks up to a size like 10GiB, 0 any size",
		def: "0", want: "a size like 500MB or 10GiB, or 0 for no limit", daemon: true,
		set: func(s *Settings, text string) error {
			return (*task.Bytes)(&s.Owner.KeepSize).Set(text)
		},
	},
	{
		name: "idle", variable: "CCTASK_IDLE", arg: "TIME", usage: "leave after so long without work, 0 never",
		def: "5m", want: "a time like 5m, 1h or 1d, or 0 for never", daemon: true,
		set: func(s *Settings, text string) error {
			err := (*task.Age)(&s.Idle).Set(text)
			s.Owner.Idle = s.Idle.String()
			return err
		},
	},
}

func (o setting) key() string { return strings.ReplaceAll(o.name, "-", "_") }

// Flags are the settings that were given as flags. They are judged when
// they are needed, with those from elsewhere.
type Flags map[string]string

// Register adds the flags of the table: those of daemon alone, or all others.
func (f Flags) Register(fs *pflag.FlagSet, daemon bool) {
	for _, o := range settingTable {
		if o.daemon != daemon {
			continue
		}
		fs.Var(flagText{f, o}, o.name, fmt.Sprintf("%s (%s; default %s)", o.usage, o.variable, o.def))
		if o.arg == "" {
			fs.Lookup(o.name).NoOptDefVal = "true"
		}
	}
}

type flagText struct {
	to Flags
	o  setting
}

// Group is the heading of the flag in a help.
func (f flagText) Group() string  { return "Settings" }
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

// Value is a setting's text and where it was given; the zero value was not.
type Value struct{ Text, From string }

type Row struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"` // "default", a flag, a variable, or file:line:column
}

type Source struct {
	Getenv func(string) string
	Flags  Flags
}

// given is the setting's flag, else its variable, else its line in the file.
func (src Source) given(o setting, c File) Value {
	if text := src.Flags[o.name]; text != "" {
		return Value{text, "--" + o.name}
	}
	if text := src.Getenv(o.variable); text != "" {
		return Value{text, o.variable}
	}
	return c.settings[o.name]
}

// Load resolves what an owner or a front needs to know: flag, then
// environment, then settings file, then default.
func (src Source) Load() (Settings, error) {
	c, err := src.File()
	if err != nil {
		return Settings{}, err
	}
	return src.Resolve(c)
}

// Resolve is Load with a file that was read before.
func (src Source) Resolve(c File) (Settings, error) {
	s := Settings{File: c, Idle: defaultIdle, Owner: ipc.Settings{
		LogLevel: defaultLogLevel, KeepAge: defaultKeepAge, Idle: defaultIdle.String(), Config: c.Path,
	}}
	for _, o := range settingTable {
		v := src.given(o, c)
		if v.From == "" {
			s.rows = append(s.rows, Row{o.name, o.def, "default"})
			continue
		}
		if o.paths {
			v.Text = src.Homed(v.Text)
		}
		if err := o.set(&s, v.Text); err != nil || o.paths && strings.HasPrefix(v.Text, "~") {
			return s, v.refused(cmp.Or(o.want, "a path that can be found from here"))
		}
		if o.name == "claude" {
			s.Claude = v
		}
		s.rows = append(s.rows, Row{o.name, v.Text, v.From})
		s.Explicit = append(s.Explicit, o.name)
	}
	if s.Dir == "" {
		base, err := src.base("XDG_STATE_HOME", ".local/state")
		if err != nil {
			return s, task.Invalid("the state directory is unknown: HOME is not set", "Set HOME, or give --dir or CCTASK_DIR.")
		}
		s.Dir = filepath.Join(base, "cctask")
	}
	return s, nil
}

// Explain shows every setting, task default and rule with where it came from.
func (s Settings) Explain() []Row { return append(slices.Clone(s.rows), s.File.rows...) }

func (v Value) refused(want string) error {
	return task.Invalid(fmt.Sprintf("%s: %q is not %s", v.From, v.Text, want), fmt.Sprintf("Correct %s, or leave it out.", v.From))
}

// Homed writes out the home directory of a path that no shell has: to a shell
// ~ is a letter in quotes and behind an =.
func (src Source) Homed(path string) string {
	if home := src.Getenv("HOME"); filepath.IsAbs(home) && (path == "~" || strings.HasPrefix(path, "~/")) {
		return filepath.Join(home, path[1:])
	}
	return path
}

// base is a directory of the XDG specification, which tells to ignore a
// relative path.
func (src Source) base(variable, below string) (string, error) {
	if dir := src.Getenv(variable); filepath.IsAbs(dir) {
		return dir, nil
	}
	home := src.Getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", errors.New("HOME is not set")
	}
	return filepath.Join(home, below), nil
}

// FindClaude finds the claude binary of this client: the owner has another PATH.
func (src Source) FindClaude(v Value) (string, error) {
	path, err := src.LookPath(cmp.Or(v.Text, "claude"))
	switch {
	case err == nil:
		return path, nil
	case v.From == "":
		return "", task.Invalid("claude was not found on your PATH",
			"Install Claude Code (npm install -g @anthropic-ai/claude-code), or set CCTASK_CLAUDE or --claude to its path.")
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner // what the system says, without the steps that led to it
	}
	return "", task.Invalid(fmt.Sprintf("%s: %q: %v", v.From, v.Text, err), "Give the path of an executable file, or leave it out to take claude from your PATH.")
}

// LookPath is exec.LookPath for this source, with an absolute answer.
func (src Source) LookPath(name string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		path, err := filepath.Abs(name)
		if err == nil {
			path, err = exec.LookPath(path)
		}
		return path, err
	}
	for _, dir := range filepath.SplitList(src.Getenv("PATH")) {
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

func count(text string, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err == nil && (n < 0 || n > most) {
		err = errors.New("out of range")
	}
	return n, err
}

// WorkingDir is where relative paths count from, or why there is no such place:
// only who gives a relative path needs one.
func WorkingDir() (dir, nowhere string) {
	dir, err := os.Getwd()
	if err != nil {
		return "", "the current directory was removed"
	}
	return dir, ""
}
