package cctest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/fakeapi"
	"cctask/internal/testkit/fakeclaude"
	"cctask/internal/testkit/realclaude"
	"cctask/storage"
)

// Binary is the cctask that all tests of a package run, built once by Main.
var Binary string

// Main builds cctask and runs the tests, for a TestMain. A test binary that was
// started as claude plays the fake one.
func Main(m *testing.M) int {
	if fakeclaude.Called() {
		return fakeclaude.Main()
	}
	DefaultSignals()
	dir, err := os.MkdirTemp("", "cctask-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	Binary = filepath.Join(dir, "cctask")
	build := exec.Command("go", "build", "-trimpath", "-o", Binary, "cctask")
	build.Env = os.Environ()
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build cctask: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// DefaultSignals makes what a test starts begin with the default dispositions,
// also where the tests run under nohup or in the background of a shell: a caught
// signal is the default one behind an exec, an ignored one is not.
func DefaultSignals() {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// Patience bounds every wait. Nothing takes as long unless it hangs, however busy
// the machine is.
const Patience = 5 * time.Minute

// World is one user on one machine: a home, a state directory, a project, and
// an API that plays scripts.
type World struct {
	T    testing.TB
	API  *fakeapi.Server // nil: there is none
	Home string
	Dir  string // state directory
	Work string // the project that tasks run in
	Env  []string
}

// New gives a world with a claude. At the test's end no process of it may be
// left, no run directory, and the database must be whole.
func New(t testing.TB, api *fakeapi.Server, claude string, extra ...string) *World {
	t.Helper()
	home := t.TempDir()
	w := &World{T: t, API: api, Home: home, Dir: filepath.Join(home, "state"), Work: filepath.Join(home, "work")}
	must(t, os.MkdirAll(w.Work, 0o755))
	must(t, NoRetries(home))
	url := ""
	if api != nil {
		url = api.URL
	}
	w.Env = append(realclaude.Env(home, url, "IS_SANDBOX=1", "CCTASK_DIR="+w.Dir, "CCTASK_CLAUDE="+claude), extra...)
	t.Cleanup(w.end)
	return w
}

// NoRetries writes a settings file into a home under which every end of a task stands:
// most tests are about one. A test of retries gives --retries; the pauses are short.
func NoRetries(home string) error {
	dir := filepath.Join(home, ".config", "cctask")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.toml"), []byte("[retry]\nattempts = 0\nbase = \"10ms\"\nmax = \"1s\"\n"), 0o600)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// end stops the owner and looks at what is left.
func (w *World) end() {
	if w.T.Failed() {
		log, _ := os.ReadFile(filepath.Join(w.Dir, "owner.log"))
		w.T.Logf("owner.log:\n%s", log)
	}
	if _, err := os.Stat(filepath.Join(w.Dir, "tasks.db")); err != nil {
		w.killLeft()
		return
	}
	if r := w.CCTask("daemon", "stop", "--cancel"); r.Code != 0 {
		w.T.Errorf("daemon stop --cancel: %s", r)
	}
	w.killLeft()
	if err := storage.CheckFile(filepath.Join(w.Dir, "tasks.db")); err != nil {
		w.T.Errorf("the database is not whole: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(w.Dir, "run")); len(left) > 0 {
		w.T.Errorf("%d run directories are left, the first is %s", len(left), left[0].Name())
	}
	if _, err := os.Stat(filepath.Join(w.Dir, "lost")); err == nil {
		w.T.Error("a run directory went to lost/")
	}
}

// killLeft fails the test for every process of this world that lives, and ends
// it. An owner lets go of its lock a moment before it exits.
func (w *World) killLeft() {
	for end := time.Now().Add(Patience); len(w.Processes()) > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	for _, p := range w.Processes() {
		w.T.Errorf("process %d is left: %s", p.PID, p.Cmd)
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
}

// Process is one of a world.
type Process struct {
	PID int
	Cmd string
}

// Processes are those with this world's HOME in their environment.
func (w *World) Processes() []Process {
	var found []Process
	dirs, err := filepath.Glob("/proc/[0-9]*/environ")
	must(w.T, err)
	for _, f := range dirs {
		env, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(append([]byte{0}, env...), []byte("\x00HOME="+w.Home+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		must(w.T, err)
		cmd, err := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
		if err != nil || pid == os.Getpid() {
			continue
		}
		found = append(found, Process{pid, strings.ReplaceAll(string(cmd), "\x00", " ")})
	}
	return found
}

// Matching are the processes whose command line has all the words.
func (w *World) Matching(words ...string) []int {
	var pids []int
next:
	for _, p := range w.Processes() {
		for _, word := range words {
			if !strings.Contains(p.Cmd, word) {
				continue next
			}
		}
		pids = append(pids, p.PID)
	}
	return pids
}

// Parent is the process that started another one: of a claude its runner.
func (w *World) Parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(w.T, err)
	// The name, in parentheses, may have spaces; the parent is the second field after it.
	parent, err := strconv.Atoi(strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[1])
	must(w.T, err)
	return parent
}

// Result is how a command went.
type Result struct {
	Args           []string
	Stdout, Stderr string
	Code           int
}

func (r Result) String() string {
	return fmt.Sprintf("cctask %s: exit %d\nstdout: %s\nstderr: %s", strings.Join(r.Args, " "), r.Code, r.Stdout, r.Stderr)
}

// Command is cctask as the user would run it in the project.
func (w *World) Command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	w.T.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, Binary, args...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = append([]string{}, w.Env...), w.Work, 5*time.Second
	return cmd
}

// CCTask runs cctask to its end.
func (w *World) CCTask(args ...string) Result { return w.CCTaskIn("", args...) }

// CCTaskIn runs cctask with an input.
func (w *World) CCTaskIn(stdin string, args ...string) Result {
	w.T.Helper()
	cmd := w.Command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.T.Fatalf("cctask %v: %v\n%s", args, err, stderr.String())
	}
	return Result{args, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// OK runs cctask, wants exit 0, and returns its stdout without the last newline.
func (w *World) OK(args ...string) string {
	w.T.Helper()
	r := w.CCTask(args...)
	if r.Code != 0 {
		w.T.Fatal(r)
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}

// Start starts a task and returns its id.
func (w *World) Start(prompt string, flags ...string) string {
	w.T.Helper()
	id := w.OK(append(append([]string{"start"}, flags...), "--", prompt)...)
	if _, err := task.ParseID(id); err != nil {
		w.T.Fatalf("start printed %q", id)
	}
	return id
}

// View is what status says of a task.
func (w *World) View(id string) task.View {
	w.T.Helper()
	return Parse[task.View](w.T, w.OK("status", id, "--json"))
}

// Wait waits for tasks and returns their views.
func (w *World) Wait(ids ...string) []task.View {
	w.T.Helper()
	if r := w.CCTask(append([]string{"wait"}, ids...)...); r.Code != 0 && r.Code != 3 {
		w.T.Fatal(r)
	}
	views := make([]task.View, len(ids))
	for i, id := range ids {
		views[i] = w.View(id)
	}
	return views
}

// Parse reads JSON, such as a command prints with --json.
func Parse[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %.500s", err, text)
	}
	return v
}

// Held waits until n requests block at a hold of the script.
func (w *World) Held(name string, n int) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	must(w.T, w.API.WaitHeld(ctx, name, n))
}

// OwnerInfo is what the owner says of itself.
type OwnerInfo struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	Socket  string `json:"socket"`
	DB      string `json:"db"`
	Live    int    `json:"live"`
	Queued  int    `json:"queued"`
}

// Owner asks the owner who it is.
func (w *World) Owner() OwnerInfo {
	w.T.Helper()
	return Parse[OwnerInfo](w.T, w.OK("daemon", "status", "--json"))
}

// Kill ends processes and waits until they are gone.
func (w *World) Kill(pids ...int) {
	w.T.Helper()
	for _, pid := range pids {
		if pid <= 0 { // kill(2) would take it for a whole group of processes, the test's own
			w.T.Fatalf("kill %d", pid)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			w.T.Fatalf("kill %d: %v", pid, err)
		}
	}
	for _, pid := range pids {
		w.Eventually(func() bool { return !Exists(pid) }, "process %d still exists", pid)
	}
}

// Exists tells whether a process lives; a zombie does not.
func Exists(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// Eventually is for what gives no signal: processes that are not ours to wait
// for, and files.
func (w *World) Eventually(cond func() bool, format string, args ...any) {
	w.T.Helper()
	for end := time.Now().Add(Patience); !cond(); {
		if time.Now().After(end) {
			w.T.Fatalf(format, args...)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
