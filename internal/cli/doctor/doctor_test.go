package doctor

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

// The third column keeps its place, also where a finding needs several lines.
func TestAFindingKeepsItsColumn(t *testing.T) {
	f := note("`cctask daemon stop` lets the next owner take that of the command which starts it: --all-of-it.", "two hold together\nof this command: allowed_dirs = [\"/srv/projects\"]")
	f.Name = "policy"
	want := `note     policy        two hold together
                       of this command: allowed_dirs =
                       ["/srv/projects"]
                       -> ` + "`cctask daemon stop`" + ` lets the next
                       owner take that of the command which
                       starts it: --all-of-it.
`
	if got := f.Lines(60, false); got != want {
		t.Errorf("at 60 columns:\n%s", got)
	}
	for _, width := range []int{40, 60, 80, 120} {
		for _, line := range strings.Split(strings.TrimSuffix(f.Lines(width, true), "\n"), "\n") {
			if ansi.StringWidth(line) > max(width, textAt+20) {
				t.Errorf("at %d columns: %q", width, line)
			}
		}
	}
	if got := strings.Count(f.Lines(1<<30, false), "\n"); got != 3 {
		t.Errorf("without a terminal %d lines", got)
	}
}

// Each check has a name of its own, in the table's order.
func TestChecksAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range checks {
		if seen[c.name] || c.find == nil || len(c.name) > 13 {
			t.Errorf("%q", c.name)
		}
		seen[c.name] = true
	}
}
