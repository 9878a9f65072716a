package sys

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func write(text string, then error) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return errors.Join(err, then)
	}
}

func TestAFileComesToItsNameWholeOrNotAtAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := WriteFile(path, write("one", nil)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := WriteFile(path, write("half", broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the one who writes", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "one" {
		t.Errorf("a write that failed left %q", got)
	}
	if err := errors.Join(os.Chmod(path, 0o640), WriteFile(path, write("two", nil))); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if got, _ := os.ReadFile(path); err != nil || string(got) != "two" || fi.Mode().Perm() != 0o640 {
		t.Errorf("got %q, %v, %v", got, fi.Mode(), err)
	}
	if all, _ := os.ReadDir(filepath.Dir(path)); len(all) != 1 {
		t.Errorf("temporary files stay: %v", all)
	}
}

func TestALockKeepsOthersOutUntilItIsLetGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a, b := open(), open()
	try := func(f *os.File, how int) bool {
		got, err := LockWithin(int(f.Fd()), how, 0)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if !try(a, unix.LOCK_EX) || try(b, unix.LOCK_SH) {
		t.Error("an exclusive lock is not exclusive")
	}
	if err := Unlock(a); err != nil || !try(b, unix.LOCK_SH) {
		t.Errorf("a lock that was let go is held (%v)", err)
	}
	if a = open(); !try(a, unix.LOCK_SH) || try(a, unix.LOCK_EX) {
		t.Error("a shared lock is not shared, or an exclusive one was given beside it")
	}
	_, _ = Unlock(a), Unlock(b)
}

func TestASignalReachesOneProcessAndNoLaterOneOfItsNumber(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := Find(cmd.Process.Pid)
	other := Process{p.PID, p.Start + 1}
	if !p.Alive() || other.Alive() || (Process{}).Alive() || (Process{PID: -1}).Alive() {
		t.Error("the start time does not tell processes apart")
	}
	never := func() (bool, error) { return false, nil }
	if err := errors.Join(other.Signal(syscall.SIGKILL, nil), p.Signal(syscall.SIGKILL, never)); err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Fatal("a signal for nobody reached it")
	}
	if err := p.Signal(syscall.SIGTERM, func() (bool, error) { return true, nil }); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != syscall.SIGTERM {
		t.Errorf("it ended by %v", got)
	}
	if err := p.Signal(syscall.SIGTERM, nil); err != nil {
		t.Errorf("a signal for one that has ended: %v", err)
	}
}
