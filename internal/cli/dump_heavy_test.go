package cli_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/storage"
)

// mostMemory is what a dump or a restore of any size may take.
var mostMemory = map[string]int64{"dump": 60 << 20, "restore": 120 << 20}

// TestHeavyDumpAndRestore takes five gigabytes in a million pieces through dump,
// restore and dump, and logs times and the peak memory of each process.
func TestHeavyDumpAndRestore(t *testing.T) {
	if os.Getenv("CCTASK_HEAVY") == "" {
		t.Skip("set CCTASK_HEAVY=1")
	}
	p := newPerson(t)
	// Under the race detector memory says nothing.
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "cctask"), "cctask").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	dir := filepath.Join(p.cmd.Dir, "state")
	// In a process of its own: what a child takes is counted from its parent on.
	if out, err := exec.Command("fill-heavy", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	again := filepath.Join(p.cmd.Dir, "again.db")
	offline := measured(t, p, nil, "dump")
	if got := measured(t, p, nil, "dump", "--output", "none"); got == offline {
		t.Error("the outputs are in it all the same")
	}
	measured(t, p, nil, "dump", "--redact")
	p.cctask("list")
	if got := measured(t, p, nil, "dump"); got != offline {
		t.Error("the owner's dump differs")
	}
	p.cctask("daemon", "stop")
	from := p.command("dump")
	r, err := from.StdoutPipe()
	check(t, err)
	check(t, from.Start())
	measured(t, p, r, "restore", "-", "--db", again)
	check(t, from.Wait())
	if got := measured(t, p, nil, "dump", "--db", again); got != offline {
		t.Error("the restored database's dump differs")
	}
}

// measured runs a verb and gives the sum of its output.
func measured(t *testing.T, p person, in io.Reader, args ...string) string {
	t.Helper()
	cmd := p.command(args...)
	sum := sha256.New()
	n := &counter{w: sum}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, n, os.Stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	t.Logf("%-24q %5.1f s, %6.1f MB out, peak memory %d MB", args, time.Since(began).Seconds(), float64(n.n)/1e6, peak>>20)
	if peak > mostMemory[args[0]] {
		t.Errorf("%v: a peak of %d MB", args, peak>>20)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}

// fillHeavy makes a database of 500 tasks with 2000 pieces each, half of them text.
func fillHeavy() {
	const tasks, pieces, size = 500, 2000, 5 << 30 / 500 / 2000
	db, err := storage.Open(os.Args[1], storage.Options{})
	must(err)
	r := rand.NewChaCha8([32]byte{1})
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for i := range tasks {
		at = at.Add(time.Second)
		x := task.Task{ID: task.NewID(at), Attempt: 1, Seq: uint64(i + 1), CreatedAt: at, Spec: task.Spec{WorkingDir: "/", Claude: "/c"}}
		a := task.Attempt{N: 1, Kind: task.First, PromptN: 1}
		for _, s := range []task.Status{task.Queued, task.Starting, task.Running} {
			must(x.Become(s, at, ""))
		}
		a.Status = x.Status
		must(db.Apply(task.Write{At: at, Task: &x, Attempts: []task.Attempt{a}}))
		for n := 0; n < pieces; n += 500 {
			var chunks []task.Blob
			for j := n; j < n+500; j++ {
				data := make([]byte, size)
				_, _ = r.Read(data)
				for k := range data {
					if i%2 == 0 {
						data[k] = ' ' + data[k]%90
					}
				}
				chunks = append(chunks, task.Blob{ID: x.ID, Attempt: 1, Stream: task.Stdout, Offset: int64(j * size), Data: data})
			}
			must(db.Apply(task.Write{At: at, Chunks: chunks}))
		}
		must(x.Become(task.Completed, at, ""))
		a.Status, a.StdoutBytes, x.StdoutBytes = x.Status, pieces*size, pieces*size
		must(db.Apply(task.Write{At: at, Task: &x, Attempts: []task.Attempt{a}}))
	}
	must(db.Close())
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
