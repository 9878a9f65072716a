package cli

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/human"
)

func TestLineWriter(t *testing.T) {
	t.Parallel()
	const text = "one\n\ntwo and more\nlast"
	for size := 1; size <= len(text); size++ {
		var lines []string
		w := &human.LineWriter{Line: func(l []byte) error { lines = append(lines, string(l)); return nil }}
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

func runningTask() task.Task {
	now := time.Now()
	return task.Task{
		ID: task.NewID(now), Status: task.Running, Attempt: 1, CreatedAt: now, StartedAt: now,
		PromptHead: "say \x1b[31mhello\nagain", PromptBytes: 19,
		History:  []task.Change{{At: now, To: task.Running}},
		Progress: &task.Progress{Turns: 3, LastTool: "Bash ls\x1b[2J", CostUSD: 0.5},
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	p := progress{task: runningTask()}
	line := p.line(p.task.StartedAt.Add(12 * time.Second))
	if want := fmt.Sprintf(`task %s running 12s, turn 3, $0.5000, Bash ls\x1b[2J`, p.task.ID); line != want {
		t.Errorf("got  %q\nwant %q", line, want)
	}
	p.task.Progress.Retrying = "attempt 3 of 10: overloaded"
	if line := p.line(time.Now()); !strings.HasSuffix(line, "attempt 3 of 10: overloaded") {
		t.Errorf("a retry is not told: %q", line)
	}
	p.task.Status, p.task.Progress, p.task.QueuePosition = task.Queued, nil, 2
	if line := p.line(time.Now()); !strings.HasSuffix(line, "queued, 2 in the queue") {
		t.Errorf("queued: %q", line)
	}
}

// TestPlainProgress tells a change of status at once and the rest rarely; the
// end is told by what follows.
func TestPlainProgress(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := newProgress(&out)
	x := runningTask()
	for turn := range 50 {
		x.Progress.Turns = turn
		p.update(x)
		p.tick()
	}
	p.at = p.at.Add(-plainEvery)
	p.update(x)
	x.Status = task.Completed
	p.update(x)
	p.clear()
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines, want 2:\n%s", n, out.String())
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("escapes where no terminal is: %q", out.String())
	}
}

func TestTableIsPlainAndAligned(t *testing.T) {
	t.Parallel()
	x, y := runningTask(), runningTask()
	y.Status, y.Spec.Name = task.Completed, "docs"
	cols, err := parseColumns(defaultColumns)
	if err != nil {
		t.Fatal(err)
	}
	out := table(cols, []task.Task{x, y}, math.MaxInt32, false, time.Now())
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != 3 || strings.Contains(out, "\x1b") {
		t.Fatalf("got:\n%q", lines)
	}
	col := strings.Index(lines[0], "PROMPT")
	if !strings.HasPrefix(lines[1][col:], `say \x1b[31mhello again`) || !strings.HasPrefix(lines[2][col:], "docs: say") {
		t.Errorf("not aligned:\n%s", out)
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
		if got := shorten(test.text, test.width); got != test.want {
			t.Errorf("%q in %d columns: %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

func TestBlock(t *testing.T) {
	t.Parallel()
	x := runningTask()
	answer := "the answer\x07\n"
	x.Become(task.Failed, time.Now(), "")
	x.Reason, x.Message, x.Result, x.Progress = task.ReasonAuth, "Not logged in", &answer, nil
	x.Attempts = []task.Attempt{{N: 1, Kind: task.First}, {N: 2, Kind: task.Resume}}
	got := block(x, time.Now())
	for _, want := range []string{
		"status       failed\n", "message      Not logged in\n", "reason       auth\n", "next         Log in",
		`prompt       say \x1b[31mhello again`, "attempt 2    resume", "\nthe answer\\x07\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}
