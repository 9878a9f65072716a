package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cctask/internal/testkit/cctest"
)

// The real CLI knows the server after setup, once, and not after its removal;
// the person's own settings stay as they were.
func TestSetup(t *testing.T) {
	w := newWorld(t)
	settings := filepath.Join(w.Home, ".claude", "settings.json")
	own := "{\n  \"model\": \"opus\",\n  \"hooks\": {\"Stop\": [{\"hooks\": []}]}\n}\n"
	must(t, os.MkdirAll(filepath.Dir(settings), 0o700))
	must(t, os.WriteFile(settings, []byte(own), 0o640))
	registered := func() string {
		for _, scope := range []string{".claude.json", "work/.mcp.json"} {
			text, err := os.ReadFile(filepath.Join(w.Home, scope))
			if err == nil && strings.Contains(string(text), `"command": "`+cctest.Binary) {
				return scope
			}
		}
		return ""
	}
	for scope, file := range map[string]string{"user": ".claude.json", "project": "work/.mcp.json", "local": ".claude.json"} {
		args := []string{"setup", "--yes", "--scope", scope}
		if out := w.OK(args...); !strings.Contains(out, "run: claude mcp add --scope "+scope) {
			t.Errorf("%s: %s", scope, out)
		}
		if in := registered(); in != file {
			t.Errorf("%s: registered in %q", scope, in)
		}
		if out := w.OK(args...); !strings.HasPrefix(out, "nothing to change") {
			t.Errorf("%s again: %s", scope, out)
		}
		// Another command than what is there is registered anew.
		if scope == "user" {
			if out := w.OK(append(args, "--dir", filepath.Join(w.Home, "other"))...); strings.Count(out, "run: claude mcp ") != 2 {
				t.Errorf("%s with another directory: %s", scope, out)
			}
		}
		w.OK(append(args, "--remove")...)
		if in := registered(); in != "" {
			t.Errorf("%s: after its removal registered in %s", scope, in)
		}
	}
	w.OK("setup", "--yes", "--hook")
	hooked, err := os.ReadFile(settings)
	must(t, err)
	for _, part := range []string{`"model": "opus"`, `"Stop"`, `"mcp__cctask__start_cc_task_async"`, " _hook"} {
		if !strings.Contains(string(hooked), part) {
			t.Errorf("no %s in %s", part, hooked)
		}
	}
	if out := w.OK("setup", "--yes", "--hook"); !strings.HasPrefix(out, "nothing to change") {
		t.Errorf("the hook again: %s", out)
	}
	w.OK("setup", "--yes", "--remove")
	left, err := os.ReadFile(settings)
	must(t, err)
	fi, err := os.Stat(settings)
	must(t, err)
	if string(left) != own || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, settings after all was undone: %s", fi.Mode(), left)
	}
	names, err := filepath.Glob(settings + "*")
	must(t, err)
	if !slices.Equal(names, []string{settings}) {
		t.Errorf("left behind: %v", names)
	}
}
