package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cctask/internal/testkit/fakeclaude"
)

// terminal is a person at a terminal who has started a verb.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	keys *os.File
	seen chan string // what the screen got, in pieces
	text string      // all of it so far
}

// onTerminal starts cmd with a terminal as its controlling one.
func onTerminal(t *testing.T, cmd *exec.Cmd, stdin bool) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	check(t, err)
	t.Cleanup(func() { _ = master.Close() })
	check(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	check(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	check(t, err)
	defer slave.Close()

	x := &terminal{t: t, cmd: cmd, keys: master, seen: make(chan string, 1000)}
	cmd.Stdout, cmd.Stderr = slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	if stdin {
		cmd.Stdin = slave
	}
	check(t, cmd.Start())
	go func() {
		defer close(x.seen)
		for buf := make([]byte, 4096); ; {
			n, err := master.Read(buf)
			if n > 0 {
				x.seen <- string(buf[:n])
			}
			if err != nil {
				return // EIO when the last process has closed its side
			}
		}
	}()
	return x
}

// until reads the screen to a text and forgets what stood before it.
func (x *terminal) until(pattern string) string {
	x.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(hang)
	for {
		if at := re.FindStringIndex(x.text); at != nil {
			found := x.text[at[0]:at[1]]
			x.text = x.text[at[1]:]
			return found
		}
		select {
		case s, ok := <-x.seen:
			if !ok {
				x.t.Fatalf("the screen ended without %q: %q", pattern, x.text)
			}
			x.text += s
		case <-late:
			x.t.Fatalf("the screen does not show %q: %q", pattern, x.text)
		}
	}
}

func (x *terminal) press(keys string) {
	x.t.Helper()
	_, err := x.keys.WriteString(keys)
	check(x.t, err)
}

// code waits for the end.
func (x *terminal) code() int {
	x.t.Helper()
	err := x.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		x.t.Fatal(err)
	}
	return x.cmd.ProcessState.ExitCode()
}

// cctask is another command of the same person.
func (x *terminal) cctask(args ...string) string {
	x.t.Helper()
	return person{x.t, x.cmd}.cctask(args...)
}

const (
	ctrlC = "\x03"
	ctrlD = "\x04"
)

func TestCtrlC(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		stdin  bool   // the prompt is an argument, and stdin the terminal
		then   string // the answer to the question
		status string // of the task when cctask has left
	}{
		"twice cancels":                      {true, ctrlC, "cancelled"},
		"twice cancels with a piped prompt":  {false, ctrlC, "cancelled"},
		"then d leaves":                      {true, "d\n", "running"},
		"then d leaves with a piped prompt":  {false, "d\n", "running"},
		"then the terminal's end leaves":     {true, ctrlD, "running"},
		"then Enter watches on, and so over": {true, "\n" + ctrlC + "d\n", "running"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := onTerminal(t, front(t, "run", "[[hang]]"), test.stdin)
			x.until(`task \w+ running \d+s`)
			x.press(ctrlC)
			x.until(`Ctrl-C again cancels it`)
			if rest, ok := strings.CutPrefix(test.then, "\n"); ok {
				x.press("\n")
				x.until(`task \w+ running \d+s`)
				x.press(rest[:1])
				x.until(`Ctrl-C again cancels it`)
				test.then = rest[1:]
			}
			x.press(test.then)
			if code := x.code(); code != 130 {
				t.Errorf("exit code %d, want 130", code)
			}
			if out := x.cctask("list", "--all"); !strings.Contains(out, test.status) {
				t.Errorf("want the task %s:\n%s", test.status, out)
			}
		})
	}
}

// TestAnswerWhileAsked: a task that ends while the question stands is told.
func TestAnswerWhileAsked(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "gate")
	check(t, syscall.Mkfifo(fifo, 0o600))
	gate := fakeclaude.Gate{Path: fifo}
	x := onTerminal(t, front(t, "run", gate.Directive()+"[[text all \x1b[31mred]]"), true)
	x.until(`task \w+ running \d+s`)
	x.press(ctrlC)
	x.until(`Ctrl-C again cancels it`)
	open, err := gate.Reached(t.Context())
	check(t, err)
	open()
	x.until(`\nall \\x1b\[31mred\r\n`)
	if code := x.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestSignalsLeaveTheTask: without a terminal SIGINT, and anywhere SIGTERM and
// SIGHUP, leave the task running and tell its id.
func TestSignalsLeaveTheTask(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		cmd := front(t, "run", "[[hang]]")
		errs, err := cmd.StderrPipe()
		check(t, err)
		check(t, cmd.Start())
		x := &terminal{t: t, cmd: cmd, seen: make(chan string, 1000)}
		go func() {
			defer close(x.seen)
			for buf := make([]byte, 4096); ; {
				n, err := errs.Read(buf)
				x.seen <- string(buf[:n])
				if err != nil {
					return
				}
			}
		}()
		x.until(`task \w+ running`)
		check(t, cmd.Process.Signal(sig))
		id := strings.Fields(x.until(`interrupted; task \w+ goes on`))[2]
		x.until(`hint: .cctask wait ` + id)
		if code := x.code(); code != 130 {
			t.Errorf("%v: exit code %d, want 130", sig, code)
		}
		if out := x.cctask("status", id); !strings.Contains(out, "running") {
			t.Errorf("%v: the task does not go on:\n%s", sig, out)
		}
	}
}

// A person who starts the server by hand learns what it is.
func TestServerOnATerminal(t *testing.T) {
	t.Parallel()
	x := onTerminal(t, newPerson(t).command("mcp"), true)
	x.until("cctask mcp is a server for MCP clients: .* Ctrl-D ends it")
	x.press(ctrlD)
	if code := x.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestListInColour: on a terminal the status has a colour, unless NO_COLOR is set.
func TestListInColour(t *testing.T) {
	t.Parallel()
	x := onTerminal(t, front(t, "run", "[[text 1]]"), true)
	if code := x.code(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for noColor, want := range map[string]string{"": `\w  \x1b\[32mcompleted\x1b\[0m  `, "1": `\w  completed  `} {
		cmd := person{t, x.cmd}.command("list", "--all")
		cmd.Env = append(cmd.Env[:3:3], "NO_COLOR="+noColor)
		y := onTerminal(t, cmd, true)
		y.until(want)
		if code := y.code(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// TestBell: who asked for it hears the end, in a pipe nobody does.
func TestBell(t *testing.T) {
	t.Parallel()
	x := onTerminal(t, front(t, "run", "--bell", "[[text 1]]"), true)
	x.until(`\x07$`)
	if code := x.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if out := x.cctask("wait", "--bell", "last"); strings.Contains(out, "\a") {
		t.Errorf("in a pipe: %q", out)
	}
}
