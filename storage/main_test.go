package storage_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/internal/testkit/storagetest"
	"cctask/storage"
)

// childDir makes the test binary a writer that runs until it is killed.
const childDir = "CCTASK_TEST_WRITE_DIR"

// childCheck makes the test binary check that file.
const childCheck = "CCTASK_TEST_CHECK_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childCheck); path != "" {
		debug.SetMaxStack(64 << 20) // as `cctask _check` does
		if err := storage.CheckFile(path); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(childDir); dir != "" {
		if err := writeForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForEver takes tasks through their lives in several goroutines, and
// prints what was acknowledged: "<id> <status>" after each Apply.
func writeForEver(dir string) error {
	db, err := storage.Open(dir, storage.Options{Timeout: 5 * time.Minute})
	if err != nil {
		return err
	}
	seq, err := db.LastSeq()
	if err != nil {
		return err
	}
	seqs := make(chan uint64)
	failed := make(chan error)
	for range 4 {
		go func() {
			for s := range seqs {
				if err := writeOne(db, s); err != nil {
					failed <- err
				}
			}
		}()
	}
	for {
		seq++
		select {
		case seqs <- seq:
		case err := <-failed:
			return err
		}
	}
}

func writeOne(db *storage.DB, seq uint64) error {
	w := queued(int(seq), "child")
	t, last := w.Task, w.Attempts[0]
	say := func(status task.Status) { fmt.Printf("%s %s\n", t.ID, status) }
	if err := db.Apply(w); err != nil {
		return err
	}
	say(task.Queued)
	w = step(*t, last, t0, task.Starting, task.Running)
	if err := db.Apply(w); err != nil {
		return err
	}
	say(task.Running)
	out := strings.Repeat(string(t.ID), 100)
	for i := range 3 {
		if err := db.Apply(chunk(t.ID, 1, task.Stdout, i*len(out), out)); err != nil {
			return err
		}
	}
	last.StdoutBytes = int64(3 * len(out))
	if err := db.Apply(step(*w.Task, last, t0, task.Completed)); err != nil {
		return err
	}
	say(task.Completed)
	if seq%5 == 0 {
		if err := db.Remove(t.ID, task.ByRequest, time.Now()); err != nil {
			return err
		}
		say("removed")
	}
	return nil
}

// A writer that is killed at any moment loses nothing that it acknowledged.
func TestKilledWriterLosesNothing(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() + "/state"
	acked := map[task.ID]task.Status{}
	for round := range 20 {
		child := exec.Command(exe)
		child.Env = append(os.Environ(), childDir+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		// Each round dies at another place, some lines after the kill too.
		for n := 0; lines.Scan(); n++ {
			if n == 5+round*3 {
				_ = child.Process.Kill()
			}
			if id, status, ok := strings.Cut(lines.Text(), " "); ok {
				acked[task.ID(id)] = task.Status(status)
			}
		}
		_ = child.Wait() // killed
		if err := storage.CheckFile(dir + "/tasks.db"); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	db := storagetest.OpenIn(t, dir)
	for id, status := range acked {
		got, err := db.Task(id)
		if status == "removed" {
			if err == nil {
				t.Errorf("task %s is back", id)
			}
			continue
		}
		// It may be further than it was acknowledged.
		if err != nil && status != task.Completed || err == nil && rank(got.Status) < rank(status) {
			t.Errorf("task %s was acknowledged as %s, is %s, %v", id, status, got.Status, err)
		}
	}
	if len(acked) < 40 {
		t.Errorf("only %d tasks were written", len(acked))
	}
}

func rank(s task.Status) int {
	for i, v := range task.Statuses {
		if v == s {
			return i
		}
	}
	return -1
}
