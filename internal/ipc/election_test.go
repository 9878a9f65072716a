package ipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/statedir"
)

func TestTwentyProcessesStartOneOwner(t *testing.T) {
	dir := stateDir(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	answers := make([]string, 20)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			out, err := exec.Command(exe, "front", dir).CombinedOutput()
			if err != nil {
				t.Errorf("front: %v\n%s", err, out)
			}
			answers[i] = string(out)
		})
	}
	wg.Wait()
	os1 := owners(t, dir)
	if len(os1) != 1 {
		t.Fatalf("owners %v", os1)
	}
	seen := map[string]bool{}
	for _, a := range answers {
		f := strings.Fields(a)
		if len(f) != 2 || f[0] != os1[0] || seen[f[1]] {
			t.Errorf("answer %q with owner %s", a, os1[0])
			continue
		}
		seen[f[1]] = true
	}
}

func TestTwentyStartersRoundAfterRound(t *testing.T) {
	t.Parallel()
	starters(t, 4)
}

// TestHeavyElection repeats the races of this package for minutes.
func TestHeavyElection(t *testing.T) {
	if os.Getenv("CCTASK_HEAVY") == "" {
		t.Skip("set CCTASK_HEAVY=1")
	}
	starters(t, 200)
	idleChurn(t, 30*time.Second)
	killChurn(t, 30*time.Second)
}

// starters lets twenty fronts at once find an empty directory.
func starters(t *testing.T, rounds int) {
	t.Helper()
	for range rounds {
		dir := stateDir(t)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				c := front(t, dir)
				tk, err := c.Submit(within(t, hang), submission(fmt.Sprint(i)))
				if err != nil || tk.PromptHead != fmt.Sprint(i) {
					t.Errorf("%d: %q, %v", i, tk.PromptHead, err)
				}
			})
		}
		wg.Wait()
		if o := owners(t, dir); len(o) != 1 {
			t.Errorf("owners %v", o)
		}
		if got := prompts(t, front(t, dir)); len(got) != 20 {
			t.Errorf("recorded %v", got)
		}
	}
}

func TestOwnerIsNobodysChild(t *testing.T) {
	t.Parallel()
	c := front(t, stateDir(t))
	pid := hello(t, c).PID
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip("needs /proc")
	}
	var ppid, pgrp, session int
	var state string
	if _, err := fmt.Sscan(string(b[bytes.LastIndexByte(b, ')')+1:]), &state, &ppid, &pgrp, &session); err != nil {
		t.Fatal(err)
	}
	if ppid == os.Getpid() || pgrp != pid || session != pid {
		t.Errorf("owner %d has parent %d, group %d, session %d", pid, ppid, pgrp, session)
	}
}

func TestOwnerKnowsLittleOfTheFront(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "x")
	t.Setenv("XDG_CONFIG_HOME", "/c")
	// A descriptor as a careless shell leaves it: inherited by whatever starts.
	fd, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	pid := hello(t, front(t, stateDir(t))).PID
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Skip("needs /proc")
	}
	if s := string(env); strings.Contains(s, "SECRET") || !strings.Contains(s, "XDG_CONFIG_HOME=/c") || !strings.Contains(s, "PATH=") {
		t.Errorf("environment %q", s)
	}
	// The owner closes the ready pipe a moment after the front has heard it.
	until(t, "the owner holds nothing of the front's", func() bool {
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil || len(fds) == 0 {
			t.Fatalf("descriptors of the owner: %v", err)
		}
		return !slices.ContainsFunc(fds, func(fd string) bool {
			to, _ := os.Readlink(fd)
			return filepath.Base(fd) != "0" && (to == "/dev/null" || strings.HasPrefix(to, "pipe:"))
		})
	})
}

