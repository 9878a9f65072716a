package claude

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"cctask/engine/task"
	"cctask/internal/testkit/realclaude"
)

func TestArgs(t *testing.T) {
	t.Parallel()
	base := []string{"-p", "--output-format=stream-json", "--verbose"}
	yes, no := true, false
	for _, c := range []struct {
		name string
		o    task.Spec
		n    task.Attempt
		want []string
	}{
		{"nothing", task.Spec{SkipPermissions: &no, StrictMCPConfig: &no}, task.Attempt{}, nil},
		{"what is usual", task.Spec{}, task.Attempt{}, []string{"--dangerously-skip-permissions", "--strict-mcp-config"}},
		{"new session", task.Spec{SkipPermissions: &no, StrictMCPConfig: &no}, task.Attempt{SessionID: "u"}, []string{"--session-id=u"}},
		{"resume", task.Spec{SkipPermissions: &no, StrictMCPConfig: &no}, task.Attempt{SessionID: "u", Resumes: true}, []string{"--resume=u"}},
		{"fork", task.Spec{SkipPermissions: &no, StrictMCPConfig: &no}, task.Attempt{SessionID: "u", ForkOf: "v"}, []string{"--resume=v", "--fork-session", "--session-id=u"}},
		{
			"everything",
			task.Spec{
				Model: "sonnet", SkipPermissions: &yes, PermissionMode: "plan",
				AllowedTools: []string{"Bash(git log:*)", "--model=x", "Read,Write"}, DisallowedTools: []string{"Foo(", "-p"},
				AppendSystemPrompt: "-x\nof two lines", MaxTurns: 3, MaxBudgetUSD: 0.000001, JSONSchema: []byte(`{"type":"object"}`),
				AddDirs: []string{"/a b", "-c"}, MCPConfig: []string{`{"mcpServers":{}}`, "f.json"}, StrictMCPConfig: &yes,
			},
			task.Attempt{},
			[]string{
				"--model=sonnet", "--dangerously-skip-permissions", "--permission-mode=plan",
				"--allowedTools=Bash(git log:*)", "--allowedTools=--model=x", "--allowedTools=Read,Write",
				"--disallowedTools=Foo(", "--disallowedTools=-p",
				"--append-system-prompt=-x\nof two lines", "--max-turns=3", "--max-budget-usd=0.000001", `--json-schema={"type":"object"}`,
				"--add-dir=/a b", "--add-dir=-c", `--mcp-config={"mcpServers":{}}`, "--mcp-config=f.json", "--strict-mcp-config",
			},
		},
	} {
		if got, want := Args(c.o, c.n, nil), slices.Concat(base, c.want); !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", c.name, got, want)
		}
	}
}

func FuzzArgs(f *testing.F) {
	f.Add("u", true, "--dangerously-skip-permissions", "-p", 1, 0.5)
	f.Add("", false, "a,b c", "=", -1, 0.0)
	f.Fuzz(func(t *testing.T, id string, resume bool, a, b string, turns int, budget float64) {
		no := false
		o := task.Spec{
			SkipPermissions: &no, StrictMCPConfig: &no, Model: a, PermissionMode: b, AllowedTools: []string{a, b}, DisallowedTools: []string{b},
			AppendSystemPrompt: a, MaxTurns: turns, MaxBudgetUSD: budget, JSONSchema: []byte(b), AddDirs: []string{a}, MCPConfig: []string{b, a},
		}
		values := map[string][]string{}
		for _, arg := range Args(o, task.Attempt{SessionID: id, Resumes: resume}, nil)[3:] {
			name, value, ok := strings.Cut(arg, "=")
			if !ok {
				t.Fatalf("%q stands without a name", arg)
			}
			values[name] = append(values[name], value)
		}
		for name, want := range map[string][]string{
			"--allowedTools": {a, b}, "--disallowedTools": {b}, "--add-dir": {a}, "--mcp-config": {b, a},
		} {
			if !slices.Equal(values[name], want) {
				t.Fatalf("%s %q, want %q", name, values[name], want)
			}
			delete(values, name)
		}
		for name, value := range values {
			known := []string{"--session-id", "--resume", "--model", "--permission-mode", "--append-system-prompt", "--max-turns", "--max-budget-usd", "--json-schema"}
			if !slices.Contains(known, name) || len(value) != 1 {
				t.Fatalf("%s %q", name, value)
			}
		}
	})
}

func TestStdin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		prompt  string
		literal bool
		want    string
	}{
		{"/help", false, "/help"},
		{"/help", true, "\n/help"},
		{"-x /a\r\n", true, "-x /a\r\n"},
		{"", true, ""},
	} {
		if got := string(Stdin([]byte(c.prompt), c.literal)); got != c.want {
			t.Errorf("%q, literal %v: %q", c.prompt, c.literal, got)
		}
	}
}

// The real command line must know every option: one that it renamed would end
// each task with "unknown option". --resume with an unknown session ends it
// before any request.
func TestRealClaudeKnowsTheOptions(t *testing.T) {
	t.Parallel()
	claude := realclaude.Require(t)
	home := t.TempDir()
	const session = "01939f5e-0000-4000-8000-00000000dead"
	cmd := exec.Command(claude, Args(task.Spec{
		Model: "sonnet", PermissionMode: "default",
		AllowedTools: []string{"Bash(git log:*)", "--no-such-option"}, DisallowedTools: []string{"-p"}, AppendSystemPrompt: "--no-such-option",
		MaxTurns: 1, MaxBudgetUSD: 0.01, JSONSchema: []byte(`{"type":"object"}`), AddDirs: []string{home},
		MCPConfig: []string{`{"mcpServers":{}}`},
	}, task.Attempt{SessionID: session, Resumes: true}, nil)...)
	cmd.Dir = home
	cmd.Env = realclaude.Env(home, "", "CLAUDE_CODE_MAX_RETRIES=0")
	cmd.Stdin = strings.NewReader("Hello")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err == nil {
		t.Error("claude resumed a session that does not exist")
	}
	if o := parse(stdout).Judge(End{ExitCode: cmd.ProcessState.ExitCode(), Stderr: []byte(stderr.String())}); !o.SessionLost {
		t.Errorf("%+v\n%s", o, stderr.String())
	}
}
