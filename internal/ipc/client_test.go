package ipc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

func TestEverythingCrossesTheSocket(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	f := serve(t, dir)
	c := front(t, dir)
	ctx := within(t, hang)
	s := engine.Submission{
		Spec: task.Spec{WorkingDir: "/w", Claude: "/c", Name: "naïve <name>"}, Prompt: "a\x01\xff<&>\r\n🙂 end",
		Env: []string{"A=\xfe", "B=<>"}, Limits: task.Limits{Umask: new(int), NoFile: 300, Nice: new(int)}, Key: "k1",
	}
	tk, err := c.Submit(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f.subs[0], s) || tk.Spec.Name != s.Spec.Name {
		t.Errorf("sent %+v, arrived %+v, came back %+v", s, f.subs[0], tk)
	}
	out, err := c.Output(ctx, engine.OutputQuery{Ref: string(tk.ID), Stream: task.Stdout, Offset: 7})
	if want := "\x00\xff\xfe<&>\n" + string(tk.ID); err != nil || string(out.Data) != want || out.Offset != 7 || out.Size != 1<<40 || !out.Done {
		t.Errorf("%+v %v", out, err)
	}
	p, err := c.List(ctx, task.Filter{Cursor: "c", Name: "l"})
	if err != nil || len(p.Tasks) != 1 || p.NextCursor != "cl" {
		t.Errorf("%+v %v", p, err)
	}
	a := engine.Again{Ref: string(tk.ID), Prompt: "go\xff", Env: []string{"X=\xff"}, Limits: task.Limits{NoFile: 1 << 40}, Claude: "/c2", Key: "k2"}
	if o, _ := task.Find("env"); a.Options.Take(o, map[string]any{"A": "b"}) != nil {
		t.Error(o)
	}
	if _, err := c.Resume(ctx, a); err != nil {
		t.Error(err)
	}
	byName := a
	byName.Ref = s.Spec.Name
	if _, err := c.Retry(ctx, byName); err != nil {
		t.Error(err)
	}
	// A name is turned into an id before anything changes.
	if !reflect.DeepEqual(f.again, []engine.Again{a, a}) {
		t.Errorf("%+v", f.again)
	}
	if tk, err = c.Cancel(ctx, s.Spec.Name); err != nil || tk.Status != task.Cancelled {
		t.Errorf("%+v %v", tk, err)
	}
	if err := c.Remove(ctx, string(tk.ID), false); !errors.Is(err, task.ErrConflict) {
		t.Error(err)
	}
	if err := c.Remove(ctx, s.Spec.Name, true); err != nil {
		t.Error(err)
	}
	if err := c.Remove(ctx, string(tk.ID), true); !errors.Is(err, task.ErrNotFound) {
		t.Error(err)
	}
	if err := c.Ended(ctx, "id.3"); err != nil || !slices.Equal(f.ended, []string{"id.3"}) {
		t.Errorf("%v %v", f.ended, err)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	lines := make(chan string, 10)
	serve(t, dir, func(o *Owner, _ *fake) { o.Log = func(line string) { lines <- line } })
	c := front(t, dir)
	if _, err := c.Get(within(t, hang), "panic"); !errors.Is(err, task.ErrInternal) || !strings.Contains(err.Error(), "as asked") {
		t.Errorf("%v", err)
	}
	if line := <-lines; !strings.Contains(line, "as asked") || !strings.Contains(line, "fake_test.go") {
		t.Errorf("logged %q", line)
	}
	submit(t, c, "still there")
}

func TestForeignProtocol(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	o, err := Acquire(context.Background(), dir, Lock{Version: "9.9.9"})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.set(func(l *Lock) { l.Protocol = 99 }); err != nil {
		t.Fatal(err)
	}
	_, err = front(t, dir).Get(context.Background(), "x")
	if !errors.Is(err, task.ErrVersion) || !strings.Contains(err.Error(), "99") || !strings.Contains(err.Error(), "9.9.9") || task.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if err := o.Release(); err != nil {
		t.Fatal(err)
	}

	serve(t, dir)
	l, _, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", l.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := writeFrame(conn, "cctask 99 "+l.identity()+"\n", helloVerb.name, nil); err != nil {
		t.Fatal(err)
	}
	head, body, err := readFrame(bufio.NewReader(conn), maxAnswer)
	if err := errors.Join(err, decodeError(body)); head != headRefusal || !errors.Is(err, task.ErrVersion) || !strings.Contains(err.Error(), "99") {
		t.Errorf("%s %v", head, err)
	}
}

