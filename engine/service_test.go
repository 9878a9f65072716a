package engine_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/internal/testkit/fakeclaude"
	"cctask/internal/testkit/farsite"
	"cctask/internal/testkit/servicetest"
	"cctask/storage"
)

// helpers are what else the test binary is, by its first argument, on systems that have it.
var helpers = map[string]func(arg string) int{}

// The test binary is also the runner and the fake claude.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "_run" {
		os.Exit(runner.Main(runner.Hooks{}))
	}
	if len(os.Args) == 3 && helpers[os.Args[1]] != nil {
		os.Exit(helpers[os.Args[1]](os.Args[2]))
	}
	if farsite.Called() {
		os.Exit(farsite.Main())
	}
	if fakeclaude.Called() {
		os.Exit(fakeclaude.Main())
	}
	// Most tests wait for processes and for time limits, not for a core.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestEngineIsAService(t *testing.T) {
	servicetest.Run(t, func(t *testing.T, jobs int) engine.Service {
		dir := t.TempDir()
		return openService(t, jobs, dir, &runner.Local{Dir: dir})
	})
}

// The same suite with runs that are reached over a pipe only.
func TestEngineIsAServiceOnAFarSite(t *testing.T) {
	servicetest.Run(t, func(t *testing.T, jobs int) engine.Service {
		c := farConfig
		c.Root = t.TempDir()
		far, err := farsite.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(far.Close)
		return openService(t, jobs, c.Root, far)
	})
}

// openService is an engine whose runs are in root when they are there.
func openService(t *testing.T, jobs int, root string, at engine.Site) engine.Service {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Config{Dir: dir, Jobs: jobs, Retry: noRetries}, db, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := e.CancelAll(ctx); err != nil {
			t.Error(err)
		}
		e.Close()
		if left, _ := os.ReadDir(filepath.Join(root, "run")); len(left) > 0 {
			t.Errorf("%d run directories are left", len(left))
		}
		if err := db.Check(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}
