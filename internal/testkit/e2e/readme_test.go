package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"cctask/internal/testkit/cctest"
)

// The settings of README hold as they stand, with the real CLI.
func TestReadmeSettings(t *testing.T) {
	w := newWorld(t)
	config := filepath.Join(w.Home, ".config", "cctask", "config.toml")
	must(t, os.MkdirAll(filepath.Dir(config), 0o700))
	tried := 0
	for _, f := range cctest.Fences(t, "../../../README.md") {
		if f.Lang != "toml" {
			continue
		}
		tried++
		must(t, os.WriteFile(config, []byte(f.Text), 0o600))
		if r := w.CCTask("run", "[[text done]]"); r.Code != 0 || r.Stdout != "done\n" {
			t.Errorf("with\n%s\n%+v", f.Text, r)
		}
	}
	if tried == 0 {
		t.Error("README has no settings")
	}
}