func TestEmbeddedHolderIsNamed(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	o, err := Acquire(context.Background(), dir, Lock{Phase: PhaseEmbedded})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.Release() }()
	if _, err := front(t, dir).Get(context.Background(), "x"); !errors.Is(err, task.ErrLocked) || !strings.Contains(err.Error(), PhaseEmbedded) {
		t.Errorf("%v", err)
	}
}

func TestKilledOwnerIsInvisible(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	c := front(t, dir)
	for _, prompt := range []string{"die before", "die after"} {
		if tk := submit(t, c, prompt); tk.PromptHead != prompt {
			t.Errorf("%+v", tk)
		}
	}
	if got := prompts(t, c); got["die before"] != 1 || got["die after"] != 1 {
		t.Errorf("recorded %v", got)
	}
	if o := owners(t, dir); len(o) != 3 {
		t.Errorf("owners %v", o)
	}
	tk := submit(t, c, "die at removal")
	if err := c.Remove(within(t, hang), string(tk.ID), true); err != nil {
		t.Errorf("remove: %v", err)
	}
}

func TestSilentOwnerIsReplaced(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	patience := 300 * time.Millisecond
	c := front(t, dir)
	c.helloWait = patience
	tk := submit(t, c, "kept")
	first := hello(t, c).PID
	suspend(t, first)
	quiet := front(t, dir, func(c *Config) { c.AutoStart = false })
	quiet.helloWait = patience
	if _, err := quiet.Get(within(t, hang), "x"); !errors.Is(err, task.ErrOwnerGone) || !strings.Contains(err.Error(), fmt.Sprint(first)) {
		t.Errorf("%v", err)
	}
	fresh := front(t, dir)
	fresh.helloWait = patience
	if got, err := fresh.Get(within(t, hang), string(tk.ID)); err != nil || got.PromptHead != "kept" {
		t.Errorf("%+v %v", got, err)
	}
	// The first client's connection led to the dead one.
	if h := hello(t, c); h.PID == first {
		t.Error("the stopped owner lives")
	}
	// This one stops in the middle of a request.
	if _, err := c.Get(within(t, hang), "hang"); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if o := owners(t, dir); len(o) != 3 {
		t.Errorf("owners %v", o)
	}
}

// Without the right to replace it, a request to an owner that stops in its
// middle ends with the reason.
func TestSilentOwnerWithoutAutoStart(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	hello(t, front(t, dir))
	quiet := front(t, dir, func(c *Config) { c.AutoStart = false })
	quiet.helloWait = 200 * time.Millisecond
	if _, err := quiet.Get(within(t, hang), "hang"); !errors.Is(err, task.ErrOwnerGone) || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("%v", err)
	}
	if err := quiet.Stop(within(t, hang), false); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, held, err := Inspect(dir); held || err != nil {
		t.Errorf("held %v, %v", held, err)
	}
}

func TestStopHandsOver(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	c := front(t, dir)
	tk := submit(t, c, "goes on")
	first := hello(t, c).PID
	if err := front(t, dir).Stop(within(t, hang), false); err != nil {
		t.Fatal(err)
	}
	if _, held, err := Inspect(dir); held || err != nil {
		t.Errorf("held %v, %v", held, err)
	}
	got, err := c.Get(within(t, hang), string(tk.ID))
	if err != nil || got.Status != task.Running {
		t.Errorf("%+v %v", got, err)
	}
	if h := hello(t, c); h.PID == first {
		t.Error("the old owner answers")
	}
	if err := c.Stop(within(t, hang), true); err != nil {
		t.Fatal(err)
	}
	if got, err = c.Get(within(t, hang), string(tk.ID)); err != nil || got.Status != task.Cancelled {
		t.Errorf("%+v %v", got, err)
	}
}

