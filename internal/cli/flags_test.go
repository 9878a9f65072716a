package cli

import (
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
