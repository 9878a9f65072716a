package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/fakeapi"
	"cctask/internal/fakeclaude"
	"cctask/internal/realclaude"
	"cctask/storage"
)

// binary is the cctask that all tests run, built once.
var binary string

func TestMain(m *testing.M) {
	if fakeclaude.Called() {
		os.Exit(fakeclaude.Main())
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cctask-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "cctask")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "cctask")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build cctask: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// patience bounds every wait. Nothing takes as long unless it hangs: two cores
// may run ten claudes at a second of processor time each.
const patience = 90 * time.Second

// world is one user on one machine: a home, a state directory, a project, and
// an API that plays scripts.
type world struct {
	t    *testing.T
	api  *fakeapi.Server
	home string
	dir  string // state directory
	work string // the project that tasks run in
	env  []string
}

// newWorld gives a world with the real CLI. At the test's end no process of it
// may be left, no run directory, and the database must be whole.
func newWorld(t *testing.T, extra ...string) *world {
	t.Helper()
	t.Parallel()
	claude := realclaude.Require(t)
	api := fakeapi.Start(t)
	return newWorldWith(t, api, claude, extra...)
}

func newWorldWith(t *testing.T, api *fakeapi.Server, claude string, extra ...string) *world {
	t.Helper()
	home := t.TempDir()
	w := &world{t: t, api: api, home: home, dir: filepath.Join(home, "state"), work: filepath.Join(home, "work")}
	must(t, os.MkdirAll(w.work, 0o755))
	url := ""
	if api != nil {
		url = api.URL
	}
	w.env = append(realclaude.Env(home, url, "IS_SANDBOX=1", "CCTASK_DIR="+w.dir, "CCTASK_CLAUDE="+claude), extra...)
	t.Cleanup(w.end)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// end stops the owner and looks at what is left.
func (w *world) end() {
	if w.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(w.dir, "owner.log"))
		w.t.Logf("owner.log:\n%s", log)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "tasks.db")); err != nil {
		w.killLeft()
		return
	}
	if r := w.cctask("daemon", "stop", "--cancel"); r.code != 0 {
		w.t.Errorf("daemon stop --cancel: %s", r)
	}
	w.killLeft()
	if err := storage.CheckFile(filepath.Join(w.dir, "tasks.db")); err != nil {
		w.t.Errorf("the database is not whole: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(w.dir, "run")); len(left) > 0 {
		w.t.Errorf("%d run directories are left, the first is %s", len(left), left[0].Name())
	}
	if _, err := os.Stat(filepath.Join(w.dir, "lost")); err == nil {
		w.t.Error("a run directory went to lost/")
	}
}

// killLeft fails the test for every process of this world that lives, and ends
// it. An owner lets go of its lock a moment before it exits.
func (w *world) killLeft() {
	for end := time.Now().Add(10 * time.Second); len(w.processes()) > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	for _, p := range w.processes() {
		w.t.Errorf("process %d is left: %s", p.pid, p.cmd)
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

type process struct {
	pid int
	cmd string
}

// processes are those with this world's HOME in their environment.
func (w *world) processes() []process {
	var found []process
	dirs, err := filepath.Glob("/proc/[0-9]*/environ")
	must(w.t, err)
	for _, f := range dirs {
		env, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(append([]byte{0}, env...), []byte("\x00HOME="+w.home+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		must(w.t, err)
		cmd, err := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
		if err != nil || pid == os.Getpid() {
			continue
		}
		found = append(found, process{pid, strings.ReplaceAll(string(cmd), "\x00", " ")})
	}
	return found
}

// matching are the processes whose command line has all the words.
func (w *world) matching(words ...string) []int {
	var pids []int
next:
	for _, p := range w.processes() {
		for _, word := range words {
			if !strings.Contains(p.cmd, word) {
				continue next
			}
		}
		pids = append(pids, p.pid)
	}
	return pids
}

type result struct {
	args           []string
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("cctask %s: exit %d\nstdout: %s\nstderr: %s", strings.Join(r.args, " "), r.code, r.stdout, r.stderr)
}

// command is cctask as the user would run it in the project.
func (w *world) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = w.env, w.work, 5*time.Second
	return cmd
}

func (w *world) cctask(args ...string) result { return w.cctaskIn("", args...) }

func (w *world) cctaskIn(stdin string, args ...string) result {
	w.t.Helper()
	cmd := w.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("cctask %v: %v\n%s", args, err, stderr.String())
	}
	return result{args, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// ok runs cctask, wants exit 0, and returns its stdout without the last newline.
func (w *world) ok(args ...string) string {
	w.t.Helper()
	r := w.cctask(args...)
	if r.code != 0 {
		w.t.Fatal(r)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// start starts a task and returns its id.
func (w *world) start(prompt string, flags ...string) string {
	w.t.Helper()
	id := w.ok(append(append([]string{"start"}, flags...), "--", prompt)...)
	if _, err := task.ParseID(id); err != nil {
		w.t.Fatalf("start printed %q", id)
	}
	return id
}

func (w *world) view(id string) task.View {
	w.t.Helper()
	return parse[task.View](w.t, w.ok("status", id, "--json"))
}

// wait waits for tasks and returns their views.
func (w *world) wait(ids ...string) []task.View {
	w.t.Helper()
	if r := w.cctask(append([]string{"wait"}, ids...)...); r.code != 0 && r.code != 3 {
		w.t.Fatal(r)
	}
	views := make([]task.View, len(ids))
	for i, id := range ids {
		views[i] = w.view(id)
	}
	return views
}

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %.500s", err, text)
	}
	return v
}

// held waits until n requests block at a hold of the script.
func (w *world) held(name string, n int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(w.t, w.api.WaitHeld(ctx, name, n))
}

type ownerInfo struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	Socket  string `json:"socket"`
	DB      string `json:"db"`
	Live    int    `json:"live"`
	Queued  int    `json:"queued"`
}

func (w *world) owner() ownerInfo {
	w.t.Helper()
	return parse[ownerInfo](w.t, w.ok("daemon", "status", "--json"))
}

func (w *world) kill(pids ...int) {
	w.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			w.t.Fatalf("kill %d: %v", pid, err)
		}
	}
	for _, pid := range pids {
		w.eventually(func() bool { return !exists(pid) }, "process %d still exists", pid)
	}
}

// exists tells whether a process lives; a zombie does not.
func exists(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// eventually is for what gives no signal: processes that are not ours to wait
// for, and files.
func (w *world) eventually(cond func() bool, format string, args ...any) {
	w.t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			w.t.Fatalf(format, args...)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
