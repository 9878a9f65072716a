package ipc

import (
	"strings"

	"golang.org/x/mod/semver"
)

// newer tells whether version a is strictly newer than b by the rules of
// semver. What is no release, or built in development, is newer than nothing
// and older than nothing.
func newer(a, b string) bool {
	a, b = canonical(a), canonical(b)
	return a != "" && b != "" && semver.Compare(a, b) > 0
}

// canonical is a version as package semver writes it, or "".
func canonical(version string) string {
	v := "v" + strings.TrimPrefix(version, "v")
	release, _, _ := strings.Cut(v, "-")
	if strings.Contains(version, "dev") || strings.Count(release, ".") != 2 {
		return ""
	}
	return semver.Canonical(v)
}
