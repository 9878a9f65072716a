package claude

import "testing"

func TestSupported(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"2.1.276": false, "2.1.99": false, "2.0.400": false, "1.0.300": false, "2.1.276 (Claude Code)": false,
		"2.1.277": true, "2.1.1000": true, "2.2.0": true, "3.0.0": true, "2.1.330-fake": true,
		"": true, "devel": true, "2.1": true,
	} {
		if got := Supported(version); got != want {
			t.Errorf("Supported(%q) is %v", version, got)
		}
	}
}
