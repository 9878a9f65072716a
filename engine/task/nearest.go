package task

import "strings"

// Nearest is the one of names that a mistyped or half-remembered name most likely
// means, or "" where none is near: at most half of the characters differ, or one
// is a part of the other.
func Nearest(name string, names []string) (near string) {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	if len(name) > MaxName {
		return ""
	}
	best := 4 * MaxName
	for _, n := range names {
		far := 4 * Distance([]rune(name), []rune(n)) // four steps for a character, so that a part can be nearer
		switch {
		case len(name) > 1 && strings.Contains(n, name):
			far = far/2 - 1
		case strings.Contains(name, n):
			far /= 2
		case far > 2*max(len(name), len(n)):
			continue
		}
		if far < best {
			near, best = n, far
		}
	}
	return near
}

// Distance is how many characters must be put in, left out or changed to make
// b of a.
func Distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		above := row[0]
		row[0] = i + 1
		for j, y := range b {
			d := above
			if x != y {
				d++
			}
			above = row[j+1]
			row[j+1] = min(d, row[j]+1, above+1)
		}
	}
	return row[len(b)]
}
