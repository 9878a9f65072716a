package engine

import (
	"os/user"
	"slices"
	"strconv"
	"strings"

	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/engine/worktree"
)

// maxRetries is how often claude itself asks the API again.
const maxRetries = "CLAUDE_CODE_MAX_RETRIES"

// environ is the environment of one attempt: the client's, without what claude
// sets for its own children, and with what marks the task's processes.
// again tells that the task may be tried again after its end.
func environ(t task.Task, client []string, again bool) []string {
	extra := map[string]string{
		"CCTASK_TASK_ID":   string(t.ID),
		"CCTASK_ANCESTORS": strings.Join(ancestors(t, client), ","),
		"CCTASK_DEPTH":     strconv.Itoa(t.Depth + 1),
	}
	if again && !slices.ContainsFunc(client, func(kv string) bool { return strings.HasPrefix(kv, maxRetries+"=") }) {
		// The engine tries again, which sees the whole queue: claude by itself would
		// spend minutes in a slot.
		extra[maxRetries] = "2"
	}
	if t.Worktree != nil { // a hook of git's may have submitted it
		client = worktree.Environ(client)
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
