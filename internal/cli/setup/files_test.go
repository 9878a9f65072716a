package setup

import (
	"os"
	"path/filepath"
	"testing"
)

// What setup adds and takes away leaves the rest of a person's file to the byte.
func TestHookLeavesTheRest(t *testing.T) {
	t.Parallel()
	for _, own := range []string{
		"{\r\n  \"model\": \"x\"\r\n}\r\n", "{\n  \"model\": \"x\"\n}\n", "{\"model\":\"x\"}", "{}\r\n", "{\"a\": 1}\n\n",
		"{\r\n\"hooks\": {\"Stop\": []}}\r\n",
	} {
		p := Files{Settings: filepath.Join(t.TempDir(), "settings.json")}
		if err := os.WriteFile(p.Settings, []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, remove := range []bool{false, true} {
			changes, err := p.hookChange(map[bool]string{false: "c _hook"}[remove], remove)
			if err != nil || len(changes) != 1 {
				t.Fatalf("%q: %d changes, %v", own, len(changes), err)
			}
			if err := changes[0].Do(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(p.Settings); err != nil || string(got) != own {
			t.Errorf("%q became %q, %v", own, got, err)
		}
	}
}
