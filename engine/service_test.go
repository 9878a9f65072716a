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
	"cctask/internal/testkit/servicetest"
	"cctask/storage"
)

// The test binary is also the runner and the fake claude.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "_run" {
		os.Exit(runner.Main(runner.Hooks{}))
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

// openEngine is an engine with its own database, checked at the end.
func openEngine(t *testing.T, dir string, cfg engine.Config) (*engine.Engine, *storage.DB) {
	t.Helper()
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dir = dir
	e, err := engine.New(cfg, db, &runner.Local{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return e, db
}

func TestEngineIsAService(t *testing.T) {
	servicetest.Run(t, func(t *testing.T, jobs int) engine.Service {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		e, db := openEngine(t, dir, engine.Config{Jobs: jobs})
		t.Cleanup(func() {
			// The test's own context has ended by now.
			ctx, cancel := context.WithTimeout(context.Background(), hang)
			defer cancel()
			if err := e.CancelAll(ctx); err != nil {
				t.Error(err)
			}
			e.Close()
			if left, _ := os.ReadDir(filepath.Join(dir, "run")); len(left) > 0 {
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
	})
}
