package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cctask/internal/testkit/fakeapi"
)

// What the person's policy says reaches the real CLI: the fixed arguments, and a
// permission mode that was narrowed. A tool's argument does not go beyond it.
func TestPolicyReachesClaude(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.toml")
	w := newWorld(t, "CCTASK_CONFIG="+config)
	must(t, os.WriteFile(config, []byte(`[policy]
max_permission_mode = "acceptEdits"
extra_args = ["--append-system-prompt=-- speak of whales", "--disallowedTools=WebFetch"]
`), 0o600))
	prompt := `[[tool Write {"file_path":"` + filepath.Join(w.Work, "edited") + `","content":"x"}]][[bash sh -c 'touch denied']][[text done]]`
	if r := w.CCTask("run", prompt); r.Code != 0 || r.Stdout != "done\n" {
		t.Fatal(r)
	}
	for name, want := range map[string]bool{"edited": true, "denied": false} {
		if _, err := os.Stat(filepath.Join(w.Work, name)); (err == nil) != want {
			t.Errorf("%s: exists is %v", name, err == nil)
		}
	}
	if !slices.ContainsFunc(w.API.Requests(), func(r fakeapi.Request) bool {
		return r.Kind == fakeapi.KindMain && strings.Contains(r.System, "-- speak of whales") && !slices.Contains(r.Tools, "WebFetch")
	}) {
		t.Error("the fixed arguments did not reach claude")
	}
	obj, r := w.call(w.connect(), "start_cc_task_async", map[string]any{"prompt": "x", "skip_permissions": true})
	if !r.IsError {
		t.Errorf("a tool's argument went beyond the policy: %v", obj)
	}
}
