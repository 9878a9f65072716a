package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cctask/internal/cli"
	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeclaude"
	"cctask/storage"
)

// hang bounds what takes long only if it hangs, however busy the machine is.
const hang = 5 * time.Minute

// The test binary is the command line and the claude of the scripts.
func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){
		"cctask":     cctask,
		"cctask-run": cctask, // what a runner is called
		"fill-heavy": fillHeavy,
		"claude":     func() { os.Exit(fakeclaude.Main()) },
		"panics":     panics,
	})
}

type tests struct{ *testing.M }

func (m tests) Run() int {
	cctest.DefaultSignals()
	return m.M.Run()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// raceAtOnce keeps a process with the race detector from sleeping for a second
// at its end.
const raceAtOnce = "atexit_sleep_ms=0"

func cctask() {
	code := cli.Run(context.Background(), os.Args, cli.System())
	if len(os.Args) > 1 && os.Args[1] == "daemon" {
		syscall.Exit(code) // an owner gets no GORACE; what it raced on is in its log
	}
	os.Exit(code)
}

func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("..", "..", "testdata", "script"), RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			state := filepath.Join(env.WorkDir, "state")
			env.Setenv("CCTASK_DIR", state)
			env.Setenv("GORACE", raceAtOnce)
			env.Setenv("ESC", "\x1b")
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Defer(func() { leave(env, state) })
			return cctest.NoRetries(filepath.Join(env.WorkDir, "home"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "keep": keep, "reach": reach, "phase": phase, "gate": gate, "pass": pass,
			"for-each-bad": forEachBad, "hook-event": hookEvent, "written": written, "shown": shown, "capture": capture,
			"for-each-change": forEachChange, "whole": whole, "for-each-verb": forEachVerb,
			"for-each-target": forEachTarget,
		},
	})
}

// leave ends the owner; nothing may be left, and the database must be whole.
func leave(env *testscript.Env, state string) {
	t, ok := env.T().(testing.TB)
	if !ok || !exists(filepath.Join(state, "tasks.db")) {
		return
	}
	stop := exec.Command("cctask", "daemon", "stop", "--cancel", "--dir", state)
	if out, err := stop.CombinedOutput(); err != nil {
		t.Errorf("daemon stop: %v\n%s", err, out)
	}
	if left, _ := os.ReadDir(filepath.Join(state, "run")); len(left) > 0 {
		t.Errorf("%d run directories are left", len(left))
	}
	if err := storage.CheckFile(filepath.Join(state, "tasks.db")); err != nil {
		t.Errorf("the database is not whole: %v", err)
	}
	log, _ := os.ReadFile(filepath.Join(state, "owner.log"))
	if bytes.Contains(log, []byte("DATA RACE")) || t.Failed() {
		t.Errorf("owner.log:\n%s", log)
	}
}

