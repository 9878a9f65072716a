package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeclaude"
)

// notRun are the lines of README that no test can run, with the reason.
var notRun = map[string]string{
	"cctask top":                       "needs a terminal",
	"cctask mcp --http 127.0.0.1:7433": "serves until a signal; the scripts do it",
	"claude mcp add":                   "changes the real CLI's files; TestSetup does it",
	"make demo":                        "takes a minute",
	"make test":                        "runs this test",
	"make install":                     "builds; TestInstallPlaces has its places",
}

// endsIn are the exit codes of those that do not end in 0: every task fails
// here, so that all that can follow a task can follow it.
var endsIn = map[string]int{"cctask run": 3, "cat error.log | cctask run": 3, "cctask setup": 2, "cctask hold": 2, "cctask edit": 2, "cctask diff mend": 2, "cctask merge mend": 2}

// byBegin finds what a table says about a line.
func byBegin[T any](table map[string]T, line string) (found T, is bool) {
	for begin, v := range table {
		if strings.HasPrefix(line, begin) {
			return v, true
		}
	}
	return found, false
}

// TestReadme runs the blocks of README in their order, as one who pastes them.
// The settings are pasted in internal/testkit/e2e, where the real CLI reads them.
func TestReadme(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.cmd.Env = append(p.cmd.Env, fakeclaude.ScriptEnv+"=[[is-error out of luck]]", "IS_SANDBOX=1")
	check(t, os.WriteFile(filepath.Join(p.cmd.Dir, "error.log"), []byte("an error\n"), 0o600))
	// A person's directory is a repository.
	for _, args := range [][]string{{"init", "-q"}, {"-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m", "first"}} {
		git := exec.Command("git", args...)
		git.Dir, git.Env = p.cmd.Dir, append([]string{}, p.cmd.Env...)
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	var script, want strings.Builder
	for _, f := range cctest.Fences(t, "../../README.md") {
		switch f.Lang {
		case "", "toml":
		case "json":
			for in := json.NewDecoder(strings.NewReader(f.Text)); in.More(); {
				if err := in.Decode(new(any)); err != nil {
					t.Fatalf("no JSON: %v\n%s", err, f.Text)
				}
			}
			if strings.HasPrefix(f.Text, `{"name"`) {
				check(t, os.WriteFile(filepath.Join(p.cmd.Dir, "night.jsonl"), []byte(f.Text), 0o600))
			}
		case "sh":
			for _, line := range strings.Split(strings.ReplaceAll(strings.TrimSpace(f.Text), "\\\n", ""), "\n") {
				if _, not := byBegin(notRun, line); not {
					continue
				}
				line = strings.Replace(line, "--start-at 23:00", "--start-at 0s", 1) // no test waits for the night
				code, _ := byBegin(endsIn, line)
				fmt.Fprintf(&want, "%d %s\n", code, line)
				// A person reads the answer before the next line.
				fmt.Fprintf(&script, "%s\necho $? %s >>codes\ncctask wait >/dev/null 2>&1\n", line, quoted(line))
			}
		default:
			t.Errorf("a block of %q, which nobody runs:\n%s", f.Lang, f.Text)
		}
	}
	cmd := p.command()
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", script.String()}
	out, err := cmd.CombinedOutput()
	check(t, err)
	codes, err := os.ReadFile(filepath.Join(p.cmd.Dir, "codes"))
	if err != nil || string(codes) != want.String() || strings.Count(want.String(), "\n") < 20 {
		t.Errorf("got\n%s\nwant\n%s\n%v\n%s", codes, want.String(), err, out)
	}
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// TestInstallPlaces asks make what it would do.
func TestInstallPlaces(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("no make")
	}
	for set, want := range map[string]string{
		"": "/home/u/.local/bin/cctask", "GOBIN=/g": "/g/cctask", "PREFIX=/usr/local": "/usr/local/bin/cctask",
		"PREFIX=/usr GOBIN=/g DESTDIR=/pkg": "/pkg/usr/bin/cctask", "DESTDIR=/pkg": "/pkg/home/u/.local/bin/cctask",
	} {
		cmd := exec.Command("make", "-n", "install")
		cmd.Dir = filepath.Join("..", "..")
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/home/u"}, strings.Fields(set)...)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), ` "`+want+`"`) {
			t.Errorf("%s: %v\n%s", set, err, out)
		}
	}
}
