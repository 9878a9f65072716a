package task

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Age is a time as every setting, flag and option takes it: weeks and days, then
// what Go's durations have, as in 90s, 2h, 7d, 1w or 1d12h.
type Age time.Duration

// Seconds are a deadline: a plain number of them, or an Age; at most MaxTimeout.
type Seconds float64

// Bytes are a size: a number of bytes, or one with a unit like 10GiB or 500MB.
type Bytes int64

// WantsSeconds says what Seconds are.
const WantsSeconds = "seconds, or a time like 90s, 2h or 1d12h, at most 30d"

// within tells whether n is from 0 to most; NaN is not.
func within(n, most float64) bool { return n >= 0 && n <= most }

func (a *Age) UnmarshalText(text []byte) error {
	const most = 100_000 * 24 * time.Hour
	rest, days := string(text), 0.0
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
			return errors.New("not a number of days or weeks")
		}
		days, rest = days+n*unit.days, after
	}
	var d time.Duration
	var err error
	if rest != "" || len(text) == 0 {
		d, err = time.ParseDuration(rest)
	}
	negative := d < 0 || strings.HasPrefix(rest, "-")
	if d += time.Duration(days * 24 * float64(time.Hour)); err == nil && (negative || d > most) {
		err = errors.New("out of range")
	}
	if err == nil {
		*a = Age(d)
	}
	return err
}

func (s *Seconds) UnmarshalText(text []byte) error {
	var a Age
	err := a.UnmarshalText(text)
	n := time.Duration(a).Seconds()
	if number, numErr := strconv.ParseFloat(string(text), 64); numErr == nil {
		n, err = number, nil
	}
	if err != nil || !within(n, MaxTimeout.Seconds()) || text[0] == '+' {
		return errors.New("want " + WantsSeconds)
	}
	*s = Seconds(n)
	return nil
}

func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

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

func (b *Bytes) UnmarshalText(text []byte) error {
	low := strings.ToLower(strings.TrimSpace(string(text)))
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(low, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !within(n*u.factor, 1<<60) || u.factor == 1 && n != math.Trunc(n) {
			break
		}
		*b = Bytes(n * u.factor)
		return nil
	}
	return errors.New("not a size")
}

// Set reads them as flags and settings have them.
func (a *Age) Set(text string) error     { return a.UnmarshalText([]byte(text)) }
func (s *Seconds) Set(text string) error { return s.UnmarshalText([]byte(text)) }
func (b *Bytes) Set(text string) error   { return b.UnmarshalText([]byte(text)) }

func (s Seconds) String() string { return strconv.FormatFloat(float64(s), 'f', -1, 64) }

// Type is what help calls the value.
func (Seconds) Type() string { return "time" }

// ParseMoment reads a date, a time or both as of this place; or a day, which is its
// first moment.
func ParseMoment(text string, now time.Time) (_ time.Time, day bool, _ error) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	if ahead, named := map[string]int{"today": 0, "yesterday": -1}[text]; named {
		return midnight.AddDate(0, 0, ahead), true, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, now.Location()); err == nil {
		return t, true, nil
	}
	if t, err := time.Parse("15:04", text); err == nil {
		return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location()), false, nil
	}
	for _, layout := range []string{"2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, false, nil
		}
	}
	return time.Time{}, false, errors.New("not a time")
}

// ParseStart reads a start time: how far it is ahead, or a moment; of a time of day
// the next one. "" and now are none.
func ParseStart(text string, now time.Time) (time.Time, error) {
	if text == "" || text == "now" {
		return time.Time{}, nil
	}
	if ahead := Age(0); ahead.Set(text) == nil {
		return now.Add(time.Duration(ahead)), nil
	}
	at, _, err := ParseMoment(text, now)
	if err == nil && len(text) == len("15:04") && at.Before(now) {
		at = at.AddDate(0, 0, 1)
	}
	return at, err
}

// StartOf is the moment of a start time that is given now, which must not be past.
func StartOf(text string, now time.Time) (time.Time, error) {
	const slack = time.Minute // a call is on its way
	at, err := ParseStart(text, now)
	if err == nil && !at.IsZero() && at.Before(now.Add(-slack)) {
		err = invalid("start_at", fmt.Sprintf("%s is past: it was %s", text, at.Local().Format(time.DateTime)), "Leave it out, or say now, and the task starts in its turn.")
	}
	return at, err
}

func isStart(text string) bool {
	_, err := ParseStart(text, time.Now())
	return err == nil
}

// SpanText writes a time as settings and flags take it: 30d and 2h, where
// Duration's own String has 720h0m0s and 2h0m0s.
func SpanText(d time.Duration) string {
	const day = 24 * time.Hour
	if d != 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if short, ok := strings.CutSuffix(text, zero); ok {
			text = short + zero[:1]
		}
	}
	return text
}
