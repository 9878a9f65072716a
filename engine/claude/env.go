package claude

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Names of the variables that mark the processes of a task.
const (
	envTaskID = "CCTASK_TASK_ID"
	envAbove  = "CCTASK_ANCESTORS" // the tasks above that one, the outermost first
	envRun    = "CCTASK_RUN"
	envDepth  = "CCTASK_DEPTH"
)

// stripped are the variables that never reach a nested claude: those that
// claude sets for its own children (with them the nested one would take itself
// for a part of the outer session), those that silently change how it works,
// and our own markers, which only extra may set.
var stripped = []string{
	"CLAUDECODE", "AI_AGENT", "GIT_EDITOR",
	"CLAUDE_PID", "CLAUDE_EFFORT", "CLAUDE_PROJECT_DIR",
	"CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_EXECPATH",
	"CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_LAUNCHED_BY_SESSION_IDS",
	"CLAUDE_CODE_CHILD_SESSION", "CLAUDE_CODE_SESSION_ATTENDED",
	"CLAUDE_CODE_CHILD_NOTES_DIR",
	"CLAUDE_CODE_MESSAGING_SOCKET", "CLAUDE_CODE_MESSAGING_TOKEN",
	"CLAUDE_CODE_SIMPLE", "CLAUDE_CODE_SAFE_MODE", "CLAUDE_CODE_MAX_TURNS",
	envTaskID, envAbove, envRun, envDepth,
}

// Reserved tells whether no task may have a variable of that name.
func Reserved(name string) bool { return slices.Contains(stripped, name) }

// Environ gives the environment for claude: the client's without what a nested
// claude must not see, then extra, sorted by name. The last of several entries
// of one name wins; entries without a name, without "=" or with a NUL byte are
// dropped. extra["HOME"] is used only where the client has no HOME, because
// claude without one writes into the passwd entry's home.
func Environ(client []string, extra map[string]string) []string {
	env := map[string]string{}
	for _, kv := range client {
		if name, v, ok := strings.Cut(kv, "="); ok && valid(name, v) {
			env[name] = v
		}
	}
	for _, name := range stripped {
		delete(env, name)
	}
	if env["HOME"] == "" {
		delete(env, "HOME")
	}
	for name, v := range extra {
		if _, has := env["HOME"]; valid(name, v) && (name != "HOME" || !has) {
			env[name] = v
		}
	}
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

func valid(name, v string) bool {
	return name != "" && !strings.ContainsAny(name, "=\x00") && !strings.ContainsRune(v, 0)
}

// Lineage names the tasks that the client belongs to: those that started one
// another, and last its own.
func Lineage(client []string) (ids []string) {
	var above, own string
	for _, kv := range client {
		name, v, _ := strings.Cut(kv, "=")
		switch name {
		case envAbove:
			above = v
		case envTaskID:
			own = v
		}
	}
	return strings.FieldsFunc(above+","+own, func(r rune) bool { return r == ',' })
}

// Depth is how many tasks stand above the client: its CCTASK_DEPTH, 0 if there
// is none or it is malformed.
func Depth(client []string) int {
	depth := 0
	for _, kv := range client {
		if v, ok := strings.CutPrefix(kv, envDepth+"="); ok {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 {
				n = 0
			}
			depth = n
		}
	}
	return depth
}
