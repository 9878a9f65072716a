package foreign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeclaude"
)

func TestMain(m *testing.M) {
	if os.Getenv(tapEnv) != "" && !fakeclaude.Called() {
		os.Exit(tap())
	}
	os.Exit(cctest.Main(m))
}

const (
	cache = "../../../.cache"
	pins  = "../../../testdata/foreign/package.json"
)

// clients is where node and the packages are.
type clients struct{ node, packages string }

var find = sync.OnceValues(func() (clients, error) {
	packages, err := filepath.Abs(cache + "/foreign/node_modules")
	if err != nil {
		return clients{}, fmt.Errorf("find the packages: %w", err)
	}
	if err := pinned(packages); err != nil {
		return clients{}, err
	}
	node, err := findNode()
	return clients{node, packages}, err
})

// pinned compares what is installed with what the tests are written against.
func pinned(packages string) error {
	type manifest struct {
		Version      string            `json:"version"`
		Dependencies map[string]string `json:"dependencies"`
	}
	read := func(file string) (m manifest, err error) {
		data, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(data, &m)
		}
		return m, err
	}
	want, err := read(pins)
	if err != nil {
		return fmt.Errorf("read the pins: %w", err)
	}
	for name, version := range want.Dependencies {
		got, err := read(filepath.Join(packages, name, "package.json"))
		if err != nil || got.Version != version {
			return fmt.Errorf("%s is %q, want %q: %w", name, got.Version, version, errors.Join(err, fs.ErrNotExist))
		}
	}
	return nil
}

// findNode gives the system's node, or the one that make installed because
// that is too old.
func findNode() (string, error) {
	var major, minor int
	if out, err := exec.Command("node", "--version").Output(); err == nil {
		if _, err := fmt.Fscanf(bytes.NewReader(out), "v%d.%d", &major, &minor); err == nil && (major > 22 || major == 22 && minor >= 19) {
			return exec.LookPath("node")
		}
	}
	own, err := filepath.Abs(cache + "/node/node_modules/node/bin/node")
	if err == nil {
		_, err = os.Stat(own)
	}
	if err != nil {
		return "", fmt.Errorf("node 22.19 or newer, the system has v%d.%d: %w", major, minor, err)
	}
	return own, nil
}

// require skips the test where the clients are not installed, and fails it in
// CI, where a silent skip would hide that nothing was tested.
func require(t *testing.T) clients {
	t.Helper()
	c, err := find()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("the foreign MCP clients are missing: %v", err)
	default:
		t.Skipf("the foreign MCP clients are missing, `make foreign` installs them: %v", err)
	}
	return c
}

// machine is a user's machine with foreign clients on it, and a scripted
// claude behind cctask.
type machine struct {
	*cctest.World
	T *testing.T
	clients
	taps string // what passed between a client and a server, a file for each server
}

func newMachine(t *testing.T, extra ...string) *machine {
	t.Helper()
	c := require(t)
	return &machine{cctest.New(t, nil, fakeclaude.Binary(t), extra...), t, c, t.TempDir()}
}

// run starts a script of node's to its end.
func (m *machine) run(env []string, script string, args ...string) (stdout, stderr string, err error) {
	m.T.Helper()
	cmd := m.Command()
	cmd.Path, cmd.Args = m.node, append([]string{"node", script}, args...)
	cmd.Env = append(append(cmd.Env, env...), tapEnv+"="+m.taps, tappedEnv+"="+cctest.Binary)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err = cmd.Run()
	return out.String(), log.String(), err
}
