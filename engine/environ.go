package engine

import (
	"os/user"
	"slices"
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
		"CCTASK_ANCESTORS": strings.Join(ancestors(t, client), ","),
		"CCTASK_DEPTH":     strconv.Itoa(t.Depth + 1),
	}
	// Without HOME claude writes into the home of the passwd file, wherever
	// that is; the same one is named so that it is at least visible.
	if u, err := user.Current(); err == nil {
		extra["HOME"] = u.HomeDir
	}
	return claude.Environ(client, extra)
}

// ancestors are the tasks above t, as far as they are known: a client may have been
// without its marks.
func ancestors(t task.Task, client []string) []string {
	above := claude.Lineage(client)
	for _, id := range []task.ID{t.RootID, t.ParentID} {
		if id != "" && !slices.Contains(above, string(id)) {
			above = append(above, string(id))
		}
	}
	return above
}
