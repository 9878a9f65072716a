package show

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
)

var update = flag.Bool("update", false, "write the goldens anew")

var now = time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)

// whole is a task of which everything is known.
func whole() task.Task {
	code := 1
	return task.Task{
		ID: task.NewID(now), Status: task.Failed, Message: "no", Reason: task.ReasonAuth, StopReason: task.StopCancel, Attempt: 2, PromptHead: "do",
		Spec:      task.Spec{Name: "n", Labels: []string{"a", "b"}, WorkingDir: "/w", Model: "opus", Group: "g", Priority: 1, Site: "s"},
		CreatedAt: now, StartedAt: now, FinishedAt: now, RetryAt: now, SessionID: "s", ExitCode: &code,
		CostUSD: 1, CostUncertain: true, NumTurns: 3, DurationMS: 2000, QueuePosition: 1,
		Host: "h", ParentID: "p", RootID: "r", Depth: 1,
		Waiting: task.Waiting{For: task.WaitDependency, Until: now, On: []string{"x"}},
		Usage:   task.Usage{InputTokens: 1, OutputTokens: 2, CacheCreationTokens: 3, CacheReadTokens: 4},
	}
}

// TestOneVocabulary: a field has the name that it has in JSON, so that who knows
// one door knows all.
func TestOneVocabulary(t *testing.T) {
	t.Parallel()
	var names []string
	for _, of := range []reflect.Type{reflect.TypeFor[task.View](), reflect.TypeFor[task.Usage]()} {
		for _, f := range reflect.VisibleFields(of) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	for _, s := range task.Sorts {
		if !slices.ContainsFunc(Fields, func(f Field) bool { return f.Sort == s }) {
			t.Errorf("no field is the order %s", s)
		}
	}
	seen := map[string]bool{}
	values := Values(Row{Task: whole(), Now: now})
	for _, f := range Fields {
		if !slices.Contains(names, f.Name) {
			t.Errorf("no object has %s", f.Name)
		}
		for _, name := range append(f.Old, f.Name) {
			if seen[name] {
				t.Errorf("%s is the name of two fields", name)
			}
			seen[name] = true
			if found, ok := Find(strings.ToLower(name)); !ok || found.Name != f.Name {
				t.Errorf("%s finds %s", name, found.Name)
			}
		}
		v := values[f.Name]
		if Plain(v) == "" || f.Cell(Row{Task: whole(), Now: now}) == "" || f.Fact(Row{Task: whole(), Now: now}) == "" {
			t.Errorf("%s of a task that has everything is %v", f.Name, v)
		}
	}
}

func columns(t *testing.T, names string) (fields []Field) {
	t.Helper()
	for name := range strings.SplitSeq(names, ",") {
		f, ok := Find(name)
		if !ok {
			t.Fatalf("no field %s", name)
		}
		fields = append(fields, f)
	}
	return fields
}

// TestTableFits: no line is wider than the terminal, however wide its
// characters, the columns stand below each other, and neither a number nor a
// status is ever cut.
func TestTableFits(t *testing.T) {
	t.Parallel()
	x, y := whole(), whole()
	x.Spec.Name, x.PromptHead = strings.Repeat("漢字", 30), strings.Repeat("🙂 word ", 30)
	x.CostUSD, x.Message = 1234.5, strings.Repeat("because ", 20)
	cols := columns(t, "task_id,name,status,cost_usd,created_at,working_dir,status_message,prompt")
	for width := 23; width < 250; width++ {
		lines := strings.Split(strings.TrimSuffix(Table(cols, []Row{{Task: x, Now: now}, {Task: y, Now: now}}, width, false, true), "\n"), "\n")
		for _, l := range lines {
			if Width(l) > width {
				t.Errorf("%d columns of %d: %q", Width(l), width, l)
			}
		}
		a, _, _ := strings.Cut(lines[1], " fa")
		b, _, _ := strings.Cut(lines[2], " fa")
		if Width(a) != Width(b) || !strings.Contains(lines[1], "failed") {
			t.Errorf("in %d columns not aligned:\n%s", width, strings.Join(lines, "\n"))
		}
		if strings.Contains(lines[0], "COST") != strings.Contains(lines[1], " $1234.50") {
			t.Errorf("in %d columns a sum is cut:\n%s", width, strings.Join(lines, "\n"))
		}
		if id, _, _ := strings.Cut(lines[1], " "); id != string(x.ID) && (id != ShortID(x.ID) || width >= wholeIDs) {
			t.Errorf("in %d columns the id is %q of %s", width, id, x.ID)
		}
	}
}

func TestTableIsPlainWhereNothingLimitsIt(t *testing.T) {
	t.Parallel()
	x, y := whole(), whole()
	x.Spec.Name, x.PromptHead, x.Message = "", "say \x1b[31mhello\nagain", ""
	out := Table(columns(t, "task_id,status,name,prompt"), []Row{{Task: x, Now: now}, {Task: y, Now: now}}, math.MaxInt32, false, true)
	want := fmt.Sprintf("%-26s  STATUS  NAME  PROMPT\n%s  failed  -     say \\x1b[31mhello again\n%s  failed  n     do\n", "ID", x.ID, y.ID)
	if out != want {
		t.Errorf("got:\n%swant:\n%s", out, want)
	}
}

// some is what a person has at noon.
func some() (rows []Row) {
	at := func(n int, status task.Status, name, prompt string) *task.Task {
		then := now.Add(-time.Duration(n) * 17 * time.Minute)
		rows = append(rows, Row{Task: task.Task{
			ID: task.ID(fmt.Sprintf("01ABCDEFGHJKMNPQRSTVWXYZ%02d", n)), Status: status, PromptHead: prompt,
			Spec: task.Spec{Name: name}, CreatedAt: then,
		}, Now: now})
		t := &rows[len(rows)-1].Task
		if status != task.Queued {
			t.StartedAt, t.History, t.CostUSD, t.DurationMS = then, []task.Change{{At: then, To: task.Running}}, 0.0435*float64(n), int64(n)*61_234
		}
		return t
	}
	at(1, task.Queued, "", "Build the documentation and look at every page of it").Message = "2 more tasks with group docs may run"
	at(2, task.Running, "refactor-parser", "Split the parser into a lexer and a grammar")
	at(3, task.Completed, "翻訳-🚀", "README を翻訳してください。")
	rows[0].Message, rows[0].Waiting = "", task.Waiting{For: task.WaitDependency, On: []string{"lint", "unit-tests"}}
	failed := at(4, task.Failed, "review-of-the-authentication", "Review the authentication and list what is wrong")
	failed.Message, failed.Reason, failed.CostUSD = "API Error: 529 overloaded, after 10 attempts", task.ReasonAuth, 38.0476
	at(5, task.Interrupted, "", "Find out why the test of the clock fails on Mondays").Reason = task.ReasonInterrupted
	at(6, task.Cancelled, "nightly", "Run all tests").Message = "cancelled"
	return rows
}

// TestTables are what a person sees, at the widths of terminals.
func TestTables(t *testing.T) {
	t.Parallel()
	cols := columns(t, "task_id,status,created_at,duration_ms,cost_usd,name,status_message,prompt")
	var unnamed []Row
	for _, r := range some() {
		r.Spec.Name = ""
		unnamed = append(unnamed, r)
	}
	for _, width := range []int{40, 60, 80, 120, 200} {
		got := Table(cols, some(), width, false, true) + "\n" + Table(cols, unnamed, width, false, true)
		file := filepath.Join("..", "..", "testdata", "list", fmt.Sprintf("%d.txt", width))
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != got {
			t.Errorf("%s; `go test ./internal/show -update` writes it anew: %v\n%s", file, err, got)
		}
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"grüße", 4, "grü…"},
		{"grüße", 5, "grüße"},
		{"漢字漢字", 8, "漢字漢字"},
		{"漢字漢字", 7, "漢字漢…"},
		{"漢字漢字", 6, "漢字…"},
		{"e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"},
		{"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
		{"🙂🙂", 3, "🙂…"},
	} {
		if got := Shorten(test.text, test.width); got != test.want {
			t.Errorf("%q in %d columns: %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

func TestAmounts(t *testing.T) {
	t.Parallel()
	got := AlignPoints([]string{"COST", Cost(0), Cost(0.04351), Cost(0.99996), Cost(38.0476), Cost(1234.5), ""})
	if want := []string{"COST", "$0.0000", "$0.0435", "$1.00  ", "$38.05  ", "$1234.50  ", ""}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for d, want := range map[time.Duration]string{
		364 * time.Millisecond: "364ms", 61 * time.Second: "1m01s", 17*time.Hour + 5*time.Minute: "17h05m",
		17_520*time.Hour + 5*time.Minute: "730d00h",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestLineWriter(t *testing.T) {
	t.Parallel()
	const text = "one\n\ntwo and more\nlast"
	for size := 1; size <= len(text); size++ {
		var lines []string
		w := &LineWriter{Line: func(l []byte) error { lines = append(lines, string(l)); return nil }}
		for i := 0; i < len(text); i += size {
			if _, err := w.Write([]byte(text[i:min(i+size, len(text))])); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if want := []string{"one", "", "two and more", "last"}; !slices.Equal(lines, want) {
			t.Errorf("in pieces of %d: %q", size, lines)
		}
	}
}
