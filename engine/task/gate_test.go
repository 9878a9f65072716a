package task

import (
	"testing"
	"time"
)

func TestGateClosed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	const first, most = 5 * time.Minute, time.Hour
	open := Gate{Account: "a"}
	told := GateEnd{Task: "t", Reason: ReasonUsageLimit, ResetAt: in(time.Hour)}
	silent := GateEnd{Task: "t", Reason: ReasonUsageLimit}
	for _, c := range []struct {
		name  string
		gate  Gate
		end   GateEnd
		until time.Time
		fails int
		probe ID
	}{
		{name: "the reset is told", gate: open, end: told, until: in(time.Hour + GateMargin)},
		{name: "it is not", gate: open, end: silent, until: in(first), fails: 1},
		{name: "it is over already", gate: open, end: GateEnd{ResetAt: in(-time.Second)}, until: in(first), fails: 1},
		{name: "it is absurd", gate: open, end: GateEnd{ResetAt: in(1000 * time.Hour)}, until: in(8 * 24 * time.Hour)},
		{name: "the probe meets it again", gate: Gate{Until: now, Fails: 1, Probe: "t"}, end: silent, until: in(2 * first), fails: 2},
		{name: "and again", gate: Gate{Until: now, Fails: 9, Probe: "t"}, end: silent, until: in(most), fails: 10},
		{name: "the probe is told more", gate: Gate{Until: in(2 * time.Hour), Fails: 2, Probe: "t"}, end: told, until: in(time.Hour + GateMargin)},
		{name: "one that ran already says nothing new", gate: Gate{Until: in(time.Minute), Fails: 1}, end: silent, until: in(time.Minute), fails: 1},
		{name: "one that ran already knows a later time", gate: Gate{Until: in(time.Minute), Fails: 1}, end: told, until: in(time.Hour + GateMargin)},
		{name: "or an earlier one", gate: Gate{Until: in(2 * time.Hour)}, end: told, until: in(2 * time.Hour)},
		{name: "while a probe goes", gate: Gate{Until: now, Probe: "other"}, end: told, until: in(time.Hour + GateMargin), probe: "other"},
	} {
		got := c.gate.Closed(c.end, now, first, most)
		if !got.Until.Equal(c.until) || got.Fails != c.fails || got.Probe != c.probe {
			t.Errorf("%s: %+v, want until %v", c.name, got, c.until)
		}
	}
}
