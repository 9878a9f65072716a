package claude

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"cctask/engine/task"
)

const (
	initLine   = `{"type":"system","subtype":"init","session_id":"s","claude_code_version":"2","model":"m"}` + "\n"
	resultLine = `{"type":"result","subtype":"success","is_error":false,"result":"Yes.","num_turns":1,"duration_ms":5,"total_cost_usd":0.5}` + "\n"
)

func say(id, text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"type":"assistant","message":{"id":%q,"model":"m","content":[{"type":"text","text":%s}]},"parent_tool_use_id":null}`+"\n", id, quoted)
}

func TestProgressGrowsWithTheStream(t *testing.T) {
	t.Parallel()
	p := NewParser()
	for _, step := range []struct {
		line string
		want Progress
	}{
		{`{"type":"sys`, Progress{}},
		{
			`tem","subtype":"init","session_id":"s","claude_code_version":"2","model":"m"}` + "\r\n",
			Progress{Progress: task.Progress{Events: 1}},
		},
		{
			`{"type":"system","subtype":"api_retry","attempt":3,"max_retries":10,"error_status":529,"error":"overloaded"}` + "\n",
			Progress{Progress: task.Progress{Events: 2, Retrying: "attempt 3 of 10: overloaded (529)"}},
		},
		{
			`{"type":"system","subtype":"api_retry","attempt":4,"max_retries":10,"error_status":null,"error":"unknown"}` + "\n",
			Progress{Progress: task.Progress{Events: 3, Retrying: "attempt 4 of 10: no answer from the API"}},
		},
		{say("1", "First.\nThen \x1b[31mred.\n"), Progress{Progress: task.Progress{Events: 4, Turns: 1, LastText: `Then \x1b[31mred.`}}},
		{
			`{"type":"assistant","message":{"id":"1","content":[{"type":"tool_use","name":"Bash","input":{"command":"go\n test  ./..."}}]}}` + "\n",
			Progress{Progress: task.Progress{Events: 5, Turns: 1, LastTool: "Bash go test ./...", LastText: `Then \x1b[31mred.`}},
		},
		{
			`{"type":"assistant","message":{"id":"sub","content":[{"type":"text","text":"no"},{"type":"tool_use","name":"mcp__x__y","input":{"a":[1]}}]},"parent_tool_use_id":"t"}` + "\n",
			Progress{Progress: task.Progress{Events: 6, Turns: 1, LastTool: `mcp__x__y {"a":[1]}`, LastText: `Then \x1b[31mred.`}},
		},
		{say("2", "Next."), Progress{Progress: task.Progress{Events: 7, Turns: 2, LastTool: `mcp__x__y {"a":[1]}`, LastText: "Next."}}},
		{"what?\n\n" + resultLine, Progress{Progress: task.Progress{Events: 8, Turns: 1, LastTool: `mcp__x__y {"a":[1]}`, LastText: "Next.", CostUSD: 0.5}, Skipped: 1, Resulted: true}},
		{say("2", "More."), Progress{Progress: task.Progress{Events: 9, Turns: 2, LastTool: `mcp__x__y {"a":[1]}`, LastText: "More.", CostUSD: 0.5}, Skipped: 1}},
	} {
		if n, err := p.Write([]byte(step.line)); n != len(step.line) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		if step.want.Events > 0 {
			step.want.SawInit, step.want.SessionID, step.want.Version, step.want.Model = true, "s", "2", "m"
		}
		if got := p.Progress(); got != step.want {
			t.Errorf("after %.60q\ngot  %+v\nwant %+v", step.line, got, step.want)
		}
	}
}

