package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/ipc"
	"cctask/internal/sys"
)

// runnerVerb is what an owner starts to run attempts, one after another.
const runnerVerb = "_run"

func runRunner() int {
	spare := func(dir string) []sys.Process { return spareOwner(filepath.Dir(filepath.Dir(dir)))() }
	return runner.Main(runner.Hooks{Spare: spare, Report: reportEnd})
}

// reportEnd tells the owner that a run has ended, and starts one if there is
// none. Without the means to start one (an embedded engine's runner) there is
// nobody to tell: whoever follows the run sees its lock come free.
func reportEnd(ctx context.Context, dir string, owner json.RawMessage) error {
	if len(owner) == 0 {
		return nil
	}
	var again relaunch
	if err := json.Unmarshal(owner, &again); err != nil {
		return fmt.Errorf("read how to start an owner: %w", err)
	}
	err := again.report(ctx, dir, false)
	if !errors.Is(err, task.ErrOwnerGone) {
		return err
	}
	// An owner that left since may have sealed the run: then it is not to come
	// back. Otherwise `daemon stop --cancel` would bring a new one about.
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return again.report(ctx, dir, true)
}

func (r relaunch) report(ctx context.Context, dir string, start bool) error {
	client := ipc.New(ipc.Config{Dir: r.Dir, Settings: r.Settings, Exe: r.Exe, AutoStart: start, Version: version()})
	defer client.Close()
	return client.Ended(ctx, filepath.Base(dir))
}