// TestEmptyEnvironment: where nothing of the front's environment is for an owner,
// the owner has none, instead of all, and is the second process and the last.
func TestEmptyEnvironment(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range [][]string{{}, {"SECRET_TOKEN=x"}} {
		dir := stateDir(t)
		if err := errors.Join(statedir.Make(dir), os.WriteFile(filepath.Join(dir, "stages"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, "front", dir)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", env, err, out)
		}
		pid, _, _ := strings.Cut(string(out), " ")
		if has, err := os.ReadFile(filepath.Join("/proc", pid, "environ")); err == nil && len(has) > 0 {
			t.Errorf("%v: the owner has %q", env, has)
		}
		if stages, err := os.ReadFile(filepath.Join(dir, "stages")); err != nil || string(stages) != "--detach\n--detached\n" {
			t.Errorf("%v: the processes between front and owner: %q, %v", env, stages, err)
		}
	}
}

func TestSecondOwnerIsRefused(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	serve(t, dir)
	o, err := Acquire(within(t, 50*time.Millisecond), dir, Lock{})
	if !errors.Is(err, task.ErrLocked) || o != nil {
		t.Fatalf("Acquire: %v", err)
	}
	if want := fmt.Sprintf("process %d", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not name %s", err, want)
	}
}

func TestOwnerWaitsForItsPredecessor(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	first, err := Acquire(context.Background(), dir, Lock{})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		second, err := Acquire(context.Background(), dir, Lock{Phase: PhaseEmbedded})
		if err == nil {
			err = second.Release()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("two owners: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	if err := first.Release(); err != nil {
		t.Errorf("second release: %v", err)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	if l, held, err := Inspect(dir); err != nil || held || l.PID != 0 {
		t.Errorf("nothing there: %+v %v %v", l, held, err)
	}
	want := Lock{Version: "1.2.3", Settings: Settings{Jobs: 3, KeepAge: time.Hour}, DB: "/db"}
	o, err := Acquire(context.Background(), dir, want)
	if err != nil {
		t.Fatal(err)
	}
	l, held, err := Inspect(dir)
	if err != nil || !held || !l.alive() || l.PID != os.Getpid() || l.Phase != PhaseStarting || l.Protocol != Protocol || l.Settings != want.Settings || l.DB != "/db" {
		t.Errorf("held: %+v %v %v", l, held, err)
	}
	if err := o.Release(); err != nil {
		t.Fatal(err)
	}
	if l, held, err := Inspect(dir); err != nil || held || l.Version != "1.2.3" {
		t.Errorf("released: %+v %v %v", l, held, err)
	}
	path := filepath.Join(dir, LockName)
	for _, garbage := range []string{"", "{}", `{"pid":1}` + "\ncrc32 00000000\n", strings.Repeat("\x00", 9000)} {
		if err := os.WriteFile(path, []byte(garbage), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, held, err := Inspect(dir); err != nil || held || l != (Lock{}) {
			t.Errorf("%.20q: %+v %v %v", garbage, l, held, err)
		}
	}
}

// Readers beside a writer see whole records only.
func TestRecordIsNeverTorn(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	o, err := Acquire(context.Background(), dir, Lock{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.Release() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			if err := o.set(func(l *Lock) { l.DB = strings.Repeat("x", i*30) }); err != nil {
				t.Error(err)
			}
		}
	}()
	for {
		l, held, err := Inspect(dir)
		if err != nil || !held || l.PID != os.Getpid() || strings.Trim(l.DB, "x") != "" {
			t.Fatalf("%+v %v %v", l, held, err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestKilledOwnersSocketIsStale(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	c := front(t, dir)
	first := hello(t, c).PID
	tk := submit(t, c, "kept")
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	got, err := front(t, dir).Get(within(t, hang), string(tk.ID))
	if err != nil || got.PromptHead != "kept" {
		t.Errorf("%+v, %v", got, err)
	}
	if h := hello(t, c); h.PID == first {
		t.Error("the dead owner answers")
	}
	left, err := filepath.Glob(filepath.Join(dir, "sock.*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}

func TestWithoutAutoStart(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	quiet := front(t, dir, func(c *Config) { c.AutoStart = false })
	if _, err := quiet.Hello(context.Background()); !errors.Is(err, task.ErrOwnerGone) || task.HintOf(err) == "" {
		t.Errorf("hello: %v", err)
	}
	if err := quiet.Stop(context.Background(), false); !errors.Is(err, task.ErrOwnerGone) {
		t.Errorf("stop: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state directory was made: %v", err)
	}
	runner := front(t, dir)
	if err := runner.Ended(context.Background(), "x.1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ended: %v", err)
	}
	h := hello(t, front(t, dir, func(c *Config) { c.Settings.Jobs = 7 }))
	if got := hello(t, quiet); got.PID != h.PID || got.Settings.Jobs != 7 || got.Phase != PhaseServing {
		t.Errorf("%+v", got)
	}
	if err := runner.Ended(context.Background(), "x.1"); err != nil {
		t.Errorf("ended: %v", err)
	}
}

func TestOwnerThatStartsIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	hold := filepath.Join(filepath.Dir(dir), "hold")
	if err := syscall.Mkfifo(hold, 0o600); err != nil {
		t.Fatal(err)
	}
	configure(t, dir, daemonConfig{Hold: hold})
	hasty := func(c *Config) { c.StartWait = 200 * time.Millisecond }
	// One that gives up before the owner has its lock starts it all the same.
	_, _ = front(t, dir, hasty).Get(context.Background(), "x")
	quiet := front(t, dir, func(c *Config) { c.AutoStart = false })
	for end := time.Now().Add(hang); ; time.Sleep(time.Millisecond) {
		if l, held, err := Inspect(dir); err == nil && held && l.Phase == PhaseStarting {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no owner starts")
		}
	}
	// Those who find it starting give up, and do not kill it.
	for range 2 {
		if _, err := front(t, dir, hasty).Get(context.Background(), "x"); !errors.Is(err, task.ErrOwnerStarting) || task.HintOf(err) == "" {
			t.Fatalf("%v", err)
		}
	}
	h := hello(t, quiet)
	if h.Phase != PhaseStarting {
		t.Errorf("phase %q", h.Phase)
	}
	got := make(chan error, 1)
	go func() {
		_, err := front(t, dir).Submit(context.Background(), submission("patient"))
		got <- err
	}()
	if err := os.WriteFile(hold, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if now := hello(t, quiet); now.PID != h.PID || now.Phase != PhaseServing {
		t.Errorf("owner %d became %+v", h.PID, now)
	}
}

func TestWhyAnOwnerDoesNotStart(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	configure(t, dir, daemonConfig{Fail: string(task.CodeCorrupt)})
	_, err := front(t, dir).Get(within(t, hang), "x")
	if !errors.Is(err, task.ErrCorrupt) || task.HintOf(err) != "Do not ask." {
		t.Errorf("%v", err)
	}
	configure(t, dir, daemonConfig{Kills: -1})
	if _, err := front(t, dir).Get(within(t, hang), "x"); !errors.Is(err, task.ErrOwnerGone) || !errors.Is(err, errSilent) || !strings.Contains(task.HintOf(err), LogName) {
		t.Errorf("%v", err)
	}
	if n := kills(dir); n != 1+maxSilent {
		t.Errorf("%d owners were started, want %d", n, 1+maxSilent)
	}
	c := front(t, dir, func(c *Config) { c.Exe = "/nonexistent/cctask" })
	if _, err := c.Get(within(t, hang), "x"); !errors.Is(err, task.ErrOwnerGone) {
		t.Errorf("%v", err)
	}
}

// TestKilledWhileItStarts: kills come from outside and end; the call does not fail.
func TestKilledWhileItStarts(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 9} {
		dir := stateDir(t)
		configure(t, dir, daemonConfig{Kills: n})
		if _, err := front(t, dir).Submit(within(t, hang), submission("x")); err != nil {
			t.Errorf("%d killed: %v", n, err)
		}
		if got := kills(dir); got != n {
			t.Errorf("%d were killed, want %d", got, n)
		}
	}
}

func TestDirectoriesThatAreRefused(t *testing.T) {
	t.Parallel()
	base := filepath.Dir(stateDir(t))
	open, link, file, foreign := filepath.Join(base, "open"), filepath.Join(base, "link"), filepath.Join(base, "file"), filepath.Join(base, "foreign")
	for _, err := range []error{
		os.Mkdir(open, 0o700), os.Chmod(open, 0o750), os.Mkdir(foreign, 0o700),
		os.Symlink(base, link), os.WriteFile(file, nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(foreign, 12345, -1); err != nil {
		foreign = open // only root can give a directory away
	}
	for _, dir := range []string{open, link, file, foreign} {
		_, cerr := front(t, dir).Get(context.Background(), "x")
		_, aerr := Acquire(context.Background(), dir, Lock{})
		for _, err := range []error{cerr, aerr} {
			if !errors.Is(err, task.ErrInvalid) || task.HintOf(err) == "" {
				t.Errorf("%s: %v", dir, err)
			}
		}
	}
}