// What claude waits for of its own: in a recorded run, in the shape of calls in a
// subagent, and where one of those is never answered.
func TestWhatClaudeWaitsFor(t *testing.T) {
	t.Parallel()
	call := func(id, in string) string {
		return fmt.Sprintf(`{"type":"assistant","message":{"id":"m","content":[{"type":"tool_use","id":%q,"name":"Bash"}]},"parent_tool_use_id":%q}`, id, in)
	}
	answer := func(id string) string {
		return fmt.Sprintf(`{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":%q,"content":"x"}]}}`, id)
	}
	lines := func(name string) []string {
		out, _ := record(t, name)
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	for name, c := range map[string]struct {
		lines []string
		want  string // after each line: tools, in the background, has a result
	}{
		"tool":                   {lines("tool"), "00- 00- 10- 00- 00- 00R"},
		"denied":                 {lines("denied"), "00- 00- 10- 10- 00- 00- 00R"},
		"background":             {lines("background"), "00- 00- 10- 11- 11- 01- 01- 01R 01R 01R 00R 00R 00- 00R"},
		"subagent":               {lines("subagent"), "00- 10- 11- 11- 01- 01- 01- 01- 00- 00- 00R 00R 00- 00R"},
		"side by side":           {[]string{call("a", ""), call("b", ""), answer("b"), answer("a")}, "10- 20- 10- 00-"},
		"in the foreground":      {[]string{call("a", ""), call("b", "a"), call("c", "b"), answer("a")}, "10- 20- 30- 00-"},
		"of one that has ended":  {[]string{call("b", "a"), answer("c"), answer("")}, "00- 00- 00-"},
		"left open by a result":  {[]string{call("a", ""), resultLine}, "10- 00R"},
		"a user who only speaks": {[]string{call("a", ""), `{"type":"user","message":{"content":"tool_use_id a"}}`, `{"type":"user","message":"a"}`}, "10- 10- 10-"},
	} {
		p, got := NewParser(), []string(nil)
		for _, line := range c.lines {
			if _, err := p.Write([]byte(strings.TrimSpace(line) + "\n")); err != nil {
				t.Fatal(err)
			}
			now := p.Progress()
			got = append(got, fmt.Sprintf("%d%d%s", now.OpenTools, now.Background, map[bool]string{true: "R", false: "-"}[now.Resulted]))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s:\n%s, want\n%s", name, strings.Join(got, " "), c.want)
		}
	}
}

// slow is by how much to shrink the large tests: the race detector makes the
// JSON decoder about ten times slower, and nothing here is concurrent.
func slow() int {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 10
	}
	return 1
}

// What the parser knows must not depend on where the stream was cut.
func TestRecordingsInPieces(t *testing.T) {
	t.Parallel()
	for _, r := range recordings {
		stdout, _ := record(t, r.name)
		whole := parse(stdout)
		for size := 1; size < 5000; size = size*3 + 1 {
			p := NewParser()
			for piece := range slices.Chunk(stdout, size) {
				_, _ = p.Write(piece)
			}
			p.Flush()
			if p.Progress() != whole.Progress() || !reflect.DeepEqual(p.Judge(r.end), whole.Judge(r.end)) {
				t.Errorf("%s in pieces of %d: %+v", r.name, size, p.Judge(r.end))
			}
		}
	}
}

func TestTornLastLine(t *testing.T) {
	t.Parallel()
	stream := initLine + say("1", "Yes.") + strings.TrimSuffix(resultLine, "\n")
	if o := parse([]byte(stream)).Judge(End{}); o.Status != completed || string(o.Result) != "Yes." {
		t.Errorf("whole line without a newline: %+v", o)
	}
	p := parse([]byte(stream[:len(stream)-1]))
	if o := p.Judge(End{}); o.Status != failed || o.Reason != "no_result" || p.Progress().Skipped != 1 {
		t.Errorf("torn line: %+v", o)
	}
}

func TestKeyOrderAndUnexpectedTypes(t *testing.T) {
	t.Parallel()
	p := parse([]byte(initLine +
		`{"num_turns":"many","usage":[],"total_cost_usd":2,"errors":"x","result":"Yes.","permission_denials":7,"is_error":false,"session_id":{},"subtype":"success","type":"result"}`))
	if o := p.Judge(End{}); o.Status != completed || string(o.Result) != "Yes." || o.TotalCost != 2 || o.Turns != 0 {
		t.Errorf("%+v", o)
	}
}

