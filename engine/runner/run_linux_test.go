package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestExitStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args   []string
		code   int
		signal string
	}{
		{[]string{"exit", "0"}, 0, ""},
		{[]string{"exit", "1"}, 1, ""},
		{[]string{"exit", "255"}, 255, ""},
		{[]string{"kill", "9"}, 137, "SIGKILL"},
		{[]string{"kill", "15"}, 143, "SIGTERM"},
		{[]string{"kill", "1"}, 129, "SIGHUP"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			_, rec := run(t, childLaunch(t, tt.args...), "")
			if rec.ExitCode != tt.code || rec.Signal != tt.signal || rec.Stopped != "" || rec.Leftovers != 0 {
				t.Errorf("record %+v", rec)
			}
			if rec.EndedAt.Before(rec.StartedAt) {
				t.Errorf("ended %v before it started %v", rec.EndedAt, rec.StartedAt)
			}
		})
	}
}

func TestPromptArrivesToTheByte(t *testing.T) {
	t.Parallel()
	for _, prompt := range []string{"", "-x /y $(z) \"q\" 'r'\r\n\tü🙂\x00\xff", strings.Repeat("0123456789abcdef", 1<<17)} {
		r, rec := run(t, childLaunch(t, "cat"), prompt)
		if got := read(t, r.Stdout()); got != prompt {
			t.Errorf("%d bytes came, %d were sent", len(got), len(prompt))
		}
		if rec.StdoutBytes != int64(len(prompt)) || rec.StderrBytes != 0 {
			t.Errorf("record %+v", rec)
		}
	}
}

func TestFlood(t *testing.T) {
	t.Parallel()
	const n = 50_000_000
	r, rec := run(t, childLaunch(t, "flood", fmt.Sprint(n)), "")
	got, err := os.ReadFile(r.Stdout())
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, n)
	for i := range want {
		want[i] = byte(i * 7 / 3)
	}
	if !bytes.Equal(got, want) || rec.StdoutBytes != n {
		t.Errorf("%d bytes came, recorded %d", len(got), rec.StdoutBytes)
	}
	if read(t, r.Stderr()) != "flooded" || rec.StderrBytes != 7 {
		t.Errorf("stderr is %q, recorded %d", read(t, r.Stderr()), rec.StderrBytes)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	r, _ := run(t, childLaunch(t, "env"), "", "A=1", MarkerVar+"=other", "B=2")
	if got, want := read(t, r.Stdout()), "A=1\nB=2\n"+quick+"\n"+MarkerVar+"="+filepath.Base(r.Dir())+"\n"; got != want {
		t.Errorf("the environment is %q, want %q", got, want)
	}
	files, err := filepath.Glob(r.path("*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if name != r.Stdout() && strings.Contains(read(t, name), "A=1") {
			t.Error("the environment stands in", name)
		}
	}
}

func TestRunnerIsCalledByItsName(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "hang"), "")
	rec := start(t, r)
	defer func() { _ = r.Stop(StopCancel); ended(t, r) }()
	for file, want := range map[string]string{"comm": "cctask-run\n", "cmdline": "cctask-run\x00_run\x00"} {
		if got := read(t, filepath.Join("/proc", strconv.Itoa(rec.RunnerPID), file)); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
}

func TestLimitsOfClaude(t *testing.T) {
	t.Parallel()
	own, err := Niceness()
	if err != nil {
		t.Fatal(err)
	}
	for _, mask := range []int{0o027, 0} {
		l := childLaunch(t, "limits")
		nice := min(own+3, 19)
		l.Umask, l.NoFile, l.Nice = &mask, 77, &nice
		r, _ := run(t, l, "")
		if got, want := read(t, r.Stdout()), fmt.Sprintf("%03o 77 %d\n", mask, nice); got != want {
			t.Errorf("umask, open files and niceness are %q, want %q", got, want)
		}
	}
}

