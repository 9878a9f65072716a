package cli_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFirstProcessReaps has cctask be the first process of a container, to which
// falls what is orphaned: an owner that has left, what a killed runner had.
func TestFirstProcessReaps(t *testing.T) {
	t.Parallel()
	enter := []string{"--pid", "--fork", "--kill-child", "--mount-proc"}
	if out, err := exec.Command("unshare", append(enter, "true")...).CombinedOutput(); err != nil {
		t.Skipf("needs a pid namespace: %v %s", err, out)
	}
	for _, verb := range []string{"mcp", "daemon"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			cmd := front(t, verb)
			cmd.Path, cmd.Err = exec.LookPath("unshare")
			cmd.Args = append(append([]string{"unshare"}, enter...), cmd.Args...)
			if verb == "mcp" { // the owner that it starts leaves by itself
				cmd.Env = append(cmd.Env, "CCTASK_IDLE=100ms")
			}
			in, err := cmd.StdinPipe()
			check(t, err)
			out, err := cmd.StdoutPipe()
			check(t, err)
			check(t, cmd.Start())
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
			first := children(cmd.Process.Pid)
			for ; len(first) == 0; first = children(cmd.Process.Pid) {
				time.Sleep(5 * time.Millisecond)
			}
			if verb == "mcp" {
				fmt.Fprintln(in, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
				fmt.Fprintln(in, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_active_tasks","arguments":{}}}`)
				answers := bufio.NewScanner(out)
				for answers.Scan() && !strings.Contains(answers.Text(), `"id":2`) {
				}
			} else { // an orphan that enters as "docker exec" does, and forks twice
				enter := exec.Command("nsenter", "--target", first[0], "--pid", "--mount", "sh", "-c", "sleep 0.01 & setsid --fork sleep 0.01")
				if out, err := enter.CombinedOutput(); err != nil {
					t.Skipf("needs nsenter: %v %s", err, out)
				}
			}
			for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
				left := children(first[0])
				if len(left) == 0 {
					if len(children(cmd.Process.Pid)) == 0 {
						t.Error("the first process has ended")
					}
					break
				}
				if time.Now().After(end) {
					for _, pid := range left {
						stat, _ := os.ReadFile(filepath.Join("/proc", pid, "stat"))
						t.Errorf("left to the first process: %s", stat)
					}
					break
				}
			}
		})
	}
}

// children are the pids of a process's children, living and dead.
func children[P int | string](pid P) (found []string) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%v/task/*/children", pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		found = append(found, strings.Fields(string(b))...)
	}
	return found
}
