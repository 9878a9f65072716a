package claude

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func render(t *testing.T, name string) string {
	t.Helper()
	stdout, _ := record(t, name)
	var b strings.Builder
	for line := range bytes.Lines(stdout) {
		for _, l := range Render(line) {
			b.WriteString(l.Kind + "| " + l.Text + "\n")
		}
	}
	return b.String()
}

func TestDumpRender(t *testing.T) {
	for _, r := range recordings {
		t.Logf("== %s\n%s", r.name, render(t, r.name))
	}
	_ = utf8.RuneError
}
