package ipc

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
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
	ctx := within(t, time.Minute)
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
	large := submission(strings.Repeat("x", maxBody))
	if _, err := c.Submit(ctx, large); !errors.Is(err, task.ErrInvalid) || task.HintOf(err) == "" {
		t.Errorf("%#v", err)
	}
}

func TestDump(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	c := front(t, dir)
	var whole bytes.Buffer
	if err := c.Dump(within(t, time.Minute), &whole); err != nil || bytes.Count(whole.Bytes(), []byte("\n")) != 2000 {
		t.Errorf("%d bytes, %v", whole.Len(), err)
	}
	full := errors.New("disk full")
	if err := c.Dump(within(t, time.Minute), failing{full}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	mark := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mark("dump fails")
	var part bytes.Buffer
	if err := c.Dump(within(t, time.Minute), &part); !errors.Is(err, task.ErrCorrupt) || err.Error() != "page 7\nis bad" || task.HintOf(err) == "" || !bytes.HasPrefix(whole.Bytes(), part.Bytes()) {
		t.Errorf("%v", err)
	}
	mark("dump dies")
	part.Reset()
	if err := c.Dump(within(t, time.Minute), &part); !errors.Is(err, task.ErrOwnerGone) || part.Len() >= whole.Len() {
		t.Errorf("%d of %d bytes, %v", part.Len(), whole.Len(), err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
