package dump

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
)

var update = flag.Bool("update", false, "write the golden files anew")

var at = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// memory is a source of two tasks, one with all kinds of streams.
type memory struct {
	page   task.DumpPage
	stream map[task.Stream]string // of attempt 1 of the first task
}

func newMemory() *memory {
	code := 3
	a := task.Task{
		ID: "01M6BFP5G0RSAG6HQEM035MGCZ", Status: task.Failed, Message: "it `broke`\n# really", Reason: task.ReasonProcessFailed, Attempt: 1,
		Spec:      task.Spec{WorkingDir: "/p", Name: "=first, \"one\"", Labels: []string{"a", "b"}, MCPConfig: []string{`{"env":{"API_KEY":"so secret"}}`}},
		CreatedAt: at, QueuedAt: at, StartedAt: at.Add(time.Second), FinishedAt: at.Add(time.Minute), ExitCode: &code, CostUSD: 0.25, PromptHead: "do <it>",
		PromptBytes: len("do <it>\n## now"), StdoutBytes: 70_003, StderrBytes: 3, ResultBytes: 4,
	}
	b := task.Task{ID: "01M6BFP6F8QTYP0JBTP8285DMZ", Status: task.Queued, Seq: 2, Spec: task.Spec{WorkingDir: "/p"}, CreatedAt: at}
	m := &memory{stream: map[task.Stream]string{
		task.Prompt: "do <it>\n## now", task.Stdout: strings.Repeat("0123456\n", 8749) + "12345678ü\n", task.Stderr: "\xff\x00\x1b", task.Result: "done",
	}}
	s := task.Snapshot{Task: a, Attempts: []task.Attempt{{N: 1, Kind: task.First, PromptN: 1, Status: task.Failed}}, Sizes: make([]task.Sizes, 1)}
	for st, data := range m.stream {
		*s.Sizes[0].Of(st) = int64(len(data))
	}
	m.page.Tasks = []task.Snapshot{s, {Task: b, Sizes: make([]task.Sizes, 1), Small: []task.Blob{}}}
	return m
}

func (m *memory) Page(task.DumpQuery) (task.DumpPage, error) { return m.page, nil }

func (m *memory) Stream(_ task.ID, _ int, s task.Stream, offset int64, limit int) ([]byte, error) {
	data := m.stream[s][offset:]
	// A source may give less than was asked for.
	return []byte(data[:min(len(data), limit, 1+limit/3)]), nil
}

