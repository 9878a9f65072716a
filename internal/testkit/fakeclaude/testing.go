package fakeclaude

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// LogEnv names the variable that names the log file.
const LogEnv = "CCTASK_FAKECLAUDE_LOG"

// Entry is a line of the log.
type Entry struct {
	Event  string   `json:"event"` // start, orphan or end
	PID    int      `json:"pid"`   // of the fake
	Args   []string `json:"args,omitempty"`
	Cwd    string   `json:"cwd,omitempty"`
	Env    []string `json:"env,omitempty"`
	Orphan int      `json:"orphan,omitempty"` // pid of what was left behind
	Exit   int      `json:"exit"`             // of an end
}

// logEntry appends a line in one write, so that many processes may share the log.
func logEntry(e Entry) {
	path := os.Getenv(LogEnv)
	if path == "" {
		return
	}
	e.PID = os.Getpid()
	e.Cwd, _ = os.Getwd()
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // entries hold only what JSON can hold
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.Write(append(line, '\n'))
		_ = f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fakeclaude: write the log:", err)
	}
}

// ReadLog returns the entries of one kind, or all for "". A log that does not
// exist yet is empty.
func ReadLog(path, event string) ([]Entry, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the log of the fake: %w", err)
	}
	defer f.Close()
	var list []Entry
	for dec := json.NewDecoder(bufio.NewReader(f)); dec.More(); {
		var e Entry
		if err := dec.Decode(&e); err != nil {
			return list, fmt.Errorf("read the log of the fake: %w", err)
		}
		if event == "" || e.Event == event {
			list = append(list, e)
		}
	}
	return list, nil
}

// TB is the part of testing.TB that the helpers need.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	TempDir() string
}

// Binary is the absolute path of a file named claude that starts this test
// binary. TestMain must ask Called.
func Binary(t TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatalf("find the test binary: %v", err)
	}
	path := filepath.Join(t.TempDir(), "claude")
	if err := os.Symlink(self, path); err != nil {
		t.Fatalf("name the test binary claude: %v", err)
	}
	return path
}

// Gate is a FIFO at which a fake with [[gate PATH]] waits. It works without
// time: Reached returns when a fake is there, and the fake goes on when
// the returned function is called, or when the test's process has ended.
type Gate struct{ Path string }

// NewGate makes a gate that lives as long as the test.
func NewGate(t TB) Gate {
	t.Helper()
	g := Gate{filepath.Join(t.TempDir(), "gate")}
	if err := syscall.Mkfifo(g.Path, 0o600); err != nil {
		t.Fatalf("make a gate: %v", err)
	}
	return g
}

// Directive is what to write into the prompt.
func (g Gate) Directive() string { return "[[gate " + g.Path + "]]" }

// Reached waits for a fake at the gate. Fakes that come before open is called
// go through together, later ones wait for the next Reached.
func (g Gate) Reached(ctx context.Context) (open func(), err error) {
	type opened struct {
		f   *os.File
		err error
	}
	c := make(chan opened, 1)
	go func() {
		f, err := os.OpenFile(g.Path, os.O_WRONLY, 0) // blocks until there is a reader
		c <- opened{f, err}
	}()
	select {
	case o := <-c:
		if o.err != nil {
			return nil, fmt.Errorf("wait at the gate: %w", o.err)
		}
		return func() { _ = o.f.Close() }, nil
	case <-ctx.Done():
		err := g.unblock()
		go func() { _ = (<-c).f.Close() }() // an open gate would let the next fake wait for ever
		return nil, fmt.Errorf("no fake came to the gate: %w", errors.Join(ctx.Err(), err))
	}
}

// unblock becomes a reader for a moment, for an open that nobody waits for.
func (g Gate) unblock() error {
	f, err := os.OpenFile(g.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
