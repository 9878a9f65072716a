package engine_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
	"cctask/internal/testkit/storagetest"
)

const holdArg = "_hold"

func init() { helpers[holdArg] = hold }

// hold keeps the locks of all runs in a directory until its stdin ends.
func hold(dir string) int {
	entries, err := os.ReadDir(dir)
	held := make([]*os.File, 0, len(entries)) // one that nobody refers to is closed, and its lock is gone
	for _, e := range entries {
		var f *os.File
		if err == nil {
			f, err = os.OpenFile(filepath.Join(dir, e.Name(), "lock"), os.O_RDWR, 0)
		}
		if err == nil {
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		}
		held = append(held, f)
	}
	fmt.Println(err)
	_, _ = os.Stdin.Read(make([]byte, 1))
	runtime.KeepAlive(held)
	return 0
}

// An owner of thousands of live attempts, most of which sleep, neither runs out of
// descriptors and threads nor keeps a processor busy. The runs are the test's: their
// records are copies of one that a runner wrote.
func TestManyLive(t *testing.T) {
	n := 1500
	if os.Getenv("CCTASK_HEAVY") != "" {
		n = 12_000
	}
	w := newWorld(t, 1)
	gate := fakeclaude.NewGate(t)
	id := w.submit("[[text asleep]]" + gate.Directive())
	open := w.reached(gate)
	w.runs(id)
	files := map[string][]byte{}
	for _, name := range []string{"lock", "prompt", "status", "stdout", "stderr"} {
		b, err := os.ReadFile(filepath.Join(w.runDir(id, "1"), name))
		w.must(err)
		files[name] = b
	}
	var final []byte // the record of an end
	w.store.set(func() {
		w.store.before = func(wr task.Write) (err error) {
			if ends(wr) && final == nil {
				final, err = os.ReadFile(filepath.Join(w.runDir(id, "1"), "status"))
			}
			return err
		}
	})
	open()
	w.end(id, task.Completed)
	w.Close()
	ids := storagetest.Fill(t, w.store.DB, n, time.Now(), func(_ int, wr *task.Write) {
		old := wr.Task
		old.Status, old.History, old.FinishedAt, old.ExitCode, old.Reason = "", nil, time.Time{}, nil, ""
		for _, s := range []task.Status{task.Queued, task.Starting, task.Running} {
			w.must(old.Become(s, old.CreatedAt, ""))
		}
		wr.Attempts[0].Status, wr.Attempts[0].FinishedAt, wr.Attempts[0].ExitCode = task.Running, time.Time{}, nil
	})
	for _, id := range ids {
		w.must(os.Mkdir(w.runDir(id, "1"), 0o700))
		for name, b := range files {
			w.must(os.WriteFile(filepath.Join(w.runDir(id, "1"), name), b, 0o600))
		}
	}
	let := w.holdLocks()
	t.Logf("%d runs are made", n)
	var was syscall.Rlimit
	w.must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	w.must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 100, Max: was.Max}))
	defer func() { w.must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)) }()
	begin := time.Now()
	w.open()
	recovered := time.Since(begin)
	t.Logf("recovered %d in %v", n, recovered)
	w.until("the output of all is followed", func() bool {
		got, err := w.Get(w.ctx, string(ids[0]))
		last, lastErr := w.Get(w.ctx, string(ids[n-1]))
		return err == nil && lastErr == nil && got.Progress != nil && got.Progress.Events > 0 && last.Progress != nil && last.Progress.Events > 0
	})
	// Past the start-up's own timers, and into the rhythm of the looks.
	<-time.After(4 * time.Second)
	before, at := cpu(t), time.Now()
	<-time.After(6 * time.Second)
	share := float64(cpu(t)-before) / float64(time.Since(at))
	status, err := os.ReadFile("/proc/self/status")
	w.must(err)
	_, threads, _ := strings.Cut(string(status), "Threads:\t")
	threads, _, _ = strings.Cut(threads, "\n")
	t.Logf("%d live: %.3f of a core, %s threads", n, share, threads)
	if st := w.Stats(); st.Live != n {
		t.Errorf("%+v", st)
	}
	if len(threads) > 2 {
		t.Errorf("%s threads", threads)
	}
	if most := 0.1; !raceEnabled && share > most {
		t.Errorf("it takes %.3f of a core, more than %.1f", share, most)
	}
	// All end at once.
	for _, id := range ids {
		w.must(os.WriteFile(filepath.Join(w.runDir(id, "1"), "status"), final, 0o600))
	}
	let()
	begin = time.Now()
	for _, id := range ids {
		w.end(id, task.Failed) // without a result
	}
	t.Logf("all have ended after %v", time.Since(begin))
}

func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// holdLocks has another process hold the locks of all runs.
func (w *world) holdLocks() (let func()) {
	w.Helper()
	self, err := os.Executable()
	w.must(err)
	holder := exec.Command(self, holdArg, filepath.Join(w.root, "run"))
	in, err := holder.StdinPipe()
	w.must(err)
	out, err := holder.StdoutPipe()
	w.must(err)
	w.must(holder.Start())
	line := make([]byte, 200)
	k, err := out.Read(line)
	if err != nil || !slices.Equal(line[:k], []byte("<nil>\n")) {
		w.Fatalf("hold the locks: %s %v", line[:k], err)
	}
	return func() {
		_ = in.Close()
		_ = holder.Wait()
	}
}