func TestGarbageIsPassedOver(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"type":`, 1<<20) + "\n" + `{"type":"x","a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}\n"
	junk := "\x00\x00\x00\n{}\nnull\n12\n[{}]\n\"result\"\n{\"type\":\"result\"\n\xff\xfe\n{\"type\":7}\n" + deep
	p := parse([]byte(initLine + junk + resultLine + junk))
	if o := p.Judge(End{}); o.Status != completed || string(o.Result) != "Yes." {
		t.Errorf("%+v", o)
	}
	if got := p.Progress(); got.Events != 4 || got.Skipped != 20 {
		t.Errorf("%+v", got)
	}
}

// nested is a line of a MiB that nests deep.
func nested(depth int) []byte {
	return []byte(`{"type":"user","message":` + strings.Repeat(`{"content":[`, depth) + `"` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat("]}", depth) + "}")
}

// A line must be copied a fixed number of times, however deep it nests.
func TestDeepNestingIsLinear(t *testing.T) { // not parallel: it counts the allocations of all
	copied := func(depth int) uint64 {
		var before, after runtime.MemStats
		line := nested(depth)
		runtime.ReadMemStats(&before)
		parse(line)
		Render(line)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if flat, deep := copied(1), copied(4000); deep > 4*flat+1<<20 {
		t.Errorf("a line of a MiB takes %d bytes, the same nested 4000 times %d", flat, deep)
	}
}

// BenchmarkNested takes as long at each depth.
func BenchmarkNested(b *testing.B) {
	for _, depth := range []int{1, 4000} {
		line := nested(depth)
		b.Run(strconv.Itoa(depth), func(b *testing.B) {
			for b.Loop() {
				parse(line)
				Render(line)
			}
		})
	}
}

func TestLongLines(t *testing.T) {
	t.Parallel()
	answer := strings.Repeat("0123456789abcdef", 50<<20/16/slow())
	p := NewParser()
	_, _ = p.Write([]byte(initLine))
	for piece := range slices.Chunk([]byte(strings.Replace(resultLine, "Yes.", answer, 1)), 256<<10) {
		_, _ = p.Write(piece)
	}
	if o := p.Judge(End{}); string(o.Result) != answer {
		t.Errorf("an answer of %d bytes came as %d bytes", len(answer), len(o.Result))
	}
	if cap(p.tail) > 1<<20 {
		t.Errorf("%d bytes stay in memory after a long line", cap(p.tail))
	}
	pad := bytes.Repeat([]byte(" "), 1<<20)
	for range MaxLine>>20 + 1 {
		_, _ = p.Write(pad)
		if cap(p.tail) > 2*MaxLine {
			t.Fatalf("%d bytes in memory", cap(p.tail))
		}
	}
	_, _ = p.Write([]byte("\n" + say("1", "Still here.")))
	if got := p.Progress(); got.Skipped != 1 || got.LastText != "Still here." {
		t.Errorf("after a line of more than MaxLine: %+v", got)
	}
}

func TestManyUnknownEvents(t *testing.T) {
	t.Parallel()
	p := NewParser()
	_, _ = p.Write([]byte(initLine))
	block := []byte(strings.Repeat(`{"type":"system","subtype":"news","n":1}`+"\n", 1000))
	blocks := 1000 / slow()
	for range blocks {
		_, _ = p.Write(block)
	}
	_, _ = p.Write([]byte(resultLine))
	if got := p.Progress(); got.Events != 1000*blocks+2 || p.Judge(End{}).Status != completed {
		t.Errorf("%+v", got)
	}
}

func FuzzParser(f *testing.F) {
	for _, name := range []string{"background", "retry_529", "usage_limit", "sigint_waiting", "structured", "resume_unknown"} {
		stdout, _ := record(f, name)
		f.Add(stdout, uint64(7), "", 0, "")
		f.Add(stdout[:len(stdout)*2/3], uint64(1), "SIGKILL", 137, "No conversation found with session ID")
	}
	f.Add([]byte(initLine+say("1", "a\x00b")+resultLine), uint64(3), "SIGSEGV", 1, "\x1b[0m\n")
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64, signal string, code int, stderr string) {
		whole, p := parse(stream), NewParser()
		random := rand.New(rand.NewPCG(seed, 0))
		for rest := stream; len(rest) > 0; {
			n := min(1+random.IntN(1+random.IntN(300)), len(rest))
			piece := bytes.Clone(rest[:n])
			_, _ = p.Write(piece)
			clear(piece) // the parser must not hold on to it
			rest = rest[n:]
		}
		p.Flush()
		if p.Progress() != whole.Progress() {
			t.Fatalf("got  %+v\nwant %+v", p.Progress(), whole.Progress())
		}
		for _, e := range []End{
			{ExitCode: code, Signal: signal, Stderr: []byte(stderr), WantStructured: code%2 == 0, Root: true},
			{NoRecord: true},
			{Stopped: "cancel"},
			{Stopped: "deadline", Deadline: time.Hour},
			{Stopped: "output_limit"},
			{Stopped: "terminated"},
			{Stopped: "stall", Stall: time.Hour},
			{Stopped: "answered", ExitCode: 143},
		} {
			got := p.Judge(e)
			if want := whole.Judge(e); !reflect.DeepEqual(got, want) {
				t.Fatalf("got  %+v\nwant %+v", got, want)
			}
			checkShape(t, got)
		}
		checkLine(t, p.Progress().LastTool, maxTool)
		checkLine(t, p.Progress().LastText, maxText)
		for line := range bytes.Lines(stream) {
			for _, l := range Render(line) {
				if l.Kind != KindText && l.Kind != KindError && strings.Contains(l.Text, "\n") {
					t.Fatalf("%s of several lines: %q", l.Kind, l.Text)
				}
				checkLine(t, strings.NewReplacer("\n", " ", "\t", " ").Replace(l.Text), len(l.Text))
			}
		}
	})
}

