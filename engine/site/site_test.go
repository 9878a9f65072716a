package site_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/site"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
	"cctask/internal/testkit/servicetest"
	"cctask/storage"
)

// The test binary is also far end, runner and the fake claude.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "_run":
		os.Exit(runner.Main(runner.Hooks{}))
	case len(os.Args) == 3 && os.Args[1] == "_site":
		if err := (&site.Far{Dir: os.Args[2]}).Serve(os.Stdin, os.Stdout); err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	case fakeclaude.Called():
		os.Exit(fakeclaude.Main())
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// hang bounds what takes long only if it hangs, however busy the machine is.
const hang = 5 * time.Minute

// hostAt is a host whose home is dir, at the end of a shell's pipe.
func hostAt(name, dir string, slots int) site.Host {
	return site.Host{Name: name, Slots: slots, Pipe: []string{"env", "-i", "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "GOCOVERDIR=" + os.Getenv("GOCOVERDIR"), "sh"}}
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// open is a site whose runs are in the homes of its hosts.
func open(t *testing.T, hosts ...site.Host) *site.Site {
	t.Helper()
	s := site.New(site.Config{
		Name: "lab", ID: "test", Hosts: hosts, Program: self(t), Claude: fakeclaude.Binary(t), Env: []string{"*"},
	})
	t.Cleanup(s.Close)
	return s
}

// runsIn is where the runs of a host with that home are.
func runsIn(home string) string { return filepath.Join(home, ".local/state/cctask-site/test/run") }

func TestEngineIsAServiceOnASite(t *testing.T) {
	servicetest.Run(t, func(t *testing.T, jobs int) engine.Service {
		home := t.TempDir()
		return onlyThere{openEngine(t, t.TempDir(), open(t, hostAt("h1", home, jobs)), home)}
	})
}

// onlyThere is an engine whose tasks all run at the site.
type onlyThere struct{ *engine.Engine }

func (e onlyThere) Submit(ctx context.Context, s engine.Submission) (task.Task, error) {
	s.Spec.Site = "lab"
	return e.Engine.Submit(ctx, s)
}

// noRetries lets every end stand: the tests are about one.
func noRetries() task.RetryPolicy { return task.RetryPolicy{"": {Attempts: new(int)}} }

func openEngine(t *testing.T, dir string, s *site.Site, homes ...string) *engine.Engine {
	t.Helper()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Config{Dir: dir, Jobs: 1, Retry: noRetries, Sites: map[string]engine.Site{"lab": s}}, db, &runner.Local{Dir: dir})
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
		for _, home := range homes {
			if left, _ := os.ReadDir(runsIn(home)); len(left) > 0 {
				t.Errorf("%d run directories are left in %s", len(left), home)
			}
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

// The binary comes to a host at first contact, once, and whole.
func TestTheBinaryIsCopiedAtFirstContact(t *testing.T) {
	home := t.TempDir()
	for range 2 {
		s := site.New(site.Config{Name: "lab", ID: "test", Hosts: []site.Host{hostAt("h1", home, 1)}, Self: self(t)})
		f, err := s.Ask(context.Background(), "~/", 0)
		if err != nil || !f.Dir {
			t.Fatalf("%+v, %v", f, err)
		}
		s.Close()
	}
	made, err := os.ReadDir(filepath.Join(home, ".cache/cctask-site"))
	if err != nil || len(made) != 1 {
		t.Errorf("made %v, %v", made, err)
	}
	want, _ := os.ReadFile(self(t))
	got, _ := os.ReadFile(filepath.Join(home, ".cache/cctask-site", made[0].Name(), "cctask"))
	if string(got) != string(want) {
		t.Errorf("it has %d bytes there, and %d here", len(got), len(want))
	}
}
