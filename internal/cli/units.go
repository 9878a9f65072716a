package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cctask/engine/task"
)

// count reads a number from 0 to most.
func count(text string, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err == nil && (n < 0 || n > most) {
		err = errors.New("out of range")
	}
	return n, err
}

// within tells whether n is from 0 to most; NaN is not.
func within(n, most float64) bool { return n >= 0 && n <= most }

// parseAge reads a Go duration or a number of days like 30d.
func parseAge(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !within(n, 100_000) {
			return 0, errors.New("not a number of days")
		}
		return time.Duration(n * 24 * float64(time.Hour)), nil
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("negative")
	}
	return d, err
}

var sizeUnits = []struct {
	suffix string
	factor float64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"b", 1},
	{"", 1},
}

// parseSize reads a number of bytes with an optional unit like 10GiB.
func parseSize(text string) (int64, error) {
	low := strings.ToLower(strings.TrimSpace(text))
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(low, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !within(n*u.factor, 1<<60) {
			return 0, errors.New("not a size")
		}
		return int64(n * u.factor), nil
	}
	return 0, errors.New("not a size")
}

// span is a flag's time: a Go duration, or a plain number of seconds as the
// MCP tools take it.
type span time.Duration

func (s *span) String() string { return strings.TrimSuffix(time.Duration(*s).String(), "s") }

func (*span) Type() string { return "time" }

func (s *span) Set(text string) error {
	d, err := time.ParseDuration(text)
	n := d.Seconds()
	if number, numErr := strconv.ParseFloat(text, 64); numErr == nil {
		n, err = number, nil
	}
	if err != nil || !within(n, task.MaxTimeout.Seconds()) {
		return fmt.Errorf("want seconds, or a time like 90s or 2h, at most %.0fh", task.MaxTimeout.Hours())
	}
	*s = span(n * float64(time.Second))
	return nil
}

// duration writes a time as a person reads it.
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// clock is duration in whole seconds, for what is redrawn each second.
func clock(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
	return duration(d)
}

// ago writes how long something is past.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d.Hours()/24))
}

// plural writes how many there are of something.
// bytesText is a number of bytes for people: "17 B", "3.4 MiB".
func bytesText(n int64) string {
	v, unit := float64(n), 0
	for ; v >= 1024 && unit < 4; unit++ {
		v /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[unit-1])
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func cost(usd float64) string { return fmt.Sprintf("$%.4f", usd) }
