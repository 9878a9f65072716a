package e2e

import (
	"strconv"
	"strings"
	"testing"
)

func TestEmbedded(t *testing.T) {
	w := newWorld(t)
	if r := w.cctask("run", "--embedded", "[[text alone]]"); r.code != 0 || r.stdout != "alone\n" {
		t.Fatal(r)
	}
	if owners := w.matching("daemon"); len(owners) != 0 {
		t.Errorf("an owner was started: %v", owners)
	}
	w.start("[[text shared]]")
	r := w.cctask("run", "--embedded", "[[text refused]]")
	if r.code == 0 || !strings.Contains(r.stderr, strconv.Itoa(w.owner().PID)) || !strings.Contains(r.stderr, "hint:") {
		t.Errorf("embedded beside an owner: %s", r)
	}
}
