package fakeclaude_test

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

	"cctask/internal/testkit/fakeclaude"
)

func TestMain(m *testing.M) {
	if fakeclaude.Called() {
		os.Exit(fakeclaude.Main())
	}
	os.Exit(m.Run())
}

const id = "0190a0aa-0000-4000-8000-000000000001"

// user is a HOME and a log.
type user struct {
	t         *testing.T
	path, dir string
}

func newUser(t *testing.T) user {
	t.Parallel()
	return user{t, fakeclaude.Binary(t), t.TempDir()}
}

func (u user) log() string { return filepath.Join(u.dir, "log") }

func (u user) command(prompt string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	u.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, u.path, append([]string{"-p", "--output-format=stream-json", "--verbose"}, args...)...)
	cmd.Dir, cmd.Stdin = u.dir, strings.NewReader(prompt)
	cmd.Env = []string{"HOME=" + u.dir, fakeclaude.LogEnv + "=" + u.log(), "GORACE=" + os.Getenv("GORACE")}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	return cmd, &out, &errs
}

type event struct {
	Type       string          `json:"type"`
	Subtype    string          `json:"subtype"`
	Result     string          `json:"result"`
	IsError    bool            `json:"is_error"`
	Turns      int             `json:"num_turns"`
	Cost       float64         `json:"total_cost_usd"`
	Session    string          `json:"session_id"`
	Structured json.RawMessage `json:"structured_output"`
	Errors     []string        `json:"errors"`
}

func (u user) run(prompt string, args ...string) (events []event, code int, stderr string) {
	u.t.Helper()
	cmd, out, errs := u.command(prompt, args...)
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		u.t.Fatal(err)
	}
	return parse(u.t, out.Bytes()), cmd.ProcessState.ExitCode(), errs.String()
}

