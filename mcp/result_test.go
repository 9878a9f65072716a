package mcp

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"cctask/engine/task"
)

// nasty is text of n runes that grows when it is serialised.
func nasty(n int) string {
	alphabet := []rune("ab\n\"\\é😀\x01\u2028<&")
	r := rand.New(rand.NewPCG(1, uint64(n)))
	var b strings.Builder
	for range n {
		b.WriteRune(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

func TestEveryResultFits(t *testing.T) {
	for _, n := range []int{0, 10, 5000, 20_000, 100_000} {
		for _, whole := range []bool{true, false} {
			text := nasty(n)
			resultBytes := int64(len(text))
			if !whole {
				resultBytes += 1_000_000
				text += "\xf0\x9f" // cut in a character
			}
			huge := strings.Repeat("\x01", 10_000)
			tk := task.Task{
				ID: fakeID(1), Status: task.Failed, StartedAt: time.Now(), Message: huge, Result: &text, ResultBytes: resultBytes,
				Spec:     task.Spec{Name: huge, WorkingDir: "/" + huge, Claude: "/claude", Labels: strings.Split(strings.Repeat(huge+",", 40), ","), Model: huge, ResumeTaskID: huge},
				Progress: &task.Progress{LastText: huge, LastTool: huge, Retrying: huge}, PromptHead: huge, SessionID: huge,
			}
			v := &taskResult{View: task.NewView(tk, time.Now())}
			tails := nasty(n)
			v.Stdout, v.Stderr = &streamText{Tail: &tails}, &streamText{Tail: &tails}
			cutToSize(v)
			data, err := encode(v)
			if err != nil {
				t.Fatal(err)
			}
			if got := jsonSize(v); got > maxResult || !utf8.Valid(data) || strings.Contains(string(data), `\ufffd`) {
				t.Errorf("%d, %v: %d characters, broken characters: %v", n, whole, got, strings.Contains(string(data), `\ufffd`))
			}
			if cut := n >= 20_000 || !whole; n != 5000 && cut != strings.Contains(*v.Result, "are left out …]") || cut && !strings.HasSuffix(v.Next, cutHint) {
				t.Errorf("%d, %v: %d bytes became %.200q; next %q", n, whole, len(text), *v.Result, v.Next)
			}
			// A piece of a stream comes without the answer and the tails.
			part, _, _ := decodeText([]byte(text), pieceSize, false)
			v = &taskResult{View: task.NewView(tk, time.Now()), Output: &piece{Data: part, Offset: 1 << 50, NextOffset: &resultBytes}}
			v.Result = nil
			cutToSize(v)
			if got := jsonSize(v); got > maxResult {
				t.Errorf("%d, %v: %d characters with a piece", n, whole, got)
			}
		}
	}
}

func TestALongAnswerIsCutInItsMiddle(t *testing.T) {
	text := "BEGIN" + strings.Repeat("é", 100_000) + "END"
	v := &taskResult{View: task.View{Result: &text, ResultBytes: int64(len(text))}}
	cutToSize(v)
	got := *v.Result
	if !strings.HasPrefix(got, "BEGIN") || !strings.HasSuffix(got, "END") || jsonSize(v) < maxResult-1000 {
		t.Errorf("%d characters, %.20q … %.20q", jsonSize(v), got, got[len(got)-20:])
	}
	var from, to, whole int
	note := got[strings.Index(got, "[… bytes"):]
	if _, err := fmt.Sscanf(note, "[… bytes %d to %d of %d", &from, &to, &whole); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got, text[:from]+"\n") || !strings.HasSuffix(got, "\n"+text[to:]) || whole != len(text) {
		t.Errorf("the note says bytes %d to %d of %d", from, to, whole)
	}
}

func TestCostIsWhatEncodingMakes(t *testing.T) {
	for r := rune(0); r < 0x3000; r++ {
		data, err := encode(string(r))
		if err != nil {
			t.Fatal(err)
		}
		if got := jsonSize(string(r)) - 2; got != cost(r) {
			t.Errorf("%U costs %d as %s, not %d", r, got, data, cost(r))
		}
	}
	if cost('😀') != 2 {
		t.Error("a character outside the basic plane is two UTF-16 units")
	}
}

// A reader that goes on from offset to offset gets every byte once, whatever
// the bytes are and however the stream grows meanwhile.
func TestPiecesJoin(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	id := f.seed(t)
	whole := []byte(strings.Repeat(nasty(50_000), 1))
	f.mu.Lock()
	f.output[task.Stdout] = whole[:30_001]
	f.mu.Unlock()
	var got strings.Builder
	offset := int64(0)
	for calls := 0; ; calls++ {
		r := p.ask("check_task_status", fmt.Sprintf(`{"task_id":%q,"output":"full","offset":%d}`, id, offset))
		if n := jsonSize(r.Data); n > maxResult {
			t.Fatalf("an answer of %d characters", n)
		}
		o := r.view.Output
		if o.Offset != offset || o.Lossy || r.view.Result != nil {
			t.Fatalf("asked for %d: %.200s", offset, r.Data)
		}
		got.WriteString(o.Data)
		if o.NextOffset == nil {
			break
		}
		if !strings.Contains(r.view.Next, fmt.Sprint(*o.NextOffset)) {
			t.Errorf("next says %q", r.view.Next)
		}
		if offset = *o.NextOffset; calls == 3 {
			f.mu.Lock()
			f.output[task.Stdout] = whole
			f.mu.Unlock()
			f.end(id, task.Completed, "ok")
		}
	}
	if got.String() != string(whole) {
		t.Error("the pieces do not join to the stream")
	}
}

func TestDecodeText(t *testing.T) {
	for _, c := range []struct {
		in     string
		budget int
		last   bool
		text   string
		used   int
		lossy  bool
	}{
		{"abc", 10, false, "abc", 3, false},
		{"ab\n", 3, true, "ab", 2, false},
		{"a\xc3", 10, false, "a", 1, false},
		{"a\xc3", 10, true, "a\uFFFD", 2, true},
		{"\xff\xfeb", 10, false, "\uFFFD\uFFFDb", 3, true},
		{"😀😀", 3, true, "😀", 4, false},
		{"\uFFFD", 10, true, "\uFFFD", 3, false},
		{"", 10, true, "", 0, false},
	} {
		text, used, lossy := decodeText([]byte(c.in), c.budget, c.last)
		if text != c.text || used != c.used || lossy != c.lossy {
			t.Errorf("%q, %d, %v: %q %d %v", c.in, c.budget, c.last, text, used, lossy)
		}
	}
	if got := string(skipPartial([]byte("\x98\x80é"))); got != "é" {
		t.Errorf("got %q", got)
	}
}

func TestTailBeginsWithAWholeCharacter(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	f.output[task.Stdout] = []byte(strings.Repeat("😀", 10) + "\xf0\x9f")
	f.output[task.Stderr] = nil
	id := f.seed(t)
	r := p.ask("check_task_status", fmt.Sprintf(`{"task_id":%q,"output":"tail","raw":true,"detail":true,"tail_bytes":9}`, id))
	if o := r.view.Stdout; *o.Tail != "😀" || !o.Truncated || o.Bytes != 42 || o.URI != "task://"+string(id)+"/stdout" {
		t.Errorf("got %s", r.Data)
	}
	if o := r.view.Stderr; *o.Tail != "" || o.Truncated {
		t.Errorf("got %s", r.Data)
	}
}
