package ipc

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cctask/engine/task"
)

// Settings are the owner's arguments. They stand in owner.lock and in each
// launch spec, so that a runner starts the same owner again.
type Settings struct {
	Jobs      int           `json:"jobs"`       // most tasks at once; 0: by cores and memory
	LogLevel  string        `json:"log_level"`  // a zerolog level
	KeepAge   time.Duration `json:"keep_age"`   // 0: for ever
	KeepCount int           `json:"keep_count"` // 0: any number
	KeepSize  int64         `json:"keep_size"`  // bytes; 0: any size
	Idle      string        `json:"idle"`       // without work for so long it leaves; "0s": never; "": the default
	Config    string        `json:"config"`     // the settings file, from which the policy comes
}

// setting is one of the Settings under the name of its flag.
type setting struct{ name, value string }

func (s Settings) list() []setting {
	return []setting{
		{"jobs", strconv.Itoa(s.Jobs)},
		{"log-level", s.LogLevel},
		{"keep-age", task.SpanText(s.KeepAge)},
		{"keep-count", strconv.Itoa(s.KeepCount)},
		{"keep-size", strconv.FormatInt(s.KeepSize, 10)},
		{"idle", s.Idle},
		{"config", s.Config},
	}
}

func (s Settings) Values() map[string]string {
	values := map[string]string{}
	for _, v := range s.list() {
		values[v.name] = v.value
	}
	return values
}

// Args writes the settings as flags of `cctask daemon`, one argument each.
func (s Settings) Args() []string {
	var args []string
	for _, v := range s.list() {
		if v.value != "" {
			args = append(args, "--"+v.name+"="+v.value)
		}
	}
	return args
}

// differences says where the explicitly wanted settings are not the running
// ones, or "". The file is not among them: what a front reads in its own holds.
func (s Settings) differences(running Settings, explicit []string) string {
	is := running.list()
	var diffs []string
	for i, want := range s.list() {
		for _, name := range explicit {
			if name == want.name && name != "config" && want.value != is[i].value {
				diffs = append(diffs, fmt.Sprintf("--%s=%s, not --%s=%s", name, is[i].value, name, want.value))
			}
		}
	}
	return strings.Join(diffs, "; ")
}
