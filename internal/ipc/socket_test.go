package ipc

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLongPath(t *testing.T) {
	dir := filepath.Join(stateDir(t), strings.Repeat("long/", 30)+"s")
	runtime := t.TempDir()
	if err := os.Chmod(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	// A session that was never opened, or is over, has none: it is not ours to make.
	absent := filepath.Join(runtime, "absent")
	t.Setenv("XDG_RUNTIME_DIR", absent)
	if at, err := socketDir(dir); err != nil || strings.HasPrefix(at, absent) {
		t.Errorf("the socket goes to %s, %v", at, err)
	}
	if _, err := os.Lstat(absent); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("XDG_RUNTIME_DIR was made: %v", err)
	}
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	serve(t, dir)
	// Another front has another environment: the lock file names the socket.
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", t.TempDir())
	h := hello(t, front(t, dir))
	if h.PID != os.Getpid() || !strings.HasPrefix(h.Socket, runtime) || len(h.Socket) > maxSocketPath {
		t.Errorf("%+v", h)
	}
	fi, err := os.Stat(h.Socket)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi, err)
	}
	if fi, err = os.Stat(filepath.Dir(h.Socket)); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", fi, err)
	}
}