func TestNoDescriptorLeaks(t *testing.T) {
	t.Parallel()
	// One without close-on-exec, as a shell leaves them behind.
	var p [2]int
	if err := syscall.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	reader := os.NewFile(uintptr(p[0]), "pipe")
	defer reader.Close()
	l := childLaunch(t, "fds")
	r := prepare(t, l, "")
	start(t, r)
	ended(t, r)
	want := fmt.Sprintf("0 %s\n1 %s\n2 %s\n", r.Prompt(), r.Stdout(), r.Stderr())
	if got := read(t, r.Stdout()); got != want {
		t.Errorf("claude has open:\n%swant:\n%s", got, want)
	}

	// Nor does the runner keep it.
	r = prepare(t, childLaunch(t, "hang"), "")
	fresh := newLauncher(t)
	if _, err := fresh.Start(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Close(p[1]); err != nil {
		t.Fatal(err)
	}
	if n, err := reader.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d, %v: want the end of the pipe", n, err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "hang"), "")
	again, err := Open(r.Dir())
	if err != nil {
		t.Fatal(err)
	}
	alive := func(want bool, when string) {
		t.Helper()
		if got, err := again.Alive(); err != nil || got != want {
			t.Errorf("%s: alive %v, %v", when, got, err)
		}
	}
	alive(true, "prepared")
	if rec, err := again.Record(); err != nil || rec.State != StatePrepared {
		t.Errorf("prepared: %+v, %v", rec, err)
	}
	rec := start(t, r)
	alive(true, "running")
	if holdsAny(os.Getpid(), []string{r.path(lockName)}) {
		t.Error("the launcher still holds the lock")
	}
	if holdsAny(rec.ClaudePID, []string{r.path(lockName)}) {
		t.Error("claude holds the lock")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := again.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	if err := again.Stop(StopCancel); err != nil {
		t.Fatal(err)
	}
	ended(t, again)
	alive(false, "ended")
	if err := again.Stop(StopCancel); err != nil {
		t.Errorf("stop after the end: %v", err)
	}
	if _, err := launcher.Start(t.Context(), r, nil); !errors.Is(err, ErrNotStarted) {
		t.Errorf("second start: %v", err)
	}
}

func TestPrepareRefusesAnExistingDirectory(t *testing.T) {
	t.Parallel()
	r := prepare(t, childLaunch(t, "hang"), "first")
	if _, err := launcher.Prepare(r.Dir(), Launch{}, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
	if read(t, r.Prompt()) != "first" {
		t.Error("the first run is damaged")
	}
	r.dropLock()
}

func TestModesAndRemove(t *testing.T) {
	t.Parallel()
	r, _ := run(t, childLaunch(t, "exit", "0"), "p")
	info, err := os.Stat(r.Dir())
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(r.Dir())
	if err != nil || len(entries) != 5 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if err := r.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(r.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open after remove: %v", err)
	}
	if err := r.Remove(); err != nil {
		t.Errorf("second remove: %v", err)
	}
}

func TestSpawnFailures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none")
	tests := []struct {
		name, bin, wd string
		want          SpawnError
	}{
		{"no binary", none, dir, SpawnError{"exec", none, "no such file or directory"}},
		{"not executable", file, dir, SpawnError{"exec", file, "permission denied"}},
		{"no working directory", "/bin/true", none, SpawnError{"chdir", none, "no such file or directory"}},
		{"a file as working directory", "/bin/true", file, SpawnError{"chdir", file, "not a directory"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := prepare(t, Launch{Argv: []string{tt.bin}, WorkDir: tt.wd}, "")
			_, err := launcher.Start(t.Context(), r, nil)
			var se *SpawnError
			if !errors.As(err, &se) || *se != tt.want {
				t.Fatalf("error %#v, want %+v", err, tt.want)
			}
			if alive, _ := r.Alive(); alive {
				t.Error("the runner still holds the lock")
			}
			rec, err := r.Record()
			if err != nil || rec.State != StateSpawnFailed || rec.SpawnPath != tt.want.Path || rec.SpawnError != tt.want.Err {
				t.Errorf("record %+v, %v", rec, err)
			}
		})
	}
}

func TestNotStarted(t *testing.T) {
	t.Parallel()
	notStarted := func(t *testing.T, l *Launcher, r *Run, want string) {
		t.Helper()
		_, err := l.Start(t.Context(), r, nil)
		if !errors.Is(err, ErrNotStarted) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
		if alive, _ := r.Alive(); alive {
			t.Error("something holds the lock")
		}
		if rec, _ := r.Record(); rec.begun() {
			t.Errorf("record %+v", rec)
		}
	}
	t.Run("no binary of ours", func(t *testing.T) {
		t.Parallel()
		notStarted(t, &Launcher{Self: "/none"}, prepare(t, childLaunch(t, "exit", "0"), ""), "no such file")
	})
	t.Run("a runner that is none", func(t *testing.T) {
		t.Parallel()
		l := &Launcher{Self: self(t), Args: []string{"child", "exit", "1"}, Env: []string{quick}}
		notStarted(t, l, prepare(t, childLaunch(t, "exit", "0"), ""), "without a word")
	})
	t.Run("the lock of another run", func(t *testing.T) {
		t.Parallel()
		r, other := prepare(t, childLaunch(t, "exit", "0"), ""), prepare(t, childLaunch(t, "exit", "0"), "")
		r.lock, other.lock = other.lock, r.lock
		defer other.dropLock()
		_, err := launcher.Start(t.Context(), r, nil)
		if !errors.Is(err, ErrNotStarted) || !strings.Contains(err.Error(), "the lock of another run") {
			t.Errorf("error %v", err)
		}
		if rec, _ := r.Record(); rec.begun() {
			t.Errorf("record %+v", rec)
		}
	})
	t.Run("no room for the intent", func(t *testing.T) {
		t.Parallel()
		r := prepare(t, childLaunch(t, "exit", "0"), "")
		if err := os.Truncate(r.path(statusName), 0); err != nil {
			t.Fatal(err)
		}
		notStarted(t, launcher, r, "damaged")
	})
	t.Run("a context that has ended", func(t *testing.T) {
		t.Parallel()
		r := prepare(t, childLaunch(t, "exit", "0"), "")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := launcher.Start(ctx, r, nil); !errors.Is(err, ErrNotStarted) || !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a runner that hangs before its intent", func(t *testing.T) {
		t.Parallel()
		r := prepare(t, childLaunch(t, "exit", "0"), "")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		l := &Launcher{Self: self(t), Args: []string{"child", "hang"}}
		if _, err := l.Start(ctx, r, nil); !errors.Is(err, ErrNotStarted) {
			t.Errorf("error %v", err)
		}
		if alive, _ := r.Alive(); alive {
			t.Error("the runner was left alive")
		}
	})
}

func TestMainIsForLaunchersOnly(t *testing.T) {
	t.Parallel()
	cmd := spawn(false, nil, "_run")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "started by its owner only") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestThirtyAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 30 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			prompt := fmt.Sprintf("prompt %d", i)
			r, rec := run(t, childLaunch(t, "cat"), prompt)
			if got := read(t, r.Stdout()); got != prompt || rec.ExitCode != 0 {
				t.Errorf("%q, %+v", got, rec)
			}
		})
	}
}