// A request that the leaving owner has cut off is done by the next one.
func TestStopInTheMiddleOfARequest(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	f := serve(t, dir, func(_ *Owner, f *fake) { f.block, f.blocked = make(chan struct{}), make(chan struct{}) })
	c := front(t, dir)
	got := make(chan error, 1)
	go func() {
		out, err := c.Output(context.Background(), engine.OutputQuery{Ref: "r", Stream: task.Stderr})
		if err == nil && out.Stream != task.Stderr {
			err = fmt.Errorf("%+v", out)
		}
		got <- err
	}()
	<-f.blocked
	if err := front(t, dir).Stop(within(t, hang), false); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	if h := hello(t, c); h.PID == os.Getpid() {
		t.Error("the old owner answers")
	}
}

func TestNewerFrontAsksForHandover(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	configure(t, dir, daemonConfig{Version: "1.9.0"})
	old := front(t, dir, func(c *Config) { c.Version = "1.9.0" })
	first := hello(t, old)
	tk := submit(t, old, "kept")
	for _, v := range []string{"dev", "1.9.0", "1.8.7", "1.10.0-dev+5"} {
		if h := hello(t, front(t, dir, func(c *Config) { c.Version = v })); h.PID != first.PID {
			t.Errorf("%s replaced %s", v, first.Version)
		}
	}
	configure(t, dir, daemonConfig{Version: "1.10.0"})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			h, err := front(t, dir, func(c *Config) { c.Version = "1.10.0" }).Hello(within(t, hang))
			if err != nil || h.Version != "1.10.0" {
				t.Errorf("%+v %v", h, err)
			}
		})
	}
	wg.Wait()
	if o := owners(t, dir); len(o) != 2 {
		t.Errorf("owners %v", o)
	}
	if got, err := old.Get(within(t, hang), string(tk.ID)); err != nil || got.PromptHead != "kept" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestSettingsThatDiffer(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	serve(t, dir) // with 4 jobs
	var lines []string
	c := front(t, dir, func(c *Config) {
		c.Settings = Settings{Jobs: 8, LogLevel: "info", KeepCount: 3, Idle: "5m0s", Config: "/c.toml"}
		c.Explicit = []string{"jobs", "log-level"}
		c.Warn = func(line string) { lines = append(lines, line) }
	})
	hello(t, c)
	c.detach(c.att.Load())
	hello(t, c)
	if len(lines) != 1 || !strings.Contains(lines[0], "--jobs=4, not --jobs=8") || !strings.Contains(lines[0], "daemon stop") || strings.Contains(lines[0], "keep") {
		t.Errorf("%q", lines)
	}
	want := []string{"--jobs=8", "--log-level=info", "--keep-age=0s", "--keep-count=3", "--keep-size=0", "--idle=5m0s", "--config=/c.toml"}
	if got := c.cfg.Settings.Args(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestKeysAreFilledIn(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	f := serve(t, dir)
	c := front(t, dir)
	a, b := submit(t, c, "one"), submit(t, c, "one")
	if a.ID == b.ID || f.subs[0].Key == "" || f.subs[0].Key == f.subs[1].Key {
		t.Errorf("%q %q", f.subs[0].Key, f.subs[1].Key)
	}
	if _, err := c.Resume(within(t, hang), engine.Again{Ref: string(a.ID)}); err != nil || f.again[0].Key == "" {
		t.Errorf("%+v %v", f.again, err)
	}
}

func TestCallHonoursItsContext(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	f := serve(t, dir, func(_ *Owner, f *fake) { f.block, f.blocked = make(chan struct{}), make(chan struct{}) })
	defer close(f.block)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-f.blocked
		cancel()
	}()
	if _, err := front(t, dir).Output(ctx, engine.OutputQuery{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestNewer(t *testing.T) {
	t.Parallel()
	order := []string{"0.9.9", "v1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-rc.2", "1.0.0-rc.11", "1.0.0", "1.0.1", "v1.2.0", "1.10.0+x", "2.0.0"}
	for i, a := range order {
		for j, b := range order {
			if newer(a, b) != (i > j) {
				t.Errorf("newer(%s, %s) = %v", a, b, !(i > j))
			}
		}
	}
	for _, odd := range []string{"", "dev", "2.0.0-dev", "1.0", "x.y.z", "(devel)"} {
		if newer(odd, "1.0.0") || newer("1.0.0", odd) {
			t.Errorf("%q has a place", odd)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	dir := stateDir(b)
	serve(b, dir)
	c := front(b, dir)
	id := string(submit(b, c, "x").ID)
	for b.Loop() {
		if _, err := c.Get(context.Background(), id); err != nil {
			b.Fatal(err)
		}
	}
}
