package cli_test

import (
	"flag"
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
)

// mux is a terminal of tmux, which shows what a person would see.
type mux struct {
	t      *testing.T
	socket string
	pids   string
}

// inMux runs command in a terminal of 80x24, and says afterwards in it how that
// ended and whether the terminal is as it was before.
func inMux(t *testing.T, p *exec.Cmd, command string) *mux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("tmux is missing")
		}
		t.Skip("tmux is missing: the screen of top is not looked at")
	}
	dir, err := os.MkdirTemp("", "mux") // the name of a socket must be short
	check(t, err)
	m := &mux{t, filepath.Join(dir, "s"), filepath.Join(dir, "pid")}
	t.Cleanup(func() {
		m.tmux("kill-server")
		_ = os.RemoveAll(dir)
	})
	script := fmt.Sprintf(`was=$(stty -g); sh -c 'echo $$ >%s.new; mv %[1]s.new %[1]s; %s'; echo "left $?"; `+
		`test "$was" = "$(stty -g)" && echo "as it was"; exec sleep 1000`, m.pids, command)
	cmd := exec.Command("tmux", "-u", "-S", m.socket, "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", script)
	cmd.Env, cmd.Dir = append(p.Env, "LC_ALL=C.UTF-8", "SHELL=/bin/sh"), p.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v\n%s", err, out)
	}
	return m
}

func (m *mux) tmux(args ...string) string {
	m.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-u", "-S", m.socket}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (m *mux) keys(keys ...string) { m.tmux(append([]string{"send-keys"}, keys...)...) }

// until waits for a screen that ok likes.
func (m *mux) until(what string, ok func(screen string) bool) string {
	m.t.Helper()
	for end := time.Now().Add(hang); ; time.Sleep(20 * time.Millisecond) {
		screen := m.tmux("capture-pane", "-p")
		if ok(screen) {
			return screen
		}
		if time.Now().After(end) {
			m.t.Fatalf("the screen does not show %s:\n%s", what, screen)
		}
	}
}

func (m *mux) shows(pattern string) string {
	m.t.Helper()
	return m.until(pattern, regexp.MustCompile(pattern).MatchString)
}

func (m *mux) lacks(pattern string) {
	m.t.Helper()
	re := regexp.MustCompile(pattern)
	m.until("no "+pattern, func(s string) bool { return !re.MatchString(s) })
}

// left wants top to have ended so, and the terminal clean: cooked, on its own
// screen, with the cursor.
func (m *mux) left(code int) {
	m.t.Helper()
	m.shows(fmt.Sprintf(`left %d\nas it was`, code))
	if state := strings.TrimSpace(m.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_flag}")); state != "0 1 0 0" {
		m.t.Errorf("alternate screen, cursor, mouse, keypad: %s", state)
	}
}

