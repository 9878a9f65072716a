package foreign

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"cctask/internal/testkit/mcpwire"
)

// A test binary with these in its environment is a tap: it runs the named
// program with its own arguments, passes its streams through, and records them
// in a file of the named directory.
const (
	tapEnv    = "CCTASK_FOREIGN_TAP"
	tappedEnv = "CCTASK_FOREIGN_TAPPED"
)

func tap() int {
	log, err := os.CreateTemp(os.Getenv(tapEnv), "*.txt")
	if err != nil {
		fmt.Fprintln(os.Stderr, "tap:", err)
		return 1
	}
	cmd := exec.Command(os.Getenv(tappedEnv), os.Args[1:]...)
	// What this program starts must not be taps.
	os.Unsetenv(tapEnv)
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil || cmd.Start() != nil {
		fmt.Fprintln(os.Stderr, "tap: cannot start", cmd)
		return 1
	}
	var mu sync.Mutex
	pass := func(mark string, from io.Reader, to io.Writer) {
		for r := bufio.NewReader(from); ; {
			line, err := r.ReadBytes('\n')
			if len(line) > 0 {
				mu.Lock() // a request is recorded before it can be answered
				fmt.Fprintf(log, "%s%s\n", mark, bytes.TrimSuffix(line, []byte{'\n'}))
				mu.Unlock()
				_, _ = to.Write(line)
			}
			if err != nil {
				return
			}
		}
	}
	go func() {
		pass("> ", os.Stdin, in)
		_ = in.Close()
	}()
	pass("< ", out, os.Stdout)
	_ = cmd.Wait()
	return max(cmd.ProcessState.ExitCode(), 0)
}

// judge fails the test for what the servers of this machine wrote that is not
// as the specification says, and returns the number of messages.
func (m *machine) judge() int {
	m.T.Helper()
	files, err := filepath.Glob(filepath.Join(m.taps, "*.txt"))
	if err != nil {
		m.T.Fatal(err)
	}
	n := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			m.T.Fatal(err)
		}
		var c mcpwire.Conversation
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSuffix(line, "\n")
			if said, ok := strings.CutPrefix(line, "< "); ok {
				if err := c.Received([]byte(said)); err != nil {
					m.T.Error(err)
				}
			} else {
				c.Sent([]byte(strings.TrimPrefix(line, "> ")))
			}
		}
		n += c.Judged()
	}
	return n
}