func parse(t *testing.T, stdout []byte) (events []event) {
	t.Helper()
	for line := range bytes.Lines(stdout) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("line %.100q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

func kinds(events []event) string {
	var s []string
	for _, e := range events {
		s = append(s, strings.TrimSuffix(e.Type+"/"+e.Subtype, "/"))
	}
	return strings.Join(s, " ")
}

func TestEnds(t *testing.T) {
	u := newUser(t)
	for _, c := range []struct {
		prompt, kinds string
		code          int
		stderr        string
	}{
		{"hello", "system/init assistant result/success", 0, ""},
		{"[[text a]][[tool Bash]][[text b]]", "system/init assistant assistant assistant result/success", 0, ""},
		{"[[exit 3]]", "", 3, ""},
		{"[[text a]][[exit 3]]", "system/init assistant", 3, ""},
		{"[[no-result]]", "system/init", 0, ""},
		{"[[result one]][[result two]]", "system/init result/success result/success", 0, ""},
		{"[[is-error Not logged in]]", "system/init result/success", 1, ""},
		{"[[error error_max_turns]]", "system/init result/error_max_turns", 1, ""},
		{"[[stderr oh]][[exit 1]]", "", 1, "oh\n"},
		{`[[print {"type":"news"}]]`, "system/init news result/success", 0, ""},
		{"[[kill 9]]", "", -1, ""},
		{"[[flood 20000]][[no-result]]", "system/init" + strings.Repeat(" system/flood", 5), 0, ""},
		{"[[no-such-verb]]", "", 1, "fakeclaude: unknown directive [[no-such-verb]]\n"},
		{" \n", "", 1, "Error: Input contained only whitespace. Provide a prompt with text through stdin or as a prompt argument when using --print\n"},
	} {
		events, code, stderr := u.run(c.prompt)
		if kinds(events) != c.kinds || code != c.code || stderr != c.stderr {
			t.Errorf("%q: exit %d, %s, stderr %q; want %d, %s, %q", c.prompt, code, kinds(events), stderr, c.code, c.kinds, c.stderr)
		}
	}
}

func TestResultFields(t *testing.T) {
	u := newUser(t)
	events, _, _ := u.run(`[[turns 4]][[cost 0.5]][[structured {"a":1}]][[text done]]`, "--session-id="+id)
	last := events[len(events)-1]
	if last.Turns != 4 || last.Cost != 0.5 || string(last.Structured) != `{"a":1}` || last.Result != "done" || last.Session != id {
		t.Errorf("result %+v", last)
	}
	prompt := "a\r\n🎉 -p /x"
	if events, _, _ := u.run(prompt); events[2].Result != fakeclaude.DefaultText(prompt) {
		t.Errorf("answer %q", events[2].Result)
	}
}

func TestSessions(t *testing.T) {
	u := newUser(t)
	cost := func(prompt string, args ...string) float64 {
		t.Helper()
		events, code, stderr := u.run(prompt, args...)
		if code != 0 {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		return events[len(events)-1].Cost
	}
	if a, b := cost("[[cost 1]]", "--session-id", id), cost("[[cost 2]]", "--resume="+id); a != 1 || b != 3 {
		t.Errorf("costs %v, %v, want 1 and 3 in all", a, b)
	}
	if got := cost("[[cost 4]]", "--resume="+id, "--fork-session", "--session-id=0190a0aa-0000-4000-8000-000000000002"); got != 7 {
		t.Errorf("fork costs %v, want 7", got)
	}
	if _, code, stderr := u.run("x", "--session-id="+id); code != 1 || stderr != "Error: Session ID "+id+" is already in use.\n" {
		t.Errorf("same id again: exit %d, %q", code, stderr)
	}
	if err := os.Remove(fakeclaude.SessionFile(u.dir, id)); err != nil {
		t.Fatal(err)
	}
	want := "No conversation found with session ID: " + id
	events, code, stderr := u.run("x", "--resume="+id)
	if code != 1 || stderr != want+"\n" || kinds(events) != "result/error_during_execution" || events[0].Errors[0] != want {
		t.Errorf("lost session: exit %d, %q, %+v", code, stderr, events)
	}
	if _, code, stderr := u.run("x", "--oops=1"); code != 1 || stderr != "error: unknown option '--oops=1'\n" {
		t.Errorf("unknown option: exit %d, %q", code, stderr)
	}
}

func reached(t *testing.T, g fakeclaude.Gate) (open func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	open, err := g.Reached(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return open
}

func TestSignals(t *testing.T) {
	u := newUser(t)
	for i, c := range []struct {
		before string
		sig    syscall.Signal
		code   int
		cost   float64 // of the session afterwards
	}{
		{"", syscall.SIGTERM, 143, 1},
		{"", syscall.SIGHUP, 129, 1},
		{"", syscall.SIGINT, 0, 1},
		{"", syscall.SIGKILL, -1, 0},
		{"[[ignore-term]]", syscall.SIGTERM, 0, 1},
	} {
		g := fakeclaude.NewGate(t)
		session := fmt.Sprintf("0190a0aa-0000-4000-8000-00000000001%d", i)
		cmd, out, _ := u.command("[[cost 1]]"+c.before+g.Directive(), "--session-id="+session)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		open := reached(t, g)
		if err := cmd.Process.Signal(c.sig); err != nil {
			t.Fatal(err)
		}
		if c.before != "" {
			open() // it lives, and goes on
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%v %s: exit %d, want %d", c.sig, c.before, code, c.code)
		}
		if got := kinds(parse(t, out.Bytes())); strings.Contains(got, "result") != (c.before != "") {
			t.Errorf("%v %s: events %s", c.sig, c.before, got)
		}
		data, err := os.ReadFile(fakeclaude.SessionFile(u.dir, session))
		if want := fmt.Sprintf(`{"cost":%v}`, c.cost); err != nil || string(data) != want {
			t.Errorf("%v %s: session %s, want %s (%v)", c.sig, c.before, data, want, err)
		}
	}
}

func TestOrphans(t *testing.T) {
	u := newUser(t)
	if _, code, stderr := u.run("[[orphan plain]][[orphan setsid]][[orphan daemon]]"); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	list, err := fakeclaude.ReadLog(u.log(), "orphan")
	if err != nil || len(list) != 3 {
		t.Fatalf("%d orphans, %v", len(list), err)
	}
	for i, e := range list {
		p, _ := os.FindProcess(e.Orphan)
		if err := p.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("orphan %d does not live: %v", i, err)
		}
		sid, pgid := session(t, e.Orphan)
		if own := sid == e.Orphan; own != (i > 0) {
			t.Errorf("orphan %d: session %d, group %d of process %d", i, sid, pgid, e.Orphan)
		}
		if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", e.Orphan)); err == nil && (len(env) == 0) != (i == 2) {
			t.Errorf("orphan %d has an environment of %d bytes", i, len(env))
		}
		_ = p.Kill()
	}
}

// session reads the session and the group of a process.
func session(t *testing.T, pid int) (sid, pgid int) {
	t.Helper()
	out, err := exec.Command("ps", "-o", "sess=,pgid=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(out), &sid, &pgid); err != nil {
		t.Fatal(err)
	}
	return sid, pgid
}

func TestBytes(t *testing.T) {
	u := newUser(t)
	cmd, out, errs := u.command("[[text a]][[flood 200000]][[flood-stderr 100]][[torn]][[kill 9]]")
	if err := cmd.Run(); err == nil {
		t.Error("killed without an error")
	}
	if !bytes.Contains(out.Bytes(), fakeclaude.Flood(200000)) || bytes.HasSuffix(out.Bytes(), []byte("\n")) {
		t.Error("stdout has not the flood and a torn line")
	}
	if !bytes.Equal(errs.Bytes(), fakeclaude.Flood(100)) {
		t.Errorf("stderr %q", errs)
	}

	recording := []byte("{\"type\":\"x\"}\nnot json\n")
	if err := os.WriteFile(filepath.Join(u.dir, "recording"), recording, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, out, _ = u.command("[[replay recording]]")
	if err := cmd.Run(); err != nil || !bytes.Equal(out.Bytes(), recording) {
		t.Errorf("replay: %q, %v", out, err)
	}
}

func TestFloodLength(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 63, 64, 65, 4096, 4097, 4159, 4160, 1 << 20} {
		b := fakeclaude.Flood(n)
		if len(b) != n {
			t.Errorf("Flood(%d) has %d bytes", n, len(b))
		}
		for line := range bytes.Lines(b) {
			if !json.Valid(line) && len(bytes.TrimSpace(line)) > 0 {
				t.Errorf("Flood(%d): line %q is not JSON", n, line)
			}
		}
	}
}

func TestLog(t *testing.T) {
	u := newUser(t)
	u.run("[[exit 5]]", "--model=x")
	starts, err := fakeclaude.ReadLog(u.log(), "start")
	if err != nil || len(starts) != 1 || starts[0].Cwd != u.dir || starts[0].Args[3] != "--model=x" || starts[0].Env[0] != "HOME="+u.dir {
		t.Errorf("%+v, %v", starts, err)
	}
	ends, err := fakeclaude.ReadLog(u.log(), "end")
	if err != nil || len(ends) != 1 || ends[0].Exit != 5 || ends[0].PID != starts[0].PID {
		t.Errorf("%+v, %v", ends, err)
	}
	if none, err := fakeclaude.ReadLog(filepath.Join(u.dir, "none"), ""); err != nil || len(none) != 0 {
		t.Errorf("no log: %v, %v", none, err)
	}
}

func TestGateWithoutAFake(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := fakeclaude.NewGate(t).Reached(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Reached: %v", err)
	}
}
