package e2e

import (
	"strconv"
	"strings"
	"testing"
)

func TestEmbedded(t *testing.T) {
	w := newWorld(t)
	if r := w.CCTask("run", "--embedded", "[[text alone]]"); r.Code != 0 || r.Stdout != "alone\n" {
		t.Fatal(r)
	}
	if owners := w.Matching("daemon"); len(owners) != 0 {
		t.Errorf("an owner was started: %v", owners)
	}
	w.Start("[[text shared]]")
	r := w.CCTask("run", "--embedded", "[[text refused]]")
	if r.Code == 0 || !strings.Contains(r.Stderr, strconv.Itoa(w.Owner().PID)) || !strings.Contains(r.Stderr, "hint:") {
		t.Errorf("embedded beside an owner: %s", r)
	}
}
