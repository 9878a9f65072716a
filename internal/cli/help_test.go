package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// verbs are all commands that a person can see, by their words joined with _.
func verbs() map[string]*cobra.Command {
	all := map[string]*cobra.Command{}
	var walk func(cmd *cobra.Command, path string)
	walk = func(cmd *cobra.Command, path string) {
		for _, c := range cmd.Commands() {
			if c.Hidden {
				continue
			}
			name := strings.TrimPrefix(path+"_"+c.Name(), "_")
			all[name] = c
			walk(c, name)
		}
	}
	walk(newRoot(&app{Env: envOf(nil)}), "")
	return all
}

// TestEveryVerb breaks when a verb comes without its script, its example or its
// exit codes.
func TestEveryVerb(t *testing.T) {
	t.Parallel()
	want := "cancel completion daemon daemon_status daemon_stop dump list logs mcp resume retry rm run setup start status version wait"
	all := verbs()
	if len(all) != len(strings.Fields(want)) {
		t.Errorf("%d verbs, want %s", len(all), want)
	}
	for _, name := range strings.Fields(want) {
		cmd := all[name]
		if cmd == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" {
			t.Errorf("%s: help without a text or an example", name)
		}
		var out strings.Builder
		cmd.SetOut(&out)
		if err := cmd.Help(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, part := range []string{"Usage:", "Examples:", "Exit codes:\n  0 "} {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s: help without %q:\n%s", name, part, out.String())
			}
		}
		for _, line := range strings.Split(out.String(), "\n") {
			if len(line) > 140 {
				t.Errorf("%s: a line of help is too long: %s", name, line)
			}
		}
		if _, err := os.Stat(filepath.Join("..", "..", "testdata", "script", name+".txtar")); err != nil {
			t.Errorf("%s has no script: %v", name, err)
		}
	}
}
