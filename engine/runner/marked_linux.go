package runner

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Marked lists the processes of this user that carry a run's marker, by the
// base name of the run directory.
func Marked() (map[string][]MarkedProc, error) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := map[string][]MarkedProc{}
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err != nil {
			continue // another user's, or gone
		}
		dir := filepath.Dir(file)
		for _, entry := range bytes.Split(env, []byte{0}) {
			name, ok := bytes.CutPrefix(entry, []byte(MarkerVar+"="))
			if !ok {
				continue
			}
			pid, _ := strconv.Atoi(filepath.Base(dir))
			comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
			all[string(name)] = append(all[string(name)], MarkedProc{pid, string(bytes.TrimSpace(comm))})
		}
	}
	return all, nil
}
