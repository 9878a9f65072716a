package e2e

import (
	"bufio"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"cctask/internal/testkit/fakeclaude"
)

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// BenchmarkFrontStarts is the time from the start of a server to its first answer.
func BenchmarkFrontStarts(b *testing.B) {
	w := newWorldWith(b, nil, fakeclaude.Binary(b))
	w.OK("list")
	for b.Loop() {
		cmd := w.Command("mcp")
		cmd.Stdin = strings.NewReader(initialize + "\n")
		out, err := cmd.StdoutPipe()
		must(b, err)
		must(b, cmd.Start())
		lines := bufio.NewScanner(out)
		lines.Scan()
		b.StopTimer()
		for lines.Scan() {
		}
		must(b, cmd.Wait())
		b.StartTimer()
	}
}

// BenchmarkFrontLeaves is the time from a client's signal to the end of a server
// that holds a call. Claude Code waits 500 ms, then it kills.
func BenchmarkFrontLeaves(b *testing.B) {
	w := newWorldWith(b, nil, fakeclaude.Binary(b))
	for b.Loop() {
		b.StopTimer()
		cmd := w.Command("mcp")
		in, err := cmd.StdinPipe()
		must(b, err)
		out, err := cmd.StdoutPipe()
		must(b, err)
		must(b, cmd.Start())
		fmt.Fprintln(in, initialize)
		fmt.Fprintln(in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		fmt.Fprintln(in, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"execute_cc_task","arguments":{"prompt":"[[hang]]","max_wait_seconds":86400}}}`)
		lines := bufio.NewScanner(out)
		lines.Scan()
		w.Eventually(func() bool { return w.Owner().Live == 1 }, "no task runs")
		b.StartTimer()
		must(b, cmd.Process.Signal(syscall.SIGINT))
		for lines.Scan() {
		}
		must(b, cmd.Wait())
		b.StopTimer()
		w.OK("cancel", "last")
		b.StartTimer()
	}
}
