package e2e

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cctask/engine/task"
	"cctask/internal/testkit/realclaude"
)

// A person's own claude is often a script around the real one. A cancel lets the
// real one stop its tools, whose traps run, and write down what it has spent: a
// resume knows it.
func TestCancelBehindAWrapper(t *testing.T) {
	w := newWorld(t)
	real := realclaude.Require(t)
	scripts := map[string]string{
		"exec":    "exec " + real + ` "$@"`,
		"no exec": real + ` "$@"`,
		// As Node's shims do: the signal reaches claude twice.
		"forwards": real + ` "$@" <&0 & child=$!; trap 'kill -TERM $child' TERM; wait $child; wait $child`,
	}
	costs := map[string]float64{}
	for name, script := range scripts {
		wrapper := filepath.Join(w.Home, strings.ReplaceAll(name, " ", "-"))
		must(t, os.WriteFile(wrapper, []byte("#!/bin/bash\n"+script+"\n"), 0o755))
		mark := filepath.Join(w.Home, "mark")
		id := w.Start("[[bash trap 'echo trapped >> "+mark+"; exit' TERM; echo ready >> "+mark+"; tail -f /dev/null & wait]]", "--claude", wrapper)
		w.Eventually(func() bool { text, _ := os.ReadFile(mark); return string(text) == "ready\n" }, "%s: the tool did not start", name)
		w.CCTask("cancel", id)
		text, err := os.ReadFile(mark)
		must(t, err)
		if string(text) != "ready\ntrapped\n" {
			t.Errorf("%s: the tool's trap: %q", name, text)
		}
		must(t, os.Remove(mark))
		w.OK("resume", id, "[[text done]]")
		v := w.Wait(id)[0]
		if v.Status != task.Completed || v.CostUSD == nil {
			t.Fatalf("%s: %s, %s", name, v.Status, v.StatusMessage)
		}
		costs[name] = *v.CostUSD
	}
	for name, usd := range costs {
		if math.Abs(usd-costs["exec"]) > 1e-6 {
			t.Errorf("behind a wrapper (%s) it cost $%.4f, else $%.4f", name, usd, costs["exec"])
		}
	}
}
