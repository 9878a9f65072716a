package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/show"
)

// envOf is a front's Env with these variables only.
func envOf(vars map[string]string) Env {
	return Env{
		Stdin: strings.NewReader(""), Stdout: &strings.Builder{}, Stderr: &strings.Builder{},
		Getenv:  func(k string) string { return vars[k] },
		Environ: func() []string { return nil },
	}
}

func TestSettingsPrecedence(t *testing.T) {
	t.Parallel()
	vars := map[string]string{
		"HOME": "/home/u", "CCTASK_DIR": "/from/env", "CCTASK_JOBS": "3", "CCTASK_LOG": "debug",
		"CCTASK_KEEP_AGE": "7d", "CCTASK_KEEP_COUNT": "10", "CCTASK_KEEP_SIZE": "10GiB",
	}
	a := &app{Env: envOf(vars)}
	s, err := a.settings()
	if err != nil {
		t.Fatal(err)
	}
	if s.dir != "/from/env" || s.owner.Jobs != 3 || s.owner.LogLevel != "debug" ||
		s.owner.KeepAge != 7*24*time.Hour || s.owner.KeepCount != 10 || s.owner.KeepSize != 10<<30 {
		t.Errorf("from the environment: %+v", s)
	}
	a.flags = flagTexts{"dir": "/from/flag", "jobs": "5", "log-level": "warn"}
	if s, err = a.settings(); err != nil || s.dir != "/from/flag" || s.owner.Jobs != 5 || s.owner.LogLevel != "warn" {
		t.Errorf("flags do not win: %+v, %v", s, err)
	}
	a = &app{Env: envOf(map[string]string{"HOME": "/home/u"})}
	if s, err = a.settings(); err != nil || s.dir != "/home/u/.local/state/cctask" || s.owner.Jobs != 0 || s.owner.KeepAge != 30*24*time.Hour {
		t.Errorf("defaults: %+v, %v", s, err)
	}
	a = &app{Env: envOf(map[string]string{"HOME": "/home/u", "XDG_STATE_HOME": "/x"})}
	if s, _ = a.settings(); s.dir != "/x/cctask" {
		t.Errorf("XDG_STATE_HOME: %q", s.dir)
	}
}

func TestBadSettingIsNamed(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"CCTASK_JOBS": "2000", "CCTASK_LOG": "loud", "CCTASK_KEEP_AGE": "soon", "CCTASK_KEEP_COUNT": "-1", "CCTASK_KEEP_SIZE": "10 apples",
	} {
		a := &app{Env: envOf(map[string]string{"HOME": "/home/u", name: text})}
		_, err := a.settings()
		if !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), name) || task.HintOf(err) == "" {
			t.Errorf("%s=%q: %v", name, text, err)
		}
		if exitCode(err) != exitInput {
			t.Errorf("%s: exit code %d", name, exitCode(err))
		}
	}
	a := &app{Env: envOf(nil)}
	if _, err := a.settings(); exitCode(err) != exitInput {
		t.Errorf("without HOME: %v", err)
	}
}

func claudeOf(a *app) (string, error) {
	s, err := a.settings()
	if err != nil {
		return "", err
	}
	return a.findClaude(s.claude)
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
	a := &app{Env: envOf(map[string]string{"PATH": strings.Join([]string{"", ".", dir + "/a", dir + "/b"}, ":"), "HOME": dir})}
	if got, err := claudeOf(a); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	a.flags = flagTexts{"claude": dir + "/a/claude"}
	if _, err := claudeOf(a); err == nil || !strings.Contains(err.Error(), "--claude") || exitCode(err) != exitInput {
		t.Errorf("a file that cannot be run: %v", err)
	}
	a = &app{Env: envOf(map[string]string{"PATH": dir, "HOME": dir})}
	if _, err := claudeOf(a); err == nil || task.HintOf(err) == "" {
		t.Errorf("no claude: %v", err)
	}
	if got, err := a.ofThisFront(); got.Claude != "" || err != nil {
		t.Errorf("nothing was named: %q, %v", got.Claude, err)
	}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"0": 0, "30d": 720 * time.Hour, "1.5d": 36 * time.Hour, "12h": 12 * time.Hour, "1w": 168 * time.Hour, "1d12h": 36 * time.Hour, "1w1d1.5h": 193*time.Hour + 30*time.Minute, "0.5d1ms": 12*time.Hour + time.Millisecond} {
		var got task.Age
		if err := got.Set(text); err != nil || time.Duration(got) != want {
			t.Errorf("age %q = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "-3h", "NaNd", "1e99d", "30", "d1", "1d1w", "1d-1h", "1h1d", "100000d1h", "3000000h", "1w100000d", "1y"} {
		var got task.Age
		if err := got.Set(text); err == nil {
			t.Errorf("age %q = %v", text, got)
		}
	}
	for text, want := range map[string]int64{"0": 0, "10GiB": 10 << 30, "1.5 kb": 1500, "7B": 7, "42": 42} {
		var got task.Bytes
		if err := got.Set(text); err != nil || int64(got) != want {
			t.Errorf("size %q = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "NaN", "1e30", "Inf"} {
		var got task.Bytes
		if err := got.Set(text); err == nil {
			t.Errorf("size %q = %v", text, got)
		}
	}
	for text, want := range map[string]time.Duration{"90": 90 * time.Second, "1.5": 1500 * time.Millisecond, "2h": 2 * time.Hour, "1d": 24 * time.Hour, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "4w2d": 720 * time.Hour} {
		var s task.Seconds
		if err := s.Set(text); err != nil || s.Duration() != want {
			t.Errorf("seconds %q = %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "-1", "-5s", "NaN", "Inf", "1e12", "soon", "31d", "5w", "1d1"} {
		var s task.Seconds
		if err := s.Set(text); err == nil {
			t.Errorf("seconds %q = %v", text, s)
		}
	}
}

func TestTimesForPeople(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"5ms": 5 * time.Millisecond, "12.3s": 12300 * time.Millisecond, "4m05s": 245 * time.Second, "26h03m": 26*time.Hour + 3*time.Minute,
	} {
		if got := show.Duration(d); got != want {
			t.Errorf("show.Duration(%v) = %q, want %q", d, got, want)
		}
	}
	now := time.Now()
	for want, d := range map[string]time.Duration{"now": -time.Hour, "59s ago": 59 * time.Second, "2h ago": 2 * time.Hour, "3d ago": 80 * time.Hour} {
		if got := task.Ago(now.Add(-d), now); got != want {
			t.Errorf("%v past = %q, want %q", d, got, want)
		}
	}
}
