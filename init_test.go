package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestInitialisationIsCheap holds what packages do before main: every front,
// owner and runner pays for it at each start. Tables, expressions and schemas are
// made on first use. What mcp-go's server needs, and the runtime, is not ours to change.
func TestInitialisationIsCheap(t *testing.T) {
	const most = 600 << 10
	exe := filepath.Join(t.TempDir(), "cctask")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	deps, err := exec.Command("go", "list", "-deps", "github.com/mark3labs/mcp-go/server").Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.Fields(string(deps))
	cmd := exec.Command(exe, "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace strings.Builder
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatalf("cctask version: %v\n%s", err, trace.String())
	}
	sum, traced := 0, 0
	var costs []string
	for line := range strings.Lines(trace.String()) {
		// init PACKAGE @0.1 ms, 0.02 ms clock, 123 bytes, 4 allocs
		f := strings.Fields(line)
		if len(f) != 11 || f[0] != "init" {
			continue
		}
		traced++
		n, err := strconv.Atoi(f[7])
		if err != nil {
			t.Fatalf("the trace's line %q: %v", line, err)
		}
		if !slices.Contains(theirs, f[1]) {
			sum += n
			costs = append(costs, f[1]+" "+f[7])
		}
	}
	if traced < 20 {
		t.Fatalf("the trace has %d packages:\n%s", traced, trace.String())
	}
	if sum > most {
		t.Errorf("packages initialise %d bytes, at most %d are wanted:\n%s", sum, most, strings.Join(costs, "\n"))
	}
	t.Logf("%d bytes at initialisation", sum)
}