func (m *mux) signal(sig syscall.Signal) {
	m.t.Helper()
	text, err := os.ReadFile(m.pids)
	check(m.t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	check(m.t, err)
	check(m.t, syscall.Kill(pid, sig))
}

// moving is what differs each time, with what stands for it in as many columns.
var moving = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(` +(\d+m)?[\d.]+m?s`), "TIME"},
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-([0-9a-f]{12})?|\b[0-9a-f]{12}\b`), "SESSION"},
}

// golden compares a screen with testdata/top/name.
func golden(t *testing.T, name, screen string, ids []string) {
	t.Helper()
	for i, id := range ids {
		fixed := fmt.Sprintf("01ABCDEFGHJKMNPQRSTVWXYZ%02d", i)
		screen = strings.NewReplacer(id, fixed, id[len(id)-8:], fixed[len(fixed)-8:]).Replace(screen)
	}
	// First what is past, which is a time too.
	screen = regexp.MustCompile(`(now|\d+[sm] ago) *`).ReplaceAllStringFunc(screen, func(s string) string {
		if strings.HasSuffix(s, "  ") {
			return "AGO" + strings.Repeat(" ", len(s)-3)
		}
		return "AGO "
	})
	for _, m := range moving {
		screen = m.re.ReplaceAllStringFunc(screen, func(s string) string {
			if strings.HasPrefix(s, "  ") {
				return strings.Repeat(" ", max(0, len(s)-len(m.to))) + m.to
			}
			return s[:len(s)-len(strings.TrimLeft(s, " "))] + m.to
		})
	}
	file := filepath.Join("..", "..", "testdata", "top", name+".txt")
	if flag.Lookup("update").Value.String() == "true" {
		check(t, os.WriteFile(file, []byte(screen), 0o644))
	}
	want, err := os.ReadFile(file)
	was, is := strings.Split(string(want), "\n"), strings.Split(screen, "\n")
	for i := range max(len(was), len(is)) {
		if err != nil || i >= len(was) || i >= len(is) || was[i] != is[i] {
			t.Fatalf("%s, line %d; `go test ./internal/cli -run Top -update` writes it anew: %v\n%s", file, i+1, err, screen)
		}
	}
}

// topWorld is a person with tasks that stand still: two run, two are queued,
// three have ended.
func topWorld(t *testing.T) (p person, ids []string) {
	t.Helper()
	p = newPerson(t)
	p.cmd.Env = append(p.cmd.Env, "CCTASK_JOBS=2")
	start := func(name, prompt string) string {
		id := strings.TrimSpace(p.cctask("start", "--working-dir", "/", "--label", "nightly", "--name", name, prompt))
		ids = append(ids, id)
		return id
	}
	for _, ended := range [][2]string{
		{"changelog", "Write the changelog. [[text The changelog has 3 entries.]]"},
		{"翻訳-🚀", "README を翻訳してください。 [[text 翻訳しました。]]"},
		{"evil \u202ename", "[[text say \x1b]0;x\a]][[is-error API Error: 529 overloaded]]"},
	} {
		_ = p.command("wait", start(ended[0], ended[1])).Run() // the last one fails
	}
	says := regexp.MustCompile(`(?m)^says +Now the tests`)
	for _, name := range []string{"refactor-parser", "flaky-test"} {
		id := start(name, "Work on "+name+". [[text I look at the code first.]][[tool Bash]][[text Now the tests.]][[hang]]")
		for !says.MatchString(p.cctask("status", id)) {
			time.Sleep(20 * time.Millisecond)
		}
	}
	start("build-api", "Build the API. [[text ok]]")
	start("build-web", "Build the pages. [[text ok]]")
	return p, ids
}

// TestTopScreens is what a person sees, at two sizes, and what keys do.
func TestTopScreens(t *testing.T) {
	t.Parallel()
	p, ids := topWorld(t)
	m := inMux(t, p.cmd, "exec cctask top")
	still := func(screen string) bool {
		return strings.Contains(screen, " 0 B/s") && strings.Contains(screen, "● Bash") && strings.Contains(screen, "q quit")
	}
	golden(t, "80x24", m.until("all of it", still), ids)
	// All of the selected row is highlighted.
	if lit := m.tmux("capture-pane", "-e", "-p"); !regexp.MustCompile(`\x1b\[[0-9;]*7m(\x1b\[[34]9m)*› [^\x1b]*0 B`).MatchString(lit) {
		t.Errorf("the highlight ends within the row: %q", lit)
	}
	m.tmux("resize-window", "-x", "200", "-y", "60")
	golden(t, "200x60", m.until("the log beside the list", func(s string) bool { return strings.Contains(s, "│") && still(s) }), ids)
	m.tmux("resize-window", "-x", "80", "-y", "24")
	golden(t, "80x24", m.until("the log below the list", func(s string) bool { return !strings.Contains(s, "│") && still(s) }), ids)

	m.keys("j")
	m.shows(`› .*running +flaky-test`)
	m.keys("Tab", "Tab")
	m.shows(`\[queued 2\](.*\n)+› .*queued +build-api`)
	m.lacks(`flaky-test`)
	m.keys("BTab", "BTab", "/", "API ERR")
	m.shows(`› .*failed +evil`)
	m.keys("Enter", "Enter")
	m.shows(`── evil (.*\n)+✘ `)
	golden(t, "whole-log", m.shows(`(?s)^[^›]*Enter back[^›]*$`), ids)
	m.keys("Enter", "Escape")
	m.shows(`running +flaky-test`)
	m.keys("g", "c")
	m.shows(`Cancel refactor-parser, which is running\? y/n`)
	m.keys("y")
	m.shows(`refactor-parser is cancelled`)
	m.shows(`running +build-api|completed +build-api`) // the queue goes on
	if out := p.cctask("status", ids[3]); !strings.Contains(out, "cancelled") {
		t.Errorf("not cancelled:\n%s", out)
	}
	m.keys("/", "refactor-parser", "Enter", "R")
	m.shows(`refactor-parser is (queued|running) as attempt 2`)
	m.keys("q")
	m.left(0)
	if out := p.cctask("list"); !strings.Contains(out, "running") {
		t.Errorf("no task goes on:\n%s", out)
	}
}

// TestTopOutlivesTheOwner and shows what the next one knows.
func TestTopOutlivesTheOwner(t *testing.T) {
	t.Parallel()
	p, _ := topWorld(t)
	m := inMux(t, p.cmd, "exec cctask top")
	m.shows(`running 2 `)
	out := p.cctask("daemon", "status", "--json")
	pid, err := strconv.Atoi(regexp.MustCompile(`"pid": (\d+)`).FindStringSubmatch(out)[1])
	check(t, err)
	check(t, syscall.Kill(pid, syscall.SIGKILL))
	p.cctask("start", "--name", "later", "[[text x]]")
	m.shows(`queued +later`)
	m.lacks("reconnecting")
	m.keys("C-c")
	m.left(0)
}

// TestTopSignals: a signal ends top and leaves a clean terminal.
func TestTopSignals(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		m := inMux(t, p.cmd, "exec cctask top")
		m.shows(`No task is recorded`)
		m.signal(sig)
		m.left(130)
	}
}

func TestTopPanics(t *testing.T) {
	t.Parallel()
	m := inMux(t, newPerson(t).cmd, "panics 2>panic.txt; echo code $?; grep -c provoked panic.txt")
	m.shows(`code 1\n[1-9]\nleft 0`)
	m.left(0)
}

// TestTopRefusesADumbTerminal, which would show escapes.
func TestTopRefusesADumbTerminal(t *testing.T) {
	t.Parallel()
	cmd := front(t, "top")
	cmd.Env = append(cmd.Env, "TERM=dumb")
	x := onTerminal(t, cmd, true)
	x.until(`cctask: top cannot draw on a terminal of the type "dumb"`)
	x.until("cctask list")
	if code := x.code(); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
}
