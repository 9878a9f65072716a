package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// stream is a service with the output of one ended task, given in small pieces.
type stream struct {
	engine.Service
	data []byte
	read int
}

func (s *stream) Output(_ context.Context, q engine.OutputQuery) (task.Output, error) {
	size := int64(len(s.data))
	at := min(q.Offset, size)
	if q.Tail > 0 {
		at = max(0, size-q.Tail)
	}
	piece := s.data[at:min(size, at+1000)]
	s.read += len(piece)
	return task.Output{Attempt: 1, Offset: at, Data: piece, Size: size, Done: true}, nil
}

func shownLog(t *testing.T, svc engine.Service, f logFlags) string {
	t.Helper()
	var out, errs strings.Builder
	a := &app{Env: Env{Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}}
	l := &logReader{app: a, svc: svc, logFlags: f, task: task.Task{ID: task.NewID(time.Now()), Attempt: 1, Status: task.Completed}}
	if err := l.run(t.Context()); err != nil || errs.Len() > 0 {
		t.Fatalf("%v, %s", err, errs.String())
	}
	return out.String()
}

// The last lines are those of the whole log, however the stream's lines lie to
// the windows that are looked into.
func TestTailEqualsTheEndOfAll(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var b bytes.Buffer
	for i := range 1500 {
		text, err := json.Marshal(strings.Repeat(fmt.Sprint("line ", i, "\n"), r.IntN(4)) + strings.Repeat("x", r.IntN(300)))
		if err != nil {
			t.Fatal(err)
		}
		kind := []string{"assistant", "assistant", "unseen"}[r.IntN(3)]
		fmt.Fprintf(&b, `{"type":%q,"message":{"content":[{"type":"text","text":%s}]}}`, kind, text)
		if i < 1499 || r.IntN(2) == 0 {
			b.WriteByte('\n')
		}
	}
	svc := &stream{data: b.Bytes()}
	for _, f := range []logFlags{{}, {raw: true}, {stderr: true}} {
		f.tail = -1
		all := strings.SplitAfter(shownLog(t, svc, f), "\n")
		if all[len(all)-1] == "" {
			all = all[:len(all)-1]
		}
		for _, n := range []int{0, 1, 2, 3, 10, 500, 2500, len(all) - 1, len(all), len(all) + 1} {
			svc.read, f.tail = 0, int64(n)
			want := strings.Join(all[max(0, len(all)-n):], "")
			if got := shownLog(t, svc, f); got != want {
				t.Errorf("%+v: %d bytes, want %d", f, len(got), len(want))
			}
			if n < 10 && svc.read > 2*firstTail {
				t.Errorf("%+v: %d bytes were read", f, svc.read)
			}
		}
	}
}

// A log that is read on from an offset is the rest of it.
func TestSinceGoesOn(t *testing.T) {
	t.Parallel()
	svc := &stream{data: []byte("one\ntwo\nthree\n")}
	for since, want := range []string{"one\ntwo\nthree\n", "two\nthree\n", "two\nthree\n", "two\nthree\n", "two\nthree\n", "three\n"} {
		if got := shownLog(t, svc, logFlags{since: int64(since), tail: -1}); got != want {
			t.Errorf("since %d: %q, want %q", since, got, want)
		}
	}
	if got := shownLog(t, svc, logFlags{since: 9, tail: -1, raw: true}); got != "hree\n" {
		t.Errorf("raw: %q", got)
	}
	if got := shownLog(t, svc, logFlags{since: 4, tail: 1}); got != "three\n" {
		t.Errorf("with a tail: %q", got)
	}
	if got := shownLog(t, svc, logFlags{since: 8, tail: 3}); got != "three\n" {
		t.Errorf("with a longer tail: %q", got)
	}
}
