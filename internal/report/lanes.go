package report

import (
	"cmp"
	"slices"
)

// pack orders bars by their starts and gives each the lowest lane that is free
// then. The lanes are as many as there ever were bars at once.
func pack(bars []*bar) int {
	slices.SortStableFunc(bars, func(a, b *bar) int { return cmp.Compare(a.Start, b.Start) })
	var free []int64 // when each lane is free again
	for _, b := range bars {
		b.Lane = slices.IndexFunc(free, func(at int64) bool { return at <= b.Start })
		if b.Lane < 0 {
			b.Lane, free = len(free), append(free, 0)
		}
		free[b.Lane] = b.End
	}
	return len(free)
}

// part is a stretch of time from and to which something ran.
type part [2]int64

// Between two parts lies a gap that the page draws short: one in which nothing
// ran for longer than an eighth of all the time in which something did.
const (
	maxParts = 25
	gapShare = 8
)

// parts are the stretches of the time axis, for bars in order.
func parts(bars []*bar) []part {
	var busy []part
	var sum int64
	for _, b := range bars {
		if n := len(busy); n > 0 && b.Start <= busy[n-1][1] {
			busy[n-1][1] = max(busy[n-1][1], b.End)
			continue
		}
		busy = append(busy, part{b.Start, b.End})
	}
	var gaps []int64
	for i, p := range busy {
		sum += p[1] - p[0]
		if i > 0 {
			gaps = append(gaps, p[0]-busy[i-1][1])
		}
	}
	slices.Sort(gaps)
	long := sum/gapShare + 1
	if n := len(gaps); n >= maxParts {
		long = max(long, gaps[n-maxParts]+1)
	}
	var found []part
	for _, p := range busy {
		if n := len(found); n > 0 && p[0]-found[n-1][1] < long {
			found[n-1][1] = p[1]
			continue
		}
		found = append(found, p)
	}
	return found
}
