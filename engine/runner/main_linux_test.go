package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cctask/internal/sys"
)

// quick keeps the race detector from sleeping a second at the end of each process.
const quick = "GORACE=atexit_sleep_ms=0"

var launcher = &Launcher{Env: []string{quick}}

// newLauncher is one that has hired nobody, and lets go of its own with the test.
func newLauncher(t *testing.T) *Launcher {
	l := &Launcher{Env: launcher.Env}
	t.Cleanup(l.Close)
	return l
}

// The test binary is every other process too, by its first argument.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "_run" {
		os.Exit(Main(testHooks))
	}
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "owner":
			os.Exit(ownerMain(os.Args[2:]))
		case "child":
			os.Exit(childMain(os.Args[2], os.Args[3:]))
		}
	}
	os.Exit(m.Run())
}

// testHooks read what to spare from the file "spare" beside the run directory,
// and append to "report" there if it exists, succeeding at the third try.
var testHooks = Hooks{
	Spare: func(dir string) []sys.Process { return readSpare(filepath.Join(filepath.Dir(dir), "spare")) },
	Report: func(_ context.Context, dir string, owner json.RawMessage) error {
		name := filepath.Join(filepath.Dir(dir), "report")
		if _, err := os.Stat(name); err != nil {
			return nil
		}
		held, err := lockHeld(filepath.Join(dir, lockName))
		if err != nil {
			return err
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintf(f, "%s held=%v owner=%s\n", filepath.Base(dir), held, owner)
		if b, _ := os.ReadFile(name); strings.Count(string(b), "\n") < 3 {
			return errors.New("nobody listens")
		}
		return nil
	},
}

func readSpare(name string) []sys.Process {
	var procs []sys.Process
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &procs)
	}
	if err != nil {
		return nil
	}
	return procs
}

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// child is a launch of this binary as a claude of the given kind.
func childLaunch(t *testing.T, args ...string) Launch {
	t.Helper()
	return Launch{Argv: append([]string{self(t), "child"}, args...), WorkDir: t.TempDir()}
}

// prepare makes a run that is removed, and whose tree is ended, with the test.
func prepare(t testing.TB, l Launch, prompt string) *Run {
	t.Helper()
	return prepareIn(t, t.TempDir(), l, prompt)
}

var runs atomic.Int64

// runDir is a run directory with a name that no other test has: the name is the
// mark by which a sweep knows its victims.
func runDir(base string) string {
	return filepath.Join(base, fmt.Sprintf("T%d-%d.1", os.Getpid(), runs.Add(1)))
}

func prepareIn(t testing.TB, base string, l Launch, prompt string) *Run {
	t.Helper()
	r, err := launcher.Prepare(runDir(base), l, []byte(prompt))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, r) })
	return r
}

// patience bounds what takes long only if it hangs, however busy the machine is.
const patience = 5 * time.Minute

func end(t testing.TB, r *Run) {
	t.Helper()
	if err := r.Stop(StopCancel); err != nil {
		t.Errorf("stop at the end of the test: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Wait(ctx); err != nil {
		t.Errorf("wait at the end of the test: %v", err)
	}
}

func start(t testing.TB, r *Run, env ...string) Record {
	t.Helper()
	rec, err := launcher.Start(t.Context(), r, env)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	if rec.State != StateRunning || rec.ClaudePID == 0 || rec.RunnerPID == 0 || rec.StartedAt.IsZero() {
		t.Fatalf("started with the record %+v", rec)
	}
	return rec
}

// ended waits for the end and returns the final record.
func ended(t testing.TB, r *Run) Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.Wait(ctx); err != nil {
		t.Fatalf("wait: %v", err)
	}
	rec, err := r.Record()
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// run goes the whole way.
func run(t *testing.T, l Launch, prompt string, env ...string) (*Run, Record) {
	t.Helper()
	r := prepare(t, l, prompt)
	start(t, r, env...)
	rec := ended(t, r)
	if rec.State != StateEnded || !rec.Exited {
		t.Fatalf("ended with the record %+v", rec)
	}
	return r, rec
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// until polls a condition of another process that nothing signals.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

// untilSaid waits for a line of claude's output.
func untilSaid(t *testing.T, r *Run, word string) {
	t.Helper()
	until(t, "claude says "+word, func() bool { return strings.Contains(read(t, r.Stdout()), word) })
}
