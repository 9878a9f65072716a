package foreign

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cctask/internal/testkit/fakeclaude"
)

// The official TypeScript SDK: its last line of releases for the legacy era,
// and the first for the modern one.
func TestTypeScriptSDK(t *testing.T) {
	for _, driver := range []string{"legacy", "modern"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			newMachine(t).drive(driver + ".mjs")
		})
	}
}

// drive runs a driver of testdata/foreign, and makes each check that it
// prints a test.
func (m *machine) drive(driver string) {
	m.T.Helper()
	self, err := os.Executable()
	if err != nil {
		m.T.Fatal(err)
	}
	gate := fakeclaude.NewGate(m.T)
	out, log, err := m.run([]string{"SERVER=" + self, "GATE=" + gate.Path}, m.scripts()+"/"+driver)
	checks, ended := 0, false
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "ok "); ok {
			checks++
			m.T.Run(name, func(*testing.T) {})
		} else if rest, ok := strings.CutPrefix(line, "not ok "); ok {
			checks++
			name, why, _ := strings.Cut(rest, ": ")
			m.T.Run(name, func(t *testing.T) { t.Error(why) })
		} else if line == fmt.Sprint("done ", checks) {
			ended = true
		} else {
			m.T.Errorf("the driver printed %q", line)
		}
	}
	if err != nil || !ended || checks == 0 {
		m.T.Errorf("%s: %v after %d checks\n%s", driver, err, checks, log)
	}
	m.T.Logf("%s: %d checks, %d messages of the server judged by their schema", driver, checks, m.judge())
}

// scripts is a directory with the drivers, from which node finds the packages.
func (m *machine) scripts() string {
	m.T.Helper()
	dir := m.T.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../../testdata/foreign")); err != nil {
		m.T.Fatal(err)
	}
	if err := os.Symlink(m.packages, filepath.Join(dir, "node_modules")); err != nil {
		m.T.Fatal(err)
	}
	return dir
}