// code N COMMAND... runs a command and wants this exit code.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command...")
	}
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if args[0] != strconv.Itoa(got) {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// keep VAR sets a variable to the first word of the last stdout.
func keep(ts *testscript.TestScript, _ bool, args []string) {
	words := strings.Fields(ts.ReadFile("stdout"))
	if len(args) != 1 || len(words) == 0 {
		ts.Fatalf("usage: keep VAR, after a command that printed something")
	}
	ts.Setenv(args[0], words[0])
}

// reach STATUS ID waits until a task has a status; its changes are the owner's
// to tell, and status is how a person sees them.
func reach(ts *testscript.TestScript, _ bool, args []string) {
	shows(ts, fmt.Sprintf("\n  \"status\": %q", args[0]), "status", "--json", args[1])
}

// phase PHASE waits for an owner that somebody else has started.
func phase(ts *testscript.TestScript, _ bool, args []string) {
	shows(ts, fmt.Sprintf(`"phase": %q`, args[0]), "daemon", "status", "--json")
}

// shown TEXT VERB... repeats a verb until it shows the text.
func shown(ts *testscript.TestScript, _ bool, args []string) { shows(ts, args[0], args[1:]...) }

// capture VAR REGEXP sets a variable to what the group in it fits in the last
// stderr.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stderr"))
	if m == nil {
		ts.Fatalf("no match for %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

func shows(ts *testscript.TestScript, want string, args ...string) {
	for end := time.Now().Add(hang); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		ts.Check(ts.Exec("cctask", args...))
		if strings.Contains(ts.ReadFile("stdout"), want) {
			return
		}
	}
	ts.Fatalf("cctask %v does not show %s", args, want)
}

// for-each-bad DIR wants every kind of command to refuse a state directory with
// a next step, and to leave it as it is.
func forEachBad(ts *testscript.TestScript, _ bool, args []string) {
	for _, verb := range []string{"list", "start hi", "dump", "daemon", "daemon status", "daemon stop", "list --embedded"} {
		code(ts, false, append([]string{"2", "cctask", "--dir", args[0], "--claude", "/bin/true"}, strings.Fields(verb)...))
		lines := strings.Split(strings.TrimSpace(ts.ReadFile("stderr")), "\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "hint: ") || strings.Contains(last, "fault of cctask") {
			ts.Fatalf("cctask %s: no next step in %q", verb, lines)
		}
	}
}

// whole FILE checks a database.
func whole(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(storage.CheckFile(ts.MkAbs(args[0])))
}

// for-each-change ID wants every command that would change or start something to
// be refused in a restored database, and told what to do.
func forEachChange(ts *testscript.TestScript, _ bool, args []string) {
	for _, verb := range []string{"start hi", "run hi", "cancel", "resume", "retry", "rm", "rm --force"} {
		words := strings.Fields(verb)
		if !strings.HasSuffix(verb, "hi") {
			words = append(words, args[0])
		}
		code(ts, false, append([]string{"2", "cctask"}, words...))
		if got := ts.ReadFile("stderr"); !strings.Contains(got, "was restored from a dump") || !strings.Contains(got, "restore --activate --dir") {
			ts.Fatalf("cctask %s: %s", verb, got)
		}
	}
}

// gate NAME makes a FIFO at which a claude's [[gate NAME]] blocks.
func gate(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(syscall.Mkfifo(ts.MkAbs(args[0]), 0o600))
}

// hook-event FILE ID writes what Claude Code gives to the hook of a tool that
// started a task.
func hookEvent(ts *testscript.TestScript, _ bool, args []string) {
	answer := fmt.Sprintf(`{"task_id":%q,"status":"queued"}`, args[1])
	event := fmt.Sprintf(`{"hook_event_name":"PostToolUse","tool_response":%q}`, answer)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(event), 0o600))
}

// written FILE TEXT waits until a command in the background has written a text.
func written(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(hang); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if text, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(text), args[1]) {
			return
		}
	}
	ts.Fatalf("%s does not hold %s", args[0], args[1])
}

// pass NAME lets the claude at the gate go on. Opening blocks until it is there.
func pass(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	ts.Check(f.Close())
}

// forEachVerb 'MESSAGE' wants every verb to end at once, the ones that need the
// database with this error and what to do about it, first with the owner that
// had it open and then without one.
func forEachVerb(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	for range 2 {
		for _, verb := range [][]string{{"list", "--all"}, {"run", "x"}, {"status", "last"}, {"doctor"}} {
			code(ts, false, append([]string{"1", "cctask"}, verb...))
			said := ts.ReadFile("stdout") + ts.ReadFile("stderr")
			if !want.MatchString(said) || !strings.Contains(said, "to begin with an empty one: mv ") {
				ts.Fatalf("%v said: %s", verb, said)
			}
		}
		ts.Check(ts.Exec("cctask", "daemon", "status"))
		ts.Check(ts.Exec("cctask", "daemon", "stop"))
	}
}

// forEachTarget VERB wants -o to refuse each of cctask's own files, by any name.
func forEachTarget(ts *testscript.TestScript, _ bool, args []string) {
	for _, target := range []string{
		"state/tasks.db", "state/env.key", "state/owner.lock", "state/owner.log", "state/start.lock", "state/http.token",
		"state/new.html", "state/run/x", "elsewhere/new.html", "other/tasks.db", "other/new.html",
		"home/link", "hard", "copy.db", "settings.toml",
	} {
		code(ts, false, append(append([]string{"2", "cctask"}, strings.Fields(args[0])...), "-o", target))
		if said := ts.ReadFile("stderr"); !strings.Contains(said, "is a file of cctask's own") || !strings.Contains(said, "hint: Write to a file that may be replaced") {
			ts.Fatalf("-o %s: %s", target, said)
		}
	}
}
