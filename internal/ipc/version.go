package ipc

import (
	"cmp"
	"slices"
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
	if c := slices.Compare(x.core[:], y.core[:]); c != 0 {
		return c > 0
	}
	if x.pre == "" || y.pre == "" {
		return x.pre == "" && y.pre != ""
	}
	return slices.CompareFunc(strings.Split(x.pre, "."), strings.Split(y.pre, "."), comparePre) > 0
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

// comparePre compares parts of a pre-release: numbers as numbers and below words.
func comparePre(a, b string) int {
	n, err1 := strconv.ParseUint(a, 10, 64)
	m, err2 := strconv.ParseUint(b, 10, 64)
	switch {
	case err1 == nil && err2 == nil:
		return cmp.Compare(n, m)
	case err1 == nil:
		return -1
	case err2 == nil:
		return 1
	}
	return cmp.Compare(a, b)
}
