package ipc

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/statedir"
)

// stateDir is an empty place for a state directory. What daemon is left there
// at the test's end is killed.
func stateDir(t testing.TB) string {
	t.Helper()
	base, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "s")
	t.Cleanup(func() {
		for {
			l, held, err := Inspect(dir)
			if err != nil || !held || l.PID == os.Getpid() {
				break
			}
			if l.alive() {
				_ = syscall.Kill(l.PID, syscall.SIGKILL)
			}
			time.Sleep(time.Millisecond)
		}
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(dir, LogName))
			t.Logf("owner.log:\n%s", b)
		}
		_ = os.RemoveAll(base)
	})
	return dir
}

func configure(t testing.TB, dir string, c daemonConfig) {
	t.Helper()
	if err := statedir.Make(dir); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fake.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// front is a client that starts owners, patient with a loaded machine.
func front(t testing.TB, dir string, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{Dir: dir, AutoStart: true}
	for _, f := range change {
		f(&cfg)
	}
	c := New(cfg)
	t.Cleanup(c.Close)
	return c
}

// hang bounds what takes long only if it hangs, however busy the machine is.
const hang = 5 * time.Minute

// within is a context that ends with the test, or when it hangs.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// serve runs an owner with a fake backend inside the test.
func serve(t testing.TB, dir string, change ...func(*Owner, *fake)) *fake {
	t.Helper()
	o, err := Acquire(within(t, hang), dir, Lock{Version: "1.0.0", Settings: Settings{Jobs: 4, LogLevel: "info"}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFake(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range change {
		ch(o, f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := o.Serve(ctx, f)
		done <- err
		_ = o.Release()
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	until(t, "the owner serves", func() bool { return o.Record().Phase != PhaseStarting })
	return f
}

// suspend stops a process and waits until it stands still.
func suspend(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, "the process is stopped", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(b), ") T ")
	})
}

// until polls where nothing signals.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func submit(t testing.TB, c *Client, prompt string) task.Task {
	t.Helper()
	tk, err := c.Submit(within(t, hang), submission(prompt))
	if err != nil {
		t.Fatalf("submit %q: %v", prompt, err)
	}
	return tk
}

func hello(t testing.TB, c *Client) Hello {
	t.Helper()
	h, err := c.Hello(within(t, hang))
	if err != nil {
		t.Fatalf("hello: %v", err)
	}
	return h
}

// owners are the processes that have served a directory.
func owners(t testing.TB, dir string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "owners"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

// prompts counts the recorded tasks by prompt.
func prompts(t testing.TB, c *Client) map[string]int {
	t.Helper()
	p, err := c.List(within(t, hang), task.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]int{}
	for _, tk := range p.Tasks {
		m[tk.PromptHead]++
	}
	return m
}
