// Package realclaude finds the real claude CLI for tests and the demo, and
// gives it an environment in which it touches nothing but a temporary home and
// a server on loopback. It may import the standard library only, must never
// know cctask or the network, and is never part of the cctask binary.
package realclaude

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// defaultVersion is the release that plain `go test` looks for.
const defaultVersion = "2.1.330"

const (
	// PathEnv names the variable that overrides where Find looks.
	PathEnv = "CCTASK_TEST_CLAUDE"
	// VersionEnv names the variable by which the Makefile tells the release under test.
	VersionEnv = "CCTASK_TEST_CLAUDE_VERSION"
)

// Version is the release that the tests run on. The Makefile installs each
// release into its own folder under .cache/claude, so that they do not replace each other.
func Version() string { return cmp.Or(os.Getenv(VersionEnv), defaultVersion) }

// Find returns the absolute path of the CLI: $CCTASK_TEST_CLAUDE, else the
// one installed under .cache/claude of the module around the working directory.
func Find() (string, error) {
	if path := os.Getenv(PathEnv); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("claude named by %s: %w", PathEnv, err)
		}
		return filepath.Abs(path)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	for _, platform := range platforms() {
		path := filepath.Join(root, ".cache/claude", Version(), "node_modules/@anthropic-ai/claude-code-"+platform, "claude")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("claude %s for %v under %s/.cache/claude: %w", Version(), platforms(), root, fs.ErrNotExist)
}

// platforms are the suffixes of the npm packages that can run here.
func platforms() []string {
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	name := runtime.GOOS + "-" + arch
	if runtime.GOOS == "linux" {
		return []string{name, name + "-musl"}
	}
	return []string{name}
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module root: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("find the module root: no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// TB is the part of testing.TB that Require needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Require returns the path of the CLI. Without one it skips the test, or
// fails it where CI=true: there a silent skip would hide that nothing was tested.
func Require(t TB) string {
	t.Helper()
	path, err := Find()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("the real claude is missing: %v", err)
	default:
		t.Skipf("the real claude is missing, `make test` installs it: %v", err)
	}
	return path
}

// Env is a whole environment for the CLI: nothing of the caller's but PATH.
// home holds everything that it writes; apiURL is a server on loopback, "" one
// that refuses every connection, for without one the CLI would call the vendor's. Of two
// settings of one variable the later one, in extra, holds. As root, permissions
// are skipped only with an extra IS_SANDBOX=1.
func Env(home, apiURL string, extra ...string) []string {
	if apiURL == "" {
		apiURL = "http://127.0.0.1:1"
	}
	return append([]string{
		"HOME=" + home,
		"PATH=" + os.Getenv("PATH"),
		"LANG=C.UTF-8",
		"TMPDIR=" + home,
		"CLAUDE_CODE_TMPDIR=" + home,
		"ANTHROPIC_API_KEY=sk-ant-fake-key-for-tests",
		"ANTHROPIC_BASE_URL=" + apiURL,
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
		"DISABLE_TELEMETRY=1",
		"DISABLE_ERROR_REPORTING=1",
		"DISABLE_AUTOUPDATER=1",
	}, extra...)
}