func run(t *testing.T, o Options, format string) string {
	t.Helper()
	var b bytes.Buffer
	o.Schema = 1
	if _, err := Run(t.Context(), newMemory(), o, Writer(&b, format)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFormats(t *testing.T) {
	for name, got := range map[string]string{
		"none.jsonl":    run(t, Options{Output: None}, "jsonl"),
		"tail.json":     run(t, Options{Output: Tail}, "json"),
		"tail.md":       run(t, Options{Output: Tail}, "markdown"),
		"tasks.csv":     run(t, Options{Records: true}, "csv"),
		"redacted.json": run(t, Options{Output: None, Redact: true}, "json"),
	} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || got != string(want) {
			t.Errorf("%s differs (-update writes it anew): %v\n%.3000s", name, err, got)
		}
	}
	var doc struct {
		Tasks []struct{ Data []Line }
		End   End
	}
	if err := json.Unmarshal([]byte(run(t, Options{}, "json")), &doc); err != nil || len(doc.Tasks) != 2 || len(doc.Tasks[0].Data) != 5 || doc.End.Tasks != 2 {
		t.Errorf("%+v, %v", doc, err)
	}
	if rows, err := csv.NewReader(strings.NewReader(run(t, Options{Records: true}, "csv"))).ReadAll(); err != nil || len(rows) != 3 || rows[1][1] != "'=first, \"one\"" {
		t.Errorf("%q, %v", rows, err)
	}
}

// A spreadsheet runs no cell, whichever it reads as a formula; numbers stay numbers.
func TestCellsAreNotRun(t *testing.T) {
	for cell, want := range map[string]string{
		"=1+1": "'=1+1", "+1+1": "'+1+1", "-2+3": "'-2+3", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "'\r=1", "\n=1": "'\n=1",
		" =1": "' =1", "\u00a0=1": "'\u00a0=1", "＝1": "'＝1", "＋a": "'＋a", "－a": "'－a", "＠a": "'＠a",
		"-": "'-", "--model": "'--model", "+": "'+", "-0x1p3": "'-0x1p3", "-inf": "'-inf", "-1_000": "'-1_000", "'=x": "'=x",
		"": "", "a=b": "a=b", "/p": "/p", "12": "12", "-12": "-12", "-0.5": "-0.5", "+3e-7": "+3e-7", "a\t=1": "a\t=1", "it's": "it's",
	} {
		if got := inert(cell); got != want {
			t.Errorf("%q is written as %q, want %q", cell, got, want)
		}
	}
}

// No record and no stream says anything of a secret that the front of a prompt
// or a tail cuts.
func TestSecretsThatAreCut(t *testing.T) {
	key := fake("sk-ant-api03-", 90)
	m := newMemory()
	prompt := "use " + key + " for it"
	m.stream[task.Prompt] = prompt
	x := &m.page.Tasks[0]
	x.Task.PromptHead, x.Task.PromptBytes = prompt[:20], len(prompt)
	out := strings.Repeat("x\n", 5000) + key + strings.Repeat("y\n", TailBytes/2-20)
	m.stream[task.Stdout] = out
	for st, data := range m.stream {
		*x.Sizes[0].Of(st) = int64(len(data))
	}
	for _, o := range []Options{{Redact: true}, {Redact: true, Output: Tail}} {
		var b bytes.Buffer
		end, err := Run(t.Context(), m, o, Writer(&b, "jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "sk-ant") || strings.Contains(b.String(), "aB3xaB3x") || strings.Contains(b.String(), "so secret") {
			t.Errorf("%q: a part of a secret is left", o.Output)
		}
		if end.Redacted != 3 || !strings.Contains(b.String(), `"prompt_head":"use [redacted]******"`) {
			t.Errorf("%q: %d masked", o.Output, end.Redacted)
		}
	}
}

var errFull = errors.New("full")

// An error of the writer ends the dump, and comes back as it is.
func TestWriterFails(t *testing.T) {
	n := 0
	_, err := Run(t.Context(), newMemory(), Options{}, func(Line) error {
		if n++; n == 3 {
			return errFull
		}
		return nil
	})
	if !errors.Is(err, errFull) || n != 3 {
		t.Errorf("%d lines, %v", n, err)
	}
}

// Reading lines never panics, and keeps no more than a line.
func FuzzRead(f *testing.F) {
	f.Add(`{"type":"header","format":"cctask-dump","version":1,"schema":1}` + "\n" + `{"type":"end","tasks":0,"bytes":0}`)
	f.Add(`{"type":"output","id":"x","attempt":1,"stream":"stdout","offset":0,"base64":"AA=="}`)
	f.Add(`{"type":"task","task":{},"attempts":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Restore(strings.NewReader(text), nowhere{}, 1, true)
		if err == nil && got.Tasks < 0 {
			t.Errorf("%+v", got)
		}
		if err != nil && task.HintOf(err) == "" {
			t.Errorf("no next step: %v", err)
		}
	})
}

type nowhere struct{}

func (nowhere) Group(task.Group) error    { return nil }
func (nowhere) Begin(task.Snapshot) error { return nil }
func (nowhere) Append(task.Blob) error    { return nil }
func (nowhere) Finish() error             { return nil }
func (nowhere) Drop() error               { return nil }

// A line without an end is refused before it fills the memory.
func TestEndlessLine(t *testing.T) {
	read := int64(0)
	_, err := Restore(readerFunc(func(p []byte) (int, error) {
		for i := range p {
			p[i] = '{'
		}
		read += int64(len(p))
		return len(p), nil
	}), nowhere{}, 1, true)
	if !errors.Is(err, task.ErrInvalid) || read > 2*maxLine {
		t.Errorf("after %d bytes: %v", read, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
