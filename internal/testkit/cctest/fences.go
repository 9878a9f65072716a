package cctest

import (
	"os"
	"strings"
	"testing"
)

// Fence is a fenced block of a Markdown file.
type Fence struct{ Lang, Text string }

// Fences are the fenced blocks of a file.
func Fences(t testing.TB, file string) (all []Fence) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split("\n"+string(text), "\n```") {
		if i%2 == 1 {
			lang, body, _ := strings.Cut(part, "\n")
			all = append(all, Fence{lang, body + "\n"})
		}
	}
	return all
}
