package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/show"
)

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
	p := progress{Live: show.NewLive(nil), task: runningTask()}
	line := p.line(p.task.StartedAt.Add(12 * time.Second))
	if want := fmt.Sprintf(`task %s running 12s, turn 3, ~$0.5000, Bash ls\x1b[2J`, p.task.ID); line != want {
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
	p.task.QueuePosition, p.task.Waiting = 0, task.Waiting{For: task.WaitHeld}
	if line := p.line(time.Now()); !strings.HasSuffix(line, "queued, held") {
		t.Errorf("held: %q", line)
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

func TestBlock(t *testing.T) {
	t.Parallel()
	x := runningTask()
	answer := "the answer\x07\n"
	x.Become(task.Failed, time.Now(), "")
	x.Reason, x.Message, x.Result, x.Progress = task.ReasonAuth, "Not logged in", &answer, nil
	x.Attempts = []task.Attempt{{N: 1, Kind: task.First}, {N: 2, Kind: task.Resume}}
	got := block(show.Row{Task: x, Now: time.Now()})
	for _, want := range []string{
		"status       failed\n", "message      Not logged in\n", "reason       auth\n", "next         Log in",
		`prompt       say \x1b[31mhello again`, "attempt 2    resume", "\nanswer:\n\nthe answer\\x07\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}
