package engine

import (
	"os/user"
	"strconv"
	"strings"

	"cctask/engine/claude"
	"cctask/engine/task"
)

// environ is the environment of one attempt: the client's, without what claude
// sets for its own children, and with what marks the task's processes.
func environ(t task.Task, client []string) []string {
	extra := map[string]string{
		"CCTASK_TASK_ID":   string(t.ID),
		"CCTASK_ANCESTORS": strings.Join(claude.Lineage(client), ","),
		"CCTASK_DEPTH":     strconv.Itoa(claude.Depth(client) + 1),
	}
	// Without HOME claude writes into the home of the passwd file, wherever
	// that is; the same one is named so that it is at least visible.
	if u, err := user.Current(); err == nil {
		extra["HOME"] = u.HomeDir
	}
	return claude.Environ(client, extra)
}
