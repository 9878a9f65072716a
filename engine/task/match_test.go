package task

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	some := func(named string, statuses ...Status) Match {
		m := Match{Ref: "build", ID: "Z", Count: len(statuses)}
		for i, s := range statuses {
			m.Tasks = append(m.Tasks, Candidate{ID: ID("ABCDEFG"[i : i+1]), Name: named, Status: s, CreatedAt: now.Add(-time.Duration(i+1) * 25 * time.Hour)})
			if named != "" && !s.Ended() {
				m.Live++
			}
		}
		return m
	}
	part := some("", Running, Failed)
	part.ID = ""
	many := some("build", Completed, Failed)
	many.Count = 3000
	for _, c := range []struct {
		name                 string
		m                    Match
		read, cancel, change string // the id, or "" for a refusal
	}{
		{"one", Only("A"), "A", "A", "A"},
		{"one of two lives", some("build", Running, Completed), "Z", "A", ""},
		{"one of two waits", some("build", Queued, Completed), "Z", "A", ""},
		{"both live", some("build", Running, Starting), "Z", "", ""},
		{"none lives", some("build", Failed, Completed), "Z", "", ""},
		{"a part of two ids", part, "", "", ""},
		{"too many to be named", many, "Z", "", ""},
	} {
		for use, want := range map[Use]string{ToRead: c.read, ToCancel: c.cancel, ToChange: c.change} {
			id, note, err := c.m.Choose(use, now)
			switch {
			case string(id) != want:
				t.Errorf("%s, use %d: %q, %v, want %q", c.name, use, id, err, want)
			case want == "" && (!errors.Is(err, ErrAmbiguous) || HintOf(err) == "" || note != ""):
				t.Errorf("%s, use %d: %q, %v", c.name, use, note, err)
			case want != "" && (err != nil || (note == "") != (c.m.Count == 1)):
				t.Errorf("%s, use %d: %q, %v", c.name, use, note, err)
			}
		}
	}
	_, _, err := many.Choose(ToChange, now)
	if want := `"build" fits more than 2 tasks: A (build, completed, 25h ago), B (build, failed, 2d ago), and more`; err.Error() != want || !strings.Contains(HintOf(err), "the id") {
		t.Errorf("%v; %s\nwant %s", err, HintOf(err), want)
	}
}
