package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"cctask/internal/ipc"
)

const crashVar = "CCTASK_TEST_CRASH_LOGGED_IN"

// A log that was rotated stays within its bound, keeps its mode, and the trace
// of a crash is in the file that is in use.
func TestOwnerLogRotates(t *testing.T) {
	if dir := os.Getenv(crashVar); dir != "" {
		l := newOwnerLog(dir)
		line := append(bytes.Repeat([]byte("x"), 1<<20-1), '\n')
		for range 45 {
			if _, err := l.Write(line); err != nil {
				t.Fatal(err)
			}
		}
		go func() { panic("the owner has a fault") }()
		select {}
	}
	dir := t.TempDir()
	first, err := os.OpenFile(filepath.Join(dir, ipc.LogName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	cmd := exec.Command(os.Args[0], "-test.run=^TestOwnerLogRotates$")
	cmd.Env, cmd.Stderr = append(os.Environ(), crashVar+"="+dir), first
	if cmd.Run() == nil {
		t.Fatal("the process did not crash")
	}
	trace, err := os.ReadFile(filepath.Join(dir, ipc.LogName))
	if err != nil || !bytes.Contains(trace, []byte("the owner has a fault")) {
		t.Errorf("the file in use, %d bytes, has no trace: %v", len(trace), err)
	}
	checkLogFiles(t, dir)
}

// checkLogFiles writes a line more: the process that crashed may not have come
// to removing its oldest file.
func checkLogFiles(t *testing.T, dir string) {
	t.Helper()
	l := newOwnerLog(dir)
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for deadline := time.Now().Add(5 * time.Minute); ; {
		files, err := filepath.Glob(filepath.Join(dir, "owner*.log"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) <= 1+logBackups {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d files: %v", len(files), files)
		}
		time.Sleep(10 * time.Millisecond) // the library removes them in the background and does not say when
	}
	files, _ := filepath.Glob(filepath.Join(dir, "owner*.log"))
	for _, f := range files {
		fi, err := os.Stat(f)
		if err != nil || fi.Mode().Perm() != 0o600 || fi.Size() > logFileSize<<20+1<<20 {
			t.Errorf("%s: %v, error %v", f, fi, err)
		}
	}
}
