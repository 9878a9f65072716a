package settings

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
)

// from is a source with these variables only.
func from(vars map[string]string) Source {
	return Source{Getenv: func(k string) string { return vars[k] }}
}

func TestSettingsPrecedence(t *testing.T) {
	t.Parallel()
	vars := map[string]string{
		"HOME": "/home/u", "CCTASK_DIR": "/from/env", "CCTASK_JOBS": "3", "CCTASK_LOG": "debug",
		"CCTASK_KEEP_AGE": "7d", "CCTASK_KEEP_COUNT": "10", "CCTASK_KEEP_SIZE": "10GiB",
	}
	a := from(vars)
	s, err := a.Load()
	if err != nil {
		t.Fatal(err)
	}
	if s.Dir != "/from/env" || s.Owner.Jobs != 3 || s.Owner.LogLevel != "debug" ||
		s.Owner.KeepAge != 7*24*time.Hour || s.Owner.KeepCount != 10 || s.Owner.KeepSize != 10<<30 {
		t.Errorf("from the environment: %+v", s)
	}
	a.Flags = Flags{"dir": "/from/flag", "jobs": "5", "log-level": "warn"}
	if s, err = a.Load(); err != nil || s.Dir != "/from/flag" || s.Owner.Jobs != 5 || s.Owner.LogLevel != "warn" {
		t.Errorf("flags do not win: %+v, %v", s, err)
	}
	a = from(map[string]string{"HOME": "/home/u"})
	if s, err = a.Load(); err != nil || s.Dir != "/home/u/.local/state/cctask" || s.Owner.Jobs != 0 || s.Owner.KeepAge != 30*24*time.Hour {
		t.Errorf("defaults: %+v, %v", s, err)
	}
	a = from(map[string]string{"HOME": "/home/u", "XDG_STATE_HOME": "/x"})
	if s, _ = a.Load(); s.Dir != "/x/cctask" {
		t.Errorf("XDG_STATE_HOME: %q", s.Dir)
	}
}

func TestBadSettingIsNamed(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"CCTASK_JOBS": "2000", "CCTASK_LOG": "loud", "CCTASK_KEEP_AGE": "soon", "CCTASK_KEEP_COUNT": "-1", "CCTASK_KEEP_SIZE": "10 apples",
	} {
		a := from(map[string]string{"HOME": "/home/u", name: text})
		_, err := a.Load()
		if !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), name) || task.HintOf(err) == "" {
			t.Errorf("%s=%q: %v", name, text, err)
		}
	}
	a := from(nil)
	if _, err := a.Load(); !errors.Is(err, task.ErrInvalid) {
		t.Errorf("without HOME: %v", err)
	}
}

func claudeOf(a Source) (string, error) {
	s, err := a.Load()
	if err != nil {
		return "", err
	}
	return a.FindClaude(s.Claude)
}

func TestClaudePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("a/claude", 0o600) // not executable: passed over
	want := write("b/claude", 0o700)
	a := from(map[string]string{"PATH": strings.Join([]string{"", ".", dir + "/a", dir + "/b"}, ":"), "HOME": dir})
	if got, err := claudeOf(a); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	a.Flags = Flags{"claude": dir + "/a/claude"}
	if _, err := claudeOf(a); err == nil || !strings.Contains(err.Error(), "--claude") || !errors.Is(err, task.ErrInvalid) {
		t.Errorf("a file that cannot be run: %v", err)
	}
	a = from(map[string]string{"PATH": dir, "HOME": dir})
	if _, err := claudeOf(a); err == nil || task.HintOf(err) == "" {
		t.Errorf("no claude: %v", err)
	}
}
