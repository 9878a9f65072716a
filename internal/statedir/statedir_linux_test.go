package statedir

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// A directory can be written to, the file in it that counts cannot.
func TestReadOnlyFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if why := ReadOnly(dir, "file"); why != nil {
		t.Fatal(why)
	}
	if err := os.Chmod(file, 0o400); err != nil {
		t.Fatal(err)
	}
	why := make(chan error)
	go func() { why <- asUser(dir, func() error { return ReadOnly(dir, "file") }) }()
	if err := <-why; err == nil || !strings.Contains(err.Error(), "can only be read: file: permission denied") {
		t.Errorf("want that the file cannot be written, got %v", err)
	}
}

// asUser does for root, who may write everything, what f does as the user of dir. The
// thread that is that user's ends with the goroutine.
func asUser(dir string, f func() error) error {
	if os.Geteuid() != 0 {
		return f()
	}
	const other, same = 12345, ^uintptr(0)
	for _, path := range []string{filepath.Dir(dir), dir, filepath.Join(dir, "file")} {
		if err := os.Chown(path, other, -1); err != nil {
			return err
		}
	}
	runtime.LockOSThread()
	for _, ids := range [][2]uintptr{{same, other}, {other, same}} {
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ids[0], ids[1], same); errno != 0 {
			return errno
		}
	}
	return f()
}
