package ipc

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
)

func TestErrorsCrossTheSocket(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	serve(t, dir)
	c := front(t, dir, func(c *Config) { c.StartWait = 50 * time.Millisecond })
	ctx := within(t, hang)
	src, err := os.ReadFile("../../engine/task/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(` Code = "(\w+)"`).FindAllStringSubmatch(string(src), -1)
	if len(codes) == 0 {
		t.Fatal("no codes found")
	}
	for _, m := range codes {
		code := task.Code(m[1])
		_, err := c.Get(ctx, "error "+string(code))
		if !errors.Is(err, &task.Error{Code: code}) || err.Error() != "get it: no" || task.HintOf(err) != "Do <this> & that…" {
			t.Errorf("%s: %#v", code, err)
		}
	}
	if _, err := c.Get(ctx, "plain error"); !errors.Is(err, task.ErrInternal) || err.Error() != "bad disk" {
		t.Errorf("%#v", err)
	}
	bad := submission("x")
	bad.Spec.WorkingDir = "/\xff"
	if _, err := c.Submit(ctx, bad); !errors.Is(err, task.ErrInvalid) {
		t.Errorf("%#v", err)
	}
	large := submission(strings.Repeat("x", maxQuestion))
	if _, err := c.Submit(ctx, large); !errors.Is(err, task.ErrInvalid) || task.HintOf(err) == "" {
		t.Errorf("%#v", err)
	}
}

// A page and a piece of a stream come over as they are, errors too.
func TestDumpPages(t *testing.T) {
	t.Parallel()
	c := front(t, stateDir(t))
	ctx := within(t, hang)
	p, err := c.Page(ctx, task.DumpQuery{After: "A", IDs: []task.ID{"B"}})
	if err != nil || len(p.Tasks) != 1 || p.Tasks[0].Task.ID != "B" || string(p.Tasks[0].Small[0].Data) != "\xff\x00" || p.After != "A" {
		t.Errorf("%+v, %v", p, err)
	}
	if b, err := c.Stream(ctx, "B", 2, task.Stderr, 7, 100); err != nil || string(b) != "B 2 stderr 7 100" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := c.Stream(ctx, "gone", 1, task.Stdout, 0, 1); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
