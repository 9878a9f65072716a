package ipc

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
)

// What a stranger says on the socket ends or refuses its own connection, and the
// owner goes on.
func TestForeignWords(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	serve(t, dir)
	l, _, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	hi := greet(l)
	for _, tt := range []struct {
		name, words string
		want        error // nil: the connection is closed without a word
	}{
		{"HTTP", "GET /v1/hello HTTP/1.1\r\nHost: x\r\n\r\n", nil},
		{"no line", strings.Repeat("x", 5000), nil},
		{"two words", "cctask 3\n", nil},
		{"no number", "cctask two " + l.identity() + "\n", nil},
		{"another owner", fmt.Sprintf("cctask %d 1.1\n", Protocol) + "\x00\x00\x00\x06\x05hello", task.ErrClosing},
		{"another protocol", "cctask 1 " + l.identity() + "\n\x00\x00\x00\x06\x05hello", task.ErrVersion},
		{"too large", hi + "\xff\xff\xff\xff\x05hello", task.ErrInvalid},
		{"a head longer than its frame", hi + "\x00\x00\x00\x02\x09xx", nil},
		{"an empty frame", hi + "\x00\x00\x00\x00\x00", nil},
		{"an unknown verb", hi + "\x00\x00\x00\x04\x03fly", task.ErrInvalid},
		{"no JSON", hi + "\x00\x00\x00\x06\x03get{}"[:len("\x00\x00\x00\x06\x03get")] + "{x", task.ErrInvalid},
		{"half a frame", hi + "\x00\x00\x00\x16\x05he", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("unix", l.Socket)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := io.WriteString(c, tt.words); err != nil && tt.want != nil {
				t.Fatal(err)
			}
			if tt.want == nil {
				_ = c.(*net.UnixConn).CloseWrite()
			}
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			head, body, err := readFrame(bufio.NewReader(c), maxAnswer)
			switch {
			case tt.want == nil && err == nil:
				t.Errorf("answered %s %s", head, body)
			case tt.want != nil && (head != headRefusal || !errors.Is(decodeError(body), tt.want)):
				t.Errorf("answered %s %s, %v; want %v", head, body, err, tt.want)
			}
		})
	}
	t.Cleanup(func() { hello(t, front(t, dir)) })
}

// One connection takes one question after the other, also after a refusal.
func TestManyQuestions(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	serve(t, dir)
	l, _, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", l.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r, first := bufio.NewReader(c), greet(l)
	for range 3 {
		for verb, want := range map[string]string{"fly": headRefusal, "hello": headAnswer} {
			if err := writeFrame(c, first, verb, nil); err != nil {
				t.Fatal(err)
			}
			first = ""
			if head, body, err := readFrame(r, maxAnswer); err != nil || head != want || !json.Valid(body) {
				t.Fatalf("%s: %s %s, %v", verb, head, body, err)
			}
		}
	}
}

// Frames come through in parts and as megabytes.
func TestFrames(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 3 << 20} {
		a, b := net.Pipe()
		body := strings.Repeat("x", size)
		go func() {
			_ = writeFrame(a, "line\n", "verb", []byte(body))
			_ = a.Close()
		}()
		r := bufio.NewReaderSize(b, 16)
		if line, err := r.ReadString('\n'); line != "line\n" {
			t.Fatalf("%q, %v", line, err)
		}
		head, got, err := readFrame(r, size+10)
		if err != nil || head != "verb" || string(got) != body {
			t.Errorf("%d bytes: %s, %d bytes, %v", size, head, len(got), err)
		}
		if _, _, err := readFrame(r, 10); !errors.Is(err, io.EOF) {
			t.Errorf("after the last frame: %v", err)
		}
		_ = b.Close()
	}
}