// reasons is the closed list of the wire format, as far as a run can have them.
var reasons = []task.FailureReason{
	"invalid_request", "auth", "billing", "usage_limit", "rate_limited", "overloaded", "network", "model_not_found",
	"context_overflow", "max_turns", "max_budget", "structured_output", "permission_denied_root", "deadline", "stalled", "startup_timeout", "budget", "cancelled",
	"session_lost", "process_failed", "no_result", "output_limit", "disk_full", "interrupted", "unknown",
}

func checkShape(t *testing.T, o Outcome) {
	t.Helper()
	if !slices.Contains([]task.Status{completed, failed, timeout, cancelled, interrupted}, o.Status) {
		t.Fatalf("status %q", o.Status)
	}
	if o.Status == completed != (o.Reason == "") || o.Reason != "" && !slices.Contains(reasons, o.Reason) {
		t.Fatalf("status %q with reason %q", o.Status, o.Reason)
	}
	if o.Status != completed && o.Message == "" {
		t.Fatalf("%s without a message", o.Reason)
	}
	checkLine(t, o.Message, 1000)
}

// checkLine holds that a text is one line that is harmless on a terminal.
func checkLine(t *testing.T, s string, limit int) {
	t.Helper()
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || utf8.RuneCountInString(s) > limit {
		t.Fatalf("not one harmless line of at most %d characters: %q", limit, s)
	}
}

func BenchmarkParser(b *testing.B) {
	background, _ := record(b, "background")
	edit, _ := record(b, "edit")
	result := strings.Repeat("output of a tool, with \\\"quotes\\\" and\\nnewlines ", 20000)
	for name, stream := range map[string][]byte{
		"recordings":   append(background, edit...),
		"tool results": []byte(`{"type":"user","message":{"content":[{"type":"tool_result","content":"` + result + `"}]},"tool_use_result":{"stdout":"` + result + `"}}` + "\n"),
		"text":         []byte(`{"type":"assistant","message":{"id":"m","role":"assistant","content":[{"type":"text","text":"` + result[:len(result)/500] + `"}]}}` + "\n"),
		"answer":       []byte(strings.Replace(resultLine, "Yes.", result, 1)),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			p := NewParser()
			for b.Loop() {
				for piece := range slices.Chunk(stream, 256<<10) {
					_, _ = p.Write(piece)
				}
			}
		})
	}
}
