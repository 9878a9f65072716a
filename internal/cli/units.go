package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cctask/engine/task"
	"cctask/internal/human"
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

// What every view for people shares.
var (
	duration = human.Duration
	clock    = human.Clock
	ago      = human.Ago
	plural   = human.Plural
	cost     = human.Cost
	oneLine  = human.OneLine

	bytesText = human.Bytes
)
