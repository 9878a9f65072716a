package cli

import (
	"errors"
	"fmt"
	"math"
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

// parseSpan reads a time: weeks and days, then what Go's durations have, as in
// 90s, 2h, 7d, 1w or 1d12h.
func parseSpan(text string) (time.Duration, error) {
	const most = 100_000 * 24 * time.Hour
	rest, days := text, 0.0
	for _, unit := range []struct {
		name string
		days float64
	}{{"w", 7}, {"d", 1}} {
		number, after, found := strings.Cut(rest, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || !within(n*unit.days, most.Hours()/24) {
			return 0, errors.New("not a number of days or weeks")
		}
		days, rest = days+n*unit.days, after
	}
	var d time.Duration
	var err error
	if rest != "" || text == "" {
		d, err = time.ParseDuration(rest)
	}
	negative := d < 0 || strings.HasPrefix(rest, "-")
	if d += time.Duration(days * 24 * float64(time.Hour)); err == nil && (negative || d > most) {
		err = errors.New("out of range")
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
		if err != nil || !within(n*u.factor, 1<<60) || u.factor == 1 && n != math.Trunc(n) {
			return 0, errors.New("not a size")
		}
		return int64(n * u.factor), nil
	}
	return 0, errors.New("not a size")
}

// span is a flag's time, or a plain number of seconds as the MCP tools take it.
type span time.Duration

const wantsSpan = "seconds, or a time like 90s, 2h or 1d12h, at most 30d"

func (s *span) String() string { return strings.TrimSuffix(time.Duration(*s).String(), "s") }

func (*span) Type() string { return "time" }

func (s *span) Set(text string) error {
	d, err := parseSpan(text)
	n := d.Seconds()
	if number, numErr := strconv.ParseFloat(text, 64); numErr == nil {
		n, err = number, nil
	}
	if err != nil || !within(n, task.MaxTimeout.Seconds()) {
		return errors.New("want " + wantsSpan)
	}
	*s = span(n * float64(time.Second))
	return nil
}

// wholeFlag is a flag's number in decimal: pflag's own takes 010 for eight.
type wholeFlag struct {
	to          *int64
	least, most int64
}

func whole(to *int64, def, least, most int64) wholeFlag {
	*to = def
	return wholeFlag{to, least, most}
}

func (f wholeFlag) String() string {
	if f.to == nil || *f.to == 0 {
		return "" // none is said in the help
	}
	return strconv.FormatInt(*f.to, 10)
}

func (wholeFlag) Type() string { return "int" }

func (f wholeFlag) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < f.least || n > f.most {
		return fmt.Errorf("want a whole number from %d to %d", f.least, f.most)
	}
	*f.to = n
	return nil
}

// What every view for people shares.
var (
	duration = human.Duration
	clock    = human.Clock
	ago      = task.Ago
	plural   = human.Plural
	cost     = human.Cost
	oneLine  = human.OneLine

	bytesText = human.Bytes
)
