package e2e

import (
	"bufio"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A real Claude Code session uses a server that it did not start, with the token
// in a header, and waits in parallel over it.
func TestRealClaudeOverHTTP(t *testing.T) {
	w := newWorld(t)
	server := w.Command("mcp", "--http", "127.0.0.1:0")
	stderr, err := server.StderrPipe()
	must(t, err)
	must(t, server.Start())
	line, err := bufio.NewReader(stderr).ReadString('\n')
	must(t, err)
	at := regexp.MustCompile(`(http://\S+), bearer token in (.+)\n`).FindStringSubmatch(line)
	if at == nil {
		t.Fatalf("it began with %q", line)
	}
	token, err := os.ReadFile(at[2])
	must(t, err)
	answer := w.played(w.outerOn(map[string]any{
		"type": "http", "url": at[1], "headers": map[string]string{"Authorization": "Bearer " + strings.TrimSpace(string(token))},
	}), `[[tools {"name":"mcp__cctask__start_cc_task_async","input":{"prompt":"[[text one]]","working_dir":"`+w.Home+`"}} {"name":"mcp__cctask__start_cc_task_async","input":{"prompt":"no directory"}}]]`+
		`[[tools {"name":"mcp__cctask__check_task_status","input":{"task_id":"${result.0.task_id}","wait_seconds":60}} {"name":"mcp__cctask__execute_cc_task","input":{"prompt":"[[text two]]","working_dir":"`+w.Home+`"}}]]`+
		`[[text ${result.1} ; ${result.2.result} and ${result.3.result}]]`)
	if !strings.Contains(answer, "Give working_dir as an absolute path") || !strings.HasSuffix(answer, "; one and two") {
		t.Error(answer)
	}
	must(t, server.Process.Signal(syscall.SIGTERM))
	if err := server.Wait(); err != nil {
		t.Error(err)
	}
}
