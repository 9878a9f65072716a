package cli

import (
	"strings"
	"testing"
	"time"

	"cctask/internal/show"
)

// TestHelpNamesTheColumns: each can be asked for, by its name and by an old one.
func TestHelpNamesTheColumns(t *testing.T) {
	t.Parallel()
	help := verbs()["list"].Long
	for _, f := range show.Fields {
		if !strings.Contains(help, f.Name) {
			t.Errorf("the help does not name %s", f.Name)
		}
		for _, name := range append(f.Old, f.Name) {
			if _, err := parseColumns(strings.ToLower(name)); err != nil {
				t.Error(err)
			}
			if _, err := parseFormat("{{." + name + "}}"); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 5, 12, 0, 0, 0, time.FixedZone("", 3600))
	for text, want := range map[string]time.Time{
		"90m": now.Add(-90 * time.Minute), "7d": now.AddDate(0, 0, -7), "0.5d": now.Add(-12 * time.Hour),
		"1w": now.AddDate(0, 0, -7), "1d12h": now.Add(-36 * time.Hour), "today": time.Date(2026, 11, 5, 0, 0, 0, 0, now.Location()),
		"yesterday":  time.Date(2026, 11, 4, 0, 0, 0, 0, now.Location()),
		"2026-11-01": time.Date(2026, 11, 1, 0, 0, 0, 0, now.Location()), "2026-11-01 15:04": time.Date(2026, 11, 1, 15, 4, 0, 0, now.Location()),
		"2026-11-01T15:04:05": time.Date(2026, 11, 1, 15, 4, 5, 0, now.Location()), "2026-11-01T15:04:05Z": time.Date(2026, 11, 1, 15, 4, 5, 0, time.UTC),
	} {
		if got, _, err := parseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-2h", "2026-13-01", "tomorrow", "12", ""} {
		if got, _, err := parseTime(text, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	// A day that ends the selection is in it, whole.
	for text, want := range map[string]time.Time{
		"2026-11-01": time.Date(2026, 11, 2, 0, 0, 0, 0, now.Location()), "today": time.Date(2026, 11, 6, 0, 0, 0, 0, now.Location()),
		"yesterday": time.Date(2026, 11, 5, 0, 0, 0, 0, now.Location()), "2026-11-01 15:04": time.Date(2026, 11, 1, 15, 4, 0, 0, now.Location()),
		"2h": now.Add(-2 * time.Hour),
	} {
		f := filterFlags{until: text}
		if got, err := f.filter(strings.Clone, now, nil); err != nil || !got.Until.Equal(want) {
			t.Errorf("--until %q: %v, %v, want %v", text, got.Until, err, want)
		}
	}
}
