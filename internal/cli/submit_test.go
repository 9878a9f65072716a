package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/cli/settings"
)

func TestPromptFromStdin(t *testing.T) {
	t.Parallel()
	largest := strings.Repeat("x", task.MaxPrompt)
	for name, test := range map[string]struct {
		stdin string
		bad   string // in the error
	}{
		"to the byte":    {stdin: "-x $(y) \"q\"\r\n\t🙂 "},
		"the largest":    {stdin: largest},
		"one byte more":  {stdin: largest + "x", bad: "more than"},
		"blank":          {stdin: " \r\n", bad: "is blank"},
		"invalid UTF-8":  {stdin: "a\xff", bad: "UTF-8"},
		"with a NUL":     {stdin: "a\x00b", bad: "NUL"},
		"empty, no args": {stdin: "", bad: "is blank"},
	} {
		a := &app{Env: envOf(map[string]string{"PATH": "/nowhere", "HOME": "/home/u"})}
		a.flags = settings.Flags{"claude": "/bin/sh"}
		a.Stdin = strings.NewReader(test.stdin)
		sub, err := a.submission(&taskFlags{}, nil)
		switch {
		case test.bad != "":
			if exitCode(err) != exitInput || !strings.Contains(err.Error(), test.bad) || task.HintOf(err) == "" {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil || sub.Prompt != test.stdin:
			t.Errorf("%s: %d bytes, %v", name, len(sub.Prompt), err)
		}
	}
}

// Every option of a task is a flag of the verbs that make one.
func TestEveryTaskOptionIsAFlag(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"start", "run"} {
		flags := verbs()[verb].Flags()
		for i := range reflect.TypeFor[task.Spec]().NumField() {
			name, _, _ := strings.Cut(reflect.TypeFor[task.Spec]().Field(i).Tag.Get("json"), ",")
			switch name = strings.ReplaceAll(name, "_", "-"); name {
			case "claude", "env-names": // a flag of every verb; the names of env
				continue
			case "-":
				name = strings.ToLower(reflect.TypeFor[task.Spec]().Field(i).Name)
			case "labels": // one at a time
				name = "label"
			}
			if flags.Lookup(name) == nil {
				t.Errorf("%s has no --%s", verb, name)
			}
		}
	}
}

func TestTaskFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	schema := filepath.Join(dir, "schema.json")
	if err := os.WriteFile(schema, []byte(`{"type":"object"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var f taskFlags
	cmd := &cobra.Command{}
	f.register(cmd)
	err = cmd.ParseFlags([]string{
		"--working-dir", dir, "--label", "a,b", "--label=c", "--permission-mode=plan", "--allowed-tools", "Bash(a, b)", "--disallowed-tools=X",
		"--append-system-prompt=-s", "--max-turns=3", "--max-budget-usd=0.5", "--json-schema", schema, "--add-dirs=sub", "--add-dirs=~/lib",
		"--mcp-config", " {}", "--mcp-config=m.json", "--strict-mcp-config=false", "--max-output=1MiB", "--timeout=2m", "--name=n", "--model=opus",
	})
	if err != nil {
		t.Fatal(err)
	}
	m := engine.Caller{Homed: (&app{Env: envOf(map[string]string{"HOME": "/home/u"})}).homed, Defaults: f.options.Over(draft(t, map[string]any{"model": "haiku", "literal": true})), WorkingDir: wd, Claude: "/c"}
	sub, err := m.Submission("p", "k", draft(t, map[string]any{"name": "own"}))
	got := sub.Spec
	no := false
	want := task.Spec{
		WorkingDir: dir, Labels: []string{"a,b", "c"}, PermissionMode: "plan", AllowedTools: []string{"Bash(a, b)"}, DisallowedTools: []string{"X"},
		AppendSystemPrompt: "-s", MaxTurns: 3, MaxBudgetUSD: 0.5, JSONSchema: []byte(`{"type":"object"}`), AddDirs: []string{filepath.Join(wd, "sub"), "/home/u/lib"}, Literal: true,
		MCPConfig: []string{" {}", filepath.Join(wd, "m.json")}, StrictMCPConfig: &no, MaxOutput: 1 << 20, TimeoutSeconds: 120, Name: "own", Model: "opus", Claude: "/c",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

// draft gives options their values.
func draft(t *testing.T, values map[string]any) (d task.Draft) {
	t.Helper()
	for name, v := range values {
		if o, _ := task.Find(name); d.Take(o, v) != nil {
			t.Fatalf("%s cannot be %v", name, v)
		}
	}
	return d
}
