package ipc

import (
	"cmp"
	"strconv"
	"strings"
)

// newer tells whether version a is strictly newer than b by the rules of
// semver. What is no release, or built in development, is newer than nothing
// and older than nothing.
func newer(a, b string) bool {
	x, ok1 := parseVersion(a)
	y, ok2 := parseVersion(b)
	if !ok1 || !ok2 {
		return false
	}
	for i := range x.core {
		if x.core[i] != y.core[i] {
			return x.core[i] > y.core[i]
		}
	}
	switch {
	case x.pre == "" || y.pre == "":
		return x.pre == "" && y.pre != ""
	default:
		return comparePre(x.pre, y.pre) > 0
	}
}

type version struct {
	core [3]uint64
	pre  string
}

func parseVersion(s string) (v version, ok bool) {
	if strings.Contains(s, "dev") {
		return v, false
	}
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "v"), "+")
	s, v.pre, _ = strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	if len(parts) != len(v.core) {
		return v, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 64)
		if err != nil {
			return v, false
		}
		v.core[i] = n
	}
	return v, true
}

// comparePre compares pre-releases: numbers as numbers and below words, and of
// two that agree the longer is the newer.
func comparePre(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		n, err1 := strconv.ParseUint(x[i], 10, 64)
		m, err2 := strconv.ParseUint(y[i], 10, 64)
		var c int
		switch {
		case err1 == nil && err2 == nil:
			c = cmp.Compare(n, m)
		case err1 == nil:
			c = -1
		case err2 == nil:
			c = 1
		default:
			c = cmp.Compare(x[i], y[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}
