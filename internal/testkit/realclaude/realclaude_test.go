package realclaude_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cctask/internal/testkit/realclaude"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(realclaude.Require(t), "--version")
	cmd.Env = realclaude.Env(t.TempDir(), "http://127.0.0.1:1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := strings.Cut(string(out), " "); got != realclaude.Version() {
		t.Fatalf("claude is version %s, the tests are for %s", got, realclaude.Version())
	}
}

func TestFindOverride(t *testing.T) {
	t.Setenv(realclaude.PathEnv, "/bin/sh")
	if got, err := realclaude.Find(); err != nil || got != "/bin/sh" {
		t.Fatalf("Find: %q, %v", got, err)
	}
	t.Setenv(realclaude.PathEnv, filepath.Join(t.TempDir(), "none"))
	if got, err := realclaude.Find(); err == nil {
		t.Fatalf("Find found %q where nothing is", got)
	}
}

// fakeTB notes what Require does to a test.
type fakeTB struct{ said string }

func (f *fakeTB) Helper()                        {}
func (f *fakeTB) Fatalf(format string, a ...any) { f.said = "fatal: " + fmt.Sprintf(format, a...) }
func (f *fakeTB) Skipf(format string, a ...any)  { f.said = "skip: " + fmt.Sprintf(format, a...) }

func TestRequireMissing(t *testing.T) {
	for ci, want := range map[string]string{"": "skip: ", "true": "fatal: "} {
		t.Setenv("CI", ci)
		t.Setenv(realclaude.PathEnv, filepath.Join(t.TempDir(), "none"))
		var f fakeTB
		realclaude.Require(&f)
		if !strings.HasPrefix(f.said, want) {
			t.Errorf("CI=%q: said %q, want it to begin with %q", ci, f.said, want)
		}
	}
}

func TestEnvInheritsNothing(t *testing.T) {
	t.Setenv("CLAUDE_CODE_OAUTH_TOKEN", "secret")
	env := realclaude.Env("/h", "http://127.0.0.1:1", "A=b")
	for _, kv := range env {
		if strings.Contains(kv, "secret") {
			t.Errorf("the caller's %s leaked", kv)
		}
	}
	if !slices.Contains(realclaude.Env("/h", ""), "ANTHROPIC_BASE_URL=http://127.0.0.1:1") {
		t.Error("without a server the vendor's API would be called")
	}
	for _, want := range []string{"HOME=/h", "ANTHROPIC_BASE_URL=http://127.0.0.1:1", "A=b"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing", want)
		}
	}
}
