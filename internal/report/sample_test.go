package report

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
)

var now = time.Date(2026, 11, 22, 16, 30, 0, 0, time.UTC)

// run is one attempt of a sample.
type run struct {
	at, took time.Duration // of a task's creation; took 0: it goes on
	status   task.Status
	reason   task.FailureReason
	message  string
	usd      float64
}

// entry makes a task that ran as said, ending as the last run did.
func entry(created time.Time, name, prompt, answer string, runs ...run) Entry {
	t := task.Task{ID: task.NewID(created), PromptBytes: len(prompt), PromptHead: task.Head(prompt), Status: task.Queued, CreatedAt: created, QueuedAt: created}
	t.Spec = task.Spec{Name: name, WorkingDir: "/home/ada/project", Labels: []string{"nightly"}}
	e := Entry{Prompts: []Prompt{{1, prompt, int64(len(prompt))}}}
	for i, r := range runs {
		a := task.Attempt{N: i + 1, Kind: task.First, Status: r.status, Reason: r.reason, Message: r.message, CreatedAt: created, CostUSD: r.usd, NumTurns: 4, PromptN: 1}
		if i > 0 {
			a.Kind = task.Resume
			e.Prompts = append(e.Prompts, Prompt{i + 1, "Go on, but leave the tests alone.", 33})
		}
		a.StartedAt = created.Add(r.at)
		if t.StartedAt.IsZero() {
			t.StartedAt = a.StartedAt
		}
		t.FinishedAt = time.Time{}
		t.History = append(t.History, task.Change{At: a.StartedAt, To: task.Running})
		if r.status.Ended() {
			a.FinishedAt = a.StartedAt.Add(r.took)
			a.DurationMS = r.took.Milliseconds()
			t.FinishedAt = a.FinishedAt
		}
		t.Attempt, t.Status, t.Reason, t.Message, t.Model = i+1, r.status, r.reason, r.message, "claude-opus-5-5"
		t.CostUSD, t.NumTurns, t.DurationMS = t.CostUSD+r.usd, t.NumTurns+4, t.DurationMS+a.DurationMS
		t.Usage = t.Usage.Add(task.Usage{InputTokens: 900, OutputTokens: 4100, CacheReadTokens: 90_000})
		t.Attempts = append(t.Attempts, a)
	}
	if len(runs) == 0 {
		t.Attempts = []task.Attempt{{N: 1, Kind: task.First, Status: task.Queued, PromptN: 1, CreatedAt: created}}
	}
	if answer != "" {
		t.Result, t.ResultBytes = &answer, int64(len(answer))
	}
	e.Task = t
	return e
}

// sample is a day's work of 60 tasks: every status, retries, a quiet night.
func sample() []Entry {
	r := rand.New(rand.NewPCG(1, 2))
	verbs := []string{"Fix the flaky test in the queue", "Review the open pull request", "Write the changelog of this week", "Port the parser to the new grammar", "Find out why the build is slow", "Translate the messages", "Look for dead code and remove it", "Measure the start of the daemon"}
	bad := []run{
		{status: task.Failed, reason: task.ReasonRateLimited, message: "API Error: 429 rate_limit_error: this request would exceed the rate limit of your organization"},
		{status: task.Timeout, reason: task.ReasonDeadline, message: "stopped at its deadline of 30m0s"},
		{status: task.Cancelled, reason: task.ReasonCancelled, message: "cancelled"},
		{status: task.Interrupted, reason: task.ReasonInterrupted, message: "killed by signal 9, perhaps out of memory"},
		{status: task.Failed, reason: task.ReasonMaxTurns, message: "reached the limit of 30 turns"},
		{status: task.Failed, reason: task.ReasonStructuredOutput, message: "no structured output"},
	}
	var es []Entry
	at := now.Add(-26 * time.Hour)
	for i := range 60 {
		at = at.Add(time.Duration(r.IntN(300)) * time.Second)
		if i == 34 {
			at = now.Add(-150 * time.Minute)
		}
		name := ""
		if i%3 == 0 {
			name = fmt.Sprintf("job-%02d", i)
		}
		took := time.Duration(30+r.IntN(1500)) * time.Second
		ok := run{at: time.Duration(r.IntN(60)) * time.Second, took: took, status: task.Completed, usd: 0.02 + r.Float64()*1.4}
		prompt := verbs[i%len(verbs)] + fmt.Sprintf(" (%d).\n\nRead the sources first, say what you found, and change as little as you can.", i)
		answer := "Done.\n\n1. The test waited for a fixed time; it waits for the signal now.\n2. `go test -race -count=100` passes.\n\n```go\nfor range 3 {\n\tfmt.Println(\"a line of code\")\n}\n```"
		switch {
		case i >= 57:
			es = append(es, entry(now.Add(-time.Minute), name, prompt, ""))
		case i >= 52:
			es = append(es, entry(now.Add(-time.Duration(r.IntN(900))*time.Second), name, prompt, "", run{at: time.Second, status: task.Running}))
		case i%5 == 2:
			b := bad[i/5%len(bad)]
			b.at, b.took, b.usd = ok.at, took, ok.usd/2
			es = append(es, entry(at, name, prompt, "", b))
		case i%9 == 4:
			b := bad[3]
			b.at, b.took, b.usd = ok.at, took/2, ok.usd/2
			ok.at = b.at + b.took + 2*time.Minute
			es = append(es, entry(at, name, prompt, answer, b, ok))
		default:
			es = append(es, entry(at, name, prompt, answer, ok))
		}
	}
	for i, j := 0, len(es)-1; i < j; i, j = i+1, j-1 {
		es[i], es[j] = es[j], es[i]
	}
	return es
}

// render makes the page of some tasks.
func render(t *testing.T, es []Entry) []byte {
	t.Helper()
	r := New(now)
	for _, e := range es {
		r.Add(e)
	}
	var b bytes.Buffer
	must(t, r.Write(&b, About{Version: "test"}))
	return b.Bytes()
}

// file puts a page where a browser finds it.
func file(t *testing.T, page []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	must(t, os.WriteFile(path, page, 0o600))
	return path
}

// hostile is what tasks may say to take over the page.
var hostile = []string{
	`</script><script>window.taken=1</script>`, `<!--<script>`, `<img src=x onerror="window.taken=1">`, `"><svg onload=window.taken=1>`,
	"\u2028window.taken=1\u2029", "*/window.taken=1/*", "{{.Data}}", `${window.taken=1}`, "\x00\x01\x1b[31m", "\xff\xfe torn \xe2\x82",
	"\u202egnp.exe", "]]>", "&lt;script&gt;", `\u003c/script>`, strings.Repeat("W", 3000),
}

func hostileEntries() []Entry {
	var es []Entry
	for i, h := range hostile {
		e := entry(now.Add(-time.Duration(i)*time.Minute), h, h, h, run{took: time.Minute, status: task.Failed, reason: task.FailureReason(h), message: h}, run{at: 2 * time.Minute, took: time.Second, status: task.Interrupted, reason: task.ReasonUnknown, message: h})
		e.Task.Spec.Labels, e.Task.Spec.WorkingDir, e.Task.Model = []string{h}, h, h
		e.Prompts[1].Text = h
		es = append(es, e)
	}
	return es
}
