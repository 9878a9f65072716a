package cli

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
)

// TestColumnsAreCounted breaks when a column or a field comes or goes without
// its line in the documents.
func TestColumnsAreCounted(t *testing.T) {
	t.Parallel()
	if len(allColumns) != 19 {
		t.Errorf("%d columns", len(allColumns))
	}
	help := verbs()["list"].Long
	for _, names := range []string{columnNames(), formatFields()} {
		for name := range strings.SplitSeq(names, ", ") {
			if !strings.Contains(help, name) {
				t.Errorf("the help does not name %s", name)
			}
		}
	}
	all, err := parseColumns(columnNames())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(table(all, []task.Task{{}, fullTask()}, math.MaxInt32, false, time.Now()), "\n")
	if strings.Contains(lines[2], " - ") {
		t.Errorf("a column is empty:\n%s", strings.Join(lines, "\n"))
	}
	// What a template can name is there.
	r := reflect.ValueOf(newRow(fullTask(), time.Now()))
	for name := range strings.SplitSeq(formatFields(), ", ") {
		if r.FieldByName(name).IsZero() {
			t.Errorf("--format: %s is empty", name)
		}
	}
}

func fullTask() task.Task {
	now, code := time.Now(), 1
	return task.Task{
		ID: task.NewID(now), Status: task.Failed, Message: "no", Reason: task.ReasonAuth, Attempt: 2, PromptHead: "do",
		Spec:      task.Spec{Name: "n", Labels: []string{"a", "b"}, WorkingDir: "/w", Model: "opus"},
		CreatedAt: now, StartedAt: now, FinishedAt: now, SessionID: "s", ExitCode: &code, CostUSD: 1, NumTurns: 3,
		DurationMS: 2000, QueuePosition: 1,
	}
}

// TestTableFits: no line is wider than the terminal, however wide its
// characters, and the columns stand below each other.
func TestTableFits(t *testing.T) {
	t.Parallel()
	x, y := fullTask(), fullTask()
	x.Spec.Name, x.PromptHead = strings.Repeat("漢字", 30), strings.Repeat("🙂 word ", 30)
	cols, err := parseColumns("id,name,status,dir,prompt")
	if err != nil {
		t.Fatal(err)
	}
	for width := 23; width < 250; width++ {
		lines := strings.Split(strings.TrimSuffix(table(cols, []task.Task{x, y}, width, false, time.Now()), "\n"), "\n")
		for _, l := range lines {
			if textWidth(l) > width {
				t.Errorf("%d columns of %d: %q", textWidth(l), width, l)
			}
		}
		a, _, _ := strings.Cut(lines[1], " fa")
		b, _, _ := strings.Cut(lines[2], " fa")
		if textWidth(a) != textWidth(b) {
			t.Errorf("in %d columns not aligned:\n%s", width, strings.Join(lines, "\n"))
		}
		// What is left of an id must still tell it from its neighbours.
		if id, _, _ := strings.Cut(lines[1], " "); !strings.HasSuffix(string(x.ID), strings.TrimPrefix(id, "…")) {
			t.Errorf("in %d columns the id is %q of %s", width, id, x.ID)
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
