package claude

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

const initNote = "note| · claude 2.1.330, model claude-opus-5-5, session 01939f5e-0000-4000-8000-000000000001\n"

func TestRenderRecordings(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"tool": initNote + `text| I will look.
Then I say it.
tool| ● Bash printf 'one\ntwo\nthree\n'
output|   ⎿ one … (+2 lines)
text| Three lines.
end| ✔ 2 turns, 200ms, $0.0015
`,
		"edit": initNote + `tool| ● Write /home/user/project/a.txt
output|   ⎿ File created successfully at: /home/user/project/a.txt (file state is current in your context — no need to Read it back)
tool| ● Read /home/user/project/a.txt
output|   ⎿ 1 alpha … (+2 lines)
tool| ● Grep alpha
error|   ⎿ <tool_use_error>Error: No such tool available: Grep. Grep is not available in this session — search file contents with ` + "`grep`" + ` via the Bash tool instead.</tool_use_error>
text| Written.
end| ✔ 4 turns, 200ms, $0.0030
`,
		"denied": initNote + `text| I write.
tool| ● Write /etc/nothing.txt
error| · denied: Write: Claude requested permissions to write to /etc/nothing.txt, but you haven't granted it yet.
error|   ⎿ Claude requested permissions to write to /etc/nothing.txt, but you haven't granted it yet.
text| I was not allowed.
end| ✔ 2 turns, 200ms, $0.0015, 1 tool call denied
`,
		"retry_529": initNote + `note| · the API failed: attempt 1 of 2: overloaded (529), in 600ms
note| · the API failed: attempt 2 of 2: overloaded (529), in 1.2s
error| API Error: 529 Overloaded. This is a server-side issue, usually temporary — try again in a moment. If it persists, check your inference gateway (127.0.0.1:8080).
end| ✘ failed (1 turn, 1.8s, $0.0000)
`,
		"usage_limit": strings.Replace(initNote, "opus", "sonnet", 1) + `note| · usage limit: rejected, resets 2026-11-23T02:13:20Z
error| You've hit your 5-hour limit · resets 2:13am (UTC)
end| ✘ failed (1 turn, 100ms, $0.0000)
`,
		"structured": initNote + `tool| ● StructuredOutput {"name":"Ada","age":36}
output|   ⎿ Structured output provided successfully
text| {"name":"Ada","age":36}
end| ✔ 2 turns, 100ms, $0.0007
`,
		"sigterm_lingering": initNote + `tool| ● Bash tail -f /dev/null
output|   ⎿ Command running in background with ID: bywbqly0q. Output is being written to: /tmp/claude-1000/-home-user-project/01939f5e-0000-4000-8000-000000000001/tasks/bywbqly0q.output. You will be notified whe…
text| Started it.
end| ✔ 2 turns, 200ms, $0.0015
note| · background work stopped: Run it
`,
		"sigint_waiting": initNote + "note| · [Request interrupted by user]\n",
		"resume_unknown": "end| ✘ No conversation found with session ID: 22222222-2222-4222-8222-222222222222 (0 turns, 0s, $0.0000)\n",
	} {
		stdout, _ := record(t, name)
		if got := rendered(stdout); got != want {
			t.Errorf("%s\ngot\n%s\nwant\n%s", name, got, want)
		}
	}
}

func rendered(stdout []byte) string {
	var b strings.Builder
	for line := range bytes.Lines(stdout) {
		for _, l := range Render(line) {
			b.WriteString(l.Kind + "| " + l.Text + "\n")
		}
	}
	return b.String()
}

func TestRenderLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line string
		want []Line
	}{
		{"\r\n", nil},
		{`{"type":"news"}`, nil},
		{"warning: \x1b[1mhot\x1b[0m", []Line{{KindRaw, `warning: \x1b[1mhot\x1b[0m`}}},
		{`{"type":"rate_limit_event","rate_limit_info":{"status":"allowed"}}`, nil},
		{
			`{"type":"assistant","parent_tool_use_id":"t","message":{"content":"one\ntwo\u001b]0;x\u0007"}}`,
			[]Line{{KindText, "  one\n  two\\x1b]0;x\\x07"}},
		},
		{
			`{"type":"user","message":{"content":[{"type":"tool_result","content":[{"type":"image"},{"type":"text","text":"a\u001b[2J"}]},{"type":"tool_result","content":""}]}}`,
			[]Line{{KindOutput, "  ⎿ (image) … (+1 line)"}, {KindOutput, "  ⎿ (no output)"}},
		},
		{
			`{"type":"result","subtype":"error_during_execution","is_error":true,"terminal_reason":"aborted_tools","num_turns":3,"duration_ms":900}`,
			[]Line{{KindEnd, "✘ interrupted (3 turns, 900ms)"}},
		},
	} {
		if got := Render([]byte(c.line)); !slices.Equal(got, c.want) {
			t.Errorf("%s\ngot  %q\nwant %q", c.line, got, c.want)
		}
	}
}

func TestVisible(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain\ttext\nÄ 日本 👩‍👩‍👧 🇨🇭": "plain\ttext\nÄ 日本 👩‍👩‍👧 🇨🇭",
		"a\r\nb\rc":             `a` + "\n" + `b\rc`,
		"\x1b[31m\x00\x7f":      `\x1b[31m\x00\x7f`,
		"\u009b31m\u202e\u2028": `\u009b31m\u202e\u2028`,
		"\ufeff\U000e0041":      `\ufeff\U000e0041`,
		"\xff\xc3\ufffd":        `\xff\xc3` + "\ufffd",
	} {
		if got := Visible(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{" a\n\t b ", "a b"},
		{"0123456789", "0123456789"},
		{"0123456789x", "012345678…"},
		{strings.Repeat("ä", 100), "äääääääää…"},
		{strings.Repeat(" ", 1000) + "x", "…"},
		{strings.Repeat("a", 5) + strings.Repeat(" ", 1000), "aaaaa…"},
		{"\x1b\x1b\x1b", `\x1b\x1b\…`},
	} {
		if got := oneLine(c.in, 10); got != c.want {
			t.Errorf("%.20q: %q, want %q", c.in, got, c.want)
		}
	}
}
