package foreign

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	m := newMachine(t)
	_, url := newBridge(t, func() *exec.Cmd { return m.Command("mcp") })
	for _, s := range strings.Fields(os.Getenv("PROBE")) {
		name, version, _ := strings.Cut(s, "@")
		args := []string{"server", "--url", url, "--scenario", name}
		if version != "" {
			args = append(args, "--spec-version", version)
		}
		out, log, err := m.run(nil, m.packages+"/@modelcontextprotocol/conformance/dist/index.js", args...)
		t.Logf("##### %s: %v\n%s\n%s", s, err, out, log)
	}
}
