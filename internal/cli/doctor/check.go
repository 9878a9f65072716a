package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"

	"cctask/engine/task"
	"cctask/storage"
)

// CheckVerb is how doctor checks a database file in a process of its own.
const CheckVerb = "_check"

// RunCheck checks the file, writes what is wrong as a task.Error, and gives the exit code.
func RunCheck(path string, to io.Writer) int {
	debug.SetMaxStack(64 << 20) // a tree that leads back to itself ends in a full stack: soon, then
	err := storage.CheckFile(path)
	if err == nil {
		return 0
	}
	_ = json.NewEncoder(to).Encode(task.AsError(err)) // the exit code says it too
	return 1
}

// checkDatabaseFile is storage.CheckFile where the file may be damaged: bbolt checks
// in goroutines whose panics are the end of their process.
func checkDatabaseFile(ctx context.Context, path string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program that checks the database: %w", err)
	}
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, exe, CheckVerb, path)
	cmd.Env = append([]string{}, os.Environ()...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err == nil {
		return nil
	}
	found := &task.Error{}
	if json.Unmarshal(out, found) == nil && found.Code != "" {
		return found
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || ctx.Err() != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	why, _, _ := bytes.Cut(errs.Bytes(), []byte("\n"))
	return task.Errorf(task.CodeCorrupt, fmt.Sprintf("It was left as it is. Put back a copy of it, or move it away to begin with an empty one: mv %q %q", path, path+".damaged"),
		"the database %s is damaged: its check ended with %q", path, why)
}
