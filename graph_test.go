package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed is the import graph of ARCHITECTURE.md: what each package may import
// of this module, and which packages alone may import a foreign one.
var allowed = map[string][]string{
	".":                                 {"internal/cli"},
	"internal/show":                     {"engine/task", "engine/claude", "internal/summary"},
	"internal/summary":                  {"engine/task"},
	"internal/top":                      {"engine", "engine/task", "engine/claude", "internal/show"},
	"internal/cli/settings":             {"engine", "engine/task", "internal/ipc"},
	"internal/cli/setup":                {"engine/task", "internal/cli/settings", "internal/show", "internal/sys"},
	"internal/cli/doctor":               {"engine", "engine/claude", "engine/runner", "engine/task", "internal/cli/settings", "internal/cli/setup", "internal/ipc", "internal/show", "internal/statedir", "internal/sys", "storage"},
	"internal/cli":                      {"internal/herald", "internal/cli/doctor", "internal/cli/settings", "internal/cli/setup", "internal/ipc", "internal/dump", "internal/report", "internal/show", "internal/statedir", "internal/summary", "internal/sys", "internal/top", "mcp", "engine", "engine/task", "engine/runner", "engine/site", "engine/claude", "engine/worktree", "storage"},
	"internal/ipc":                      {"engine", "engine/task", "internal/statedir", "internal/sys"},
	"mcp":                               {"engine", "engine/task", "engine/claude", "internal/summary"},
	"engine":                            {"engine/task", "engine/runner", "engine/claude", "engine/worktree"},
	"engine/worktree":                   {"engine/task", "internal/sys"},
	"engine/task":                       {},
	"engine/site":                       {"engine/runner", "internal/sys"},
	"engine/runner":                     {"internal/sys"},
	"internal/sys":                      {},
	"engine/claude":                     {"engine/task"},
	"storage":                           {"engine/task", "migrations", "internal/statedir", "internal/sys"},
	"internal/herald":                   {"engine/task", "engine/claude"},
	"internal/dump":                     {"engine/task", "internal/show"},
	"internal/testkit/storagetest":      {"engine/task", "storage"},
	"migrations":                        {"internal/sys"},
	"internal/statedir":                 {"engine/task", "internal/sys"},
	"internal/report":                   {"engine/task"},
	"internal/testkit/fakeclaude":       {},
	"internal/testkit/farsite":          {"engine/runner"},
	"internal/testkit/fakeapi":          {},
	"internal/testkit/fakeapi/fakeapid": {"internal/testkit/fakeapi"},
	"internal/testkit/realclaude":       {},
	"internal/testkit/demo":             {"internal/testkit/fakeapi", "internal/testkit/realclaude"},
	"internal/testkit/servicetest":      {"engine", "engine/task", "internal/testkit/fakeclaude"},
	"internal/testkit/cctest":           {"engine/task", "internal/testkit/fakeapi", "internal/testkit/fakeclaude", "internal/testkit/realclaude", "storage"},
	"internal/manpages":                 {"internal/cli"},
	"internal/testkit/e2e":              {},
	"internal/testkit/foreign":          {},
	"internal/testkit/mcpwire":          {},
	"internal/testkit/bench":            {"internal/testkit/fakeapi", "internal/testkit/realclaude"},
	"internal/testkit/bench/emptymcp":   {},
}

// foreign says who may import a module from outside: a technology has one
// package that knows it.
var foreign = map[string][]string{
	"go.etcd.io/bbolt":                 {"storage", "migrations", "internal/testkit/bench"},
	"github.com/mark3labs/mcp-go":      {"mcp", "internal/testkit/bench/emptymcp"},
	"github.com/spf13/cobra":           {"internal/cli", "internal/manpages"},
	"github.com/spf13/pflag":           {"internal/cli", "internal/cli/settings"},
	"github.com/pelletier/go-toml":     {"internal/cli/settings", "internal/cli"}, // edit shows a task as TOML
	"github.com/oklog/ulid":            {"engine/task"},
	"github.com/klauspost":             {"storage"},
	"github.com/rs/zerolog":            {"engine", "internal/ipc", "internal/cli", "mcp"},
	"github.com/google/jsonschema-go":  {"internal/testkit/mcpwire"},
	"golang.org/x/sys":                 {"engine", "engine/runner", "engine/site", "engine/claude", "engine/worktree", "internal/ipc", "internal/cli", "internal/sys", "storage", "internal/testkit/fakeclaude"},
	"github.com/tidwall":               {"engine/claude", "internal/cli/setup", "mcp"},
	"golang.org/x/mod":                 {"internal/ipc"},
	"gopkg.in/natefinch/lumberjack.v2": {"internal/cli"},
	"golang.org/x/term":                {"internal/show"},
	"golang.org/x/text":                {"engine", "storage"},
	"charm.land/bubbletea":             {"internal/top"},
	"github.com/charmbracelet/x/ansi":  {"internal/cli/doctor", "internal/show", "internal/top"},
}

func TestImportGraph(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, line := range lines {
		words := strings.Fields(line)
		pkg := relative(words[0])
		may, known := allowed[pkg]
		if !known {
			t.Errorf("package %s is not in the graph: add it here and to ARCHITECTURE.md", pkg)
		}
		for _, imp := range words[1:] {
			checkImport(t, pkg, imp, may)
		}
	}
	if len(lines) != len(allowed) {
		t.Errorf("the graph names %d packages, the module has %d", len(allowed), len(lines))
	}
}

func relative(path string) string {
	if path == "cctask" {
		return "."
	}
	return strings.TrimPrefix(path, "cctask/")
}

func checkImport(t *testing.T, pkg, imp string, may []string) {
	t.Helper()
	if strings.HasPrefix(imp, "cctask/") {
		if !slices.Contains(may, relative(imp)) {
			t.Errorf("%s must not import %s", pkg, relative(imp))
		}
		return
	}
	if !strings.Contains(strings.Split(imp, "/")[0], ".") {
		return // standard library
	}
	for module, who := range foreign {
		if strings.HasPrefix(imp, module) {
			if !slices.Contains(who, pkg) {
				t.Errorf("%s must not import %s: only %v may", pkg, imp, who)
			}
			return
		}
	}
	t.Errorf("%s imports %s, which no package may: add it here with its line in ARCHITECTURE.md", pkg, imp)
}
