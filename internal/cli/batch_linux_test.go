package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cctask/internal/testkit/fakeclaude"
)

// TestEachOnATerminal: one line shows how all of them get on; Ctrl-C leaves them
// running, and the same call goes on with them.
func TestEachOnATerminal(t *testing.T) {
	t.Parallel()
	gate := fakeclaude.NewGate(t)
	file := filepath.Join(t.TempDir(), "prompts")
	check(t, os.WriteFile(file, []byte("[[is-error out of luck]]\n[[text fine]]\n"+gate.Directive()+"\n"), 0o600))
	args := []string{"start", "--jobs=1", "--wait", "--idempotency-key=k", "--each", file}
	x := onTerminal(t, front(t, args...), true)
	x.until(`\r\n\w{26}\r\n\w{26}\r\n`)
	x.until(`cctask: task \w+: failed: .*out of luck`)
	x.until(`\w{26} failed \d+ms \$0\.0100\r\n`)
	x.until(`\w{26} completed \S+ \$0\.0100\r\n`)
	x.until(`2 of 3 tasks done, 1 running, 1 failed, \$0\.\d+`)
	x.press(ctrlC)
	x.until(`interrupted; 1 task goes on`)
	x.until(`--idempotency-key k waits`)
	if code := x.code(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	y := onTerminal(t, person{t, x.cmd}.command(args...), true)
	y.until(`2 of 3 tasks done`)
	open, err := gate.Reached(t.Context())
	check(t, err)
	open()
	if code := y.code(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if n := strings.Count(x.cctask("list", "--all", "--json"), `"task_id"`); n != 3 {
		t.Errorf("%d tasks, want 3", n)
	}
}

// TestWaitOnATerminal: who watches sees that something is waited for, and how far
// it is.
func TestWaitOnATerminal(t *testing.T) {
	t.Parallel()
	gate := fakeclaude.NewGate(t)
	p := newPerson(t)
	var ids []string
	for _, prompt := range []string{"[[text fine]]", gate.Directive()} {
		ids = append(ids, strings.TrimSpace(p.cctask("start", prompt)))
	}
	open, err := gate.Reached(t.Context())
	check(t, err)
	x := onTerminal(t, p.command(append([]string{"wait"}, ids...)...), true)
	x.until(ids[0] + ` completed \S+ \$0\.0100\r\n`)
	x.until(`1 of 2 tasks done, 1 running, \$0\.\d+`)
	open()
	x.until(ids[1] + ` completed`)
	if code := x.code(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestManyAtOnce: a thousand lines keep their order, whatever order they were
// recorded in.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "[[hang]] number %d\n", i)
	}
	file := filepath.Join(t.TempDir(), "prompts")
	check(t, os.WriteFile(file, []byte(b.String()), 0o600))
	p := newPerson(t)
	ids := strings.Fields(p.cctask("start", "--jobs=1", "--each", file))
	if len(ids) != 1000 {
		t.Fatalf("%d ids", len(ids))
	}
	for _, i := range []int{0, 1, 500, 999} {
		if out := p.cctask("status", "--json", ids[i]); !strings.Contains(out, fmt.Sprintf("number %d\"", i)) {
			t.Errorf("line %d has another task's id:\n%s", i, out)
		}
	}
}
