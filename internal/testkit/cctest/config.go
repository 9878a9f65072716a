package cctest

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// Config writes a settings file to its usual place in a new home, and gives the
// variables of a front that finds it there.
func Config(t *testing.T, text string, vars map[string]string) (all map[string]string, file string) {
	t.Helper()
	home := t.TempDir()
	file = filepath.Join(home, ".config", "cctask", "config.toml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all = map[string]string{"HOME": home}
	maps.Copy(all, vars)
	return all, file
}
