package task

import (
	"testing"
	"time"
)

func TestSuspicious(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		expired, ended int
		newest         time.Duration // before now
		want           bool
	}{
		"nothing expired":                  {0, 9, time.Hour, false},
		"nothing expired for long":         {0, 9, 99 * 24 * time.Hour, false},
		"a few":                            {4, 9, time.Hour, false},
		"half":                             {4, 8, time.Hour, false},
		"more than half":                   {5, 9, time.Hour, true},
		"the only one":                     {1, 1, time.Hour, true},
		"a few, after a jump":              {1, 9, 8 * 24 * time.Hour, true},
		"a few, after a week-end":          {1, 9, 3 * 24 * time.Hour, false},
		"the newest is ahead of the clock": {1, 9, -time.Hour, false},
	} {
		if why := (Doom{Expired: c.expired, Ended: c.ended, Newest: now.Add(-c.newest)}).Suspicious(now); (why != "") != c.want {
			t.Errorf("%s: %q", name, why)
		}
	}
}
