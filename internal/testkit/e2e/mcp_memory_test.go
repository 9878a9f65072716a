package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeapi"
)

// Whatever a client sends, and if it never reads an answer, its server stays
// under 100 MB, code and all.
func TestMCPServerMemoryIsBounded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	const line = 16 << 20
	message := func(id int, method, params string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":{%s}}`+"\n", id, method, params)
	}
	call := func(id int, pad string) string {
		return message(id, "tools/call", `"name":"list_active_tasks","arguments":{"label":"`+pad+`"}`)
	}
	long := strings.Repeat("x", line-200)
	for name, c := range map[string]struct {
		reads bool
		n     int
		line  func(i int) string
	}{
		"lines of 16 MiB":         {true, 6, func(i int) string { return call(i, long) }},
		"longer lines":            {true, 3, func(i int) string { return call(i, long+long) }},
		"garbage":                 {true, 10_000, func(int) string { return "{[\"garbage\x00\xff" + long[:1000] + "\n" }},
		"one id":                  {true, 10_000, func(int) string { return call(7, long[:1000]) }},
		"never reads":             {false, 1 << 30, func(i int) string { return message(i, "tools/list", `"pad":"`+long[:50_000]+`"`) }},
		"never reads, long lines": {false, 1 << 30, func(i int) string { return message(i, "tools/list", `"pad":"`+long+`"`) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, fakeapi.Start(t), os.Args[0])
			cmd := w.Command("mcp")
			peak := feed(t, cmd, c.reads, c.n, c.line)
			t.Logf("%d MB", peak/1000)
			if peak > 100_000 {
				t.Errorf("the server grew to %d MB", peak/1000)
			}
		})
	}
}

// feed sends n lines to a server and gives its peak of resident memory, in kB:
// after it has answered the ping behind them or, if the client does not read,
// when it takes no more.
func feed(t *testing.T, cmd *exec.Cmd, reads bool, n int, line func(int) string) (peak int) {
	t.Helper()
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	answered, patience := make(chan struct{}), cctest.Patience
	if reads {
		go func() {
			defer close(answered)
			for lines := bufio.NewReader(out); ; {
				if s, err := lines.ReadString('\n'); err != nil || strings.Contains(s, `"id":"last"`) {
					return
				}
			}
		}()
	} else {
		patience = 2 * time.Second // nothing signals that it takes no more
	}
	wrote := make(chan struct{}, 1)
	go func() {
		for i := range n {
			if _, err := io.WriteString(in, line(i)); err != nil {
				return
			}
			wrote <- struct{}{}
		}
		_, _ = io.WriteString(in, `{"jsonrpc":"2.0","id":"last","method":"ping"}`+"\n")
	}()
	for over := false; !over; {
		select {
		case <-wrote:
		case <-answered:
			over = true
		case <-time.After(patience):
			if over = true; reads {
				t.Error("the ping was not answered")
			}
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	must(t, err)
	_, high, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(high, &peak); err != nil {
		t.Fatalf("%v in %s", err, status)
	}
	return peak
}
