package claude

import (
	"fmt"
	"slices"
)

// Oldest is the oldest release that is supported. From it on total_cost_usd goes
// on over a resume and a fork; 2.1.276 counts each process by itself, and what
// it spends is in no later total of the session (both measured).
const Oldest = "2.1.277"

// Supported tells whether a version, as claude writes it, is not older than
// Oldest. One that cannot be read is no reason to doubt.
func Supported(version string) bool {
	v, ok := numbers(version)
	oldest, _ := numbers(Oldest)
	return !ok || slices.Compare(v[:], oldest[:]) >= 0
}

func numbers(version string) (v [3]int, ok bool) {
	n, _ := fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2])
	return v, n == len(v)
}
