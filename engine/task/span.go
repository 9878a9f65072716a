package task

import (
	"fmt"
	"strings"
	"time"
)

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
