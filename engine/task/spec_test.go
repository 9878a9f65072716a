package task

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestCheckPrompt(t *testing.T) {
	good := []string{"x", "-p", "/cmd", "$(x) `y` \"z\"", "a\r\nb", "🙂", strings.Repeat("x", MaxPrompt)}
	for _, p := range good {
		if err := CheckPrompt(p); err != nil {
			t.Errorf("%.20q: %v", p, err)
		}
	}
	bad := []string{"", " \n\t", "a\x00b", "\xff\xfe", strings.Repeat("x", MaxPrompt+1)}
	for _, p := range bad {
		err := CheckPrompt(p)
		if !errors.Is(err, ErrInvalid) || HintOf(err) == "" {
			t.Errorf("%.20q: %v, hint %q", p, err, HintOf(err))
		}
	}
}

func TestCheckSpec(t *testing.T) {
	on := true
	good := Spec{WorkingDir: "/", Claude: "/bin/true"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	bad := map[string]func(*Spec){
		"working_dir":     func(s *Spec) { s.WorkingDir = "here" },
		"claude":          func(s *Spec) { s.Claude = "claude" },
		"model":           func(s *Spec) { s.Model = "--dangerously-skip-permissions x" },
		"timeout":         func(s *Spec) { s.TimeoutSeconds = -1 },
		"timeout (NaN)":   func(s *Spec) { s.TimeoutSeconds = math.NaN() },
		"timeout (large)": func(s *Spec) { s.TimeoutSeconds = math.MaxFloat64 },
		"skip_permissions": func(s *Spec) {
			s.SkipPermissions, s.AllowedTools = &on, []string{"Read"}
		},
		"permission_mode": func(s *Spec) { s.PermissionMode = "root" },
		"name":            func(s *Spec) { s.Name = strings.Repeat("n", MaxName+1) },
		"name (escape)":   func(s *Spec) { s.Name = "a\x1b[31m" },
		"name (space)":    func(s *Spec) { s.Name = " a" },
		"name (taken)":    func(s *Spec) { s.Name = NewestRef },
		"labels":          func(s *Spec) { s.Labels = make([]string, MaxLabels+1) },
		"labels (empty)":  func(s *Spec) { s.Labels = []string{"a", ""} },
		"labels (lines)":  func(s *Spec) { s.Labels = []string{"a\nb"} },
		"max_turns":       func(s *Spec) { s.MaxTurns = -1 },
		"max_budget_usd":  func(s *Spec) { s.MaxBudgetUSD = -1 },
		"json_schema":     func(s *Spec) { s.JSONSchema = []byte("{") },
		"max_output":      func(s *Spec) { s.MaxOutput = -1 },
		"add_dirs":        func(s *Spec) { s.AddDirs = []string{"a\x00"} },
		"allowed_tools":   func(s *Spec) { s.AllowedTools = []string{strings.Repeat("x", 200<<10)} },
	}
	for name, spoil := range bad {
		s := good
		spoil(&s)
		field, _, _ := strings.Cut(name, " ")
		err := s.Check()
		if !errors.Is(err, ErrInvalid) || !strings.HasPrefix(err.Error(), field+":") || HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, HintOf(err))
		}
	}
}

func TestSkipsPermissions(t *testing.T) {
	on, off := true, false
	for _, c := range []struct {
		s    Spec
		want bool
	}{
		{Spec{}, true},
		{Spec{SkipPermissions: &on}, true},
		{Spec{SkipPermissions: &off}, false},
		{Spec{PermissionMode: "plan"}, false},
		{Spec{AllowedTools: []string{"Read"}}, false},
	} {
		if got := c.s.SkipsPermissions(); got != c.want {
			t.Errorf("%+v skips permissions: %v", c.s, got)
		}
	}
}

func TestIDs(t *testing.T) {
	now := time.UnixMilli(1_790_000_000_123)
	var last ID
	for range 1000 {
		id := NewID(now)
		if id <= last {
			t.Fatalf("%s after %s", id, last)
		}
		last = id
	}
	if !last.Time().Equal(now) {
		t.Errorf("time of %s = %v, want %v", last, last.Time(), now)
	}
	if got, err := ParseID(strings.ToLower(string(last))); err != nil || got != last {
		t.Errorf("ParseID = %v, %v", got, err)
	}
	if got := ID("01K9ZZZZZZ0000000000000000").UUID(); got != "019a7fff-ffff-0000-0000-000000000000" {
		t.Errorf("UUID = %s", got)
	}
	for _, bad := range []string{"", "x", strings.Repeat("U", 26), strings.Repeat("8", 26)} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) has no error", bad)
		}
	}
}

func TestHeadKeepsCharactersWhole(t *testing.T) {
	if got := Head(strings.Repeat("é", 300)); got != strings.Repeat("é", 200) {
		t.Errorf("Head has %d bytes", len(got))
	}
	if got := Head("short"); got != "short" {
		t.Errorf("Head = %q", got)
	}
}
