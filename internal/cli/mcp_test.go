package cli_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cctask/internal/testkit/cctest"
)

// front starts a verb on a state directory of its own, on pipes.
func front(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	home := t.TempDir()
	state := filepath.Join(home, "state")
	if err := cctest.NoRetries(home); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cctask", args...)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "CCTASK_DIR=" + state, "GORACE=" + raceAtOnce}
	cmd.Dir = home
	t.Cleanup(func() {
		stop := exec.Command("cctask", "daemon", "stop", "--cancel")
		stop.Env = cmd.Env
		if out, err := stop.CombinedOutput(); err != nil {
			t.Errorf("daemon stop: %v\n%s", err, out)
		}
	})
	return cmd
}

// TestMCPEnds has a tool call start the owner, and a signal end the server while
// another call waits and stdin is open, in the time that a client gives.
func TestMCPEnds(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := front(t, "mcp")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewScanner(out)
		ask := func(line string) { fmt.Fprintln(in, line) }
		ask(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
		ask(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		ask(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_active_tasks","arguments":{}}}`)
		for answers.Scan() && !strings.Contains(answers.Text(), `"id":2`) {
		}
		if !strings.Contains(answers.Text(), `"tasks":[]`) {
			t.Errorf("no list of tasks: %s", answers.Text())
		}
		ask(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"execute_cc_task","arguments":{"prompt":"[[hang]]","max_wait_seconds":86400}}}`)
		ask(`{"jsonrpc":"2.0","id":4,"method":"ping"}`)
		for answers.Scan() && !strings.Contains(answers.Text(), `"id":4`) {
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		for answers.Scan() {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		// A client kills after 300 ms: see BenchmarkFrontLeaves for how long it takes.
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
