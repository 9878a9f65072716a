package statedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cctask/engine/task"
)

func TestMakeIsPrivateAndChecksWhatIsThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "state")
	for range 2 {
		if err := Make(dir); err != nil {
			t.Fatal(err)
		}
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, error %v", fi.Mode(), err)
	}
}

// A umask that takes rights from us leaves no directory that we cannot enter.
func TestMakeUnderAnyUmask(t *testing.T) {
	top := t.TempDir()
	defer syscall.Umask(syscall.Umask(0o377))
	if err := Make(filepath.Join(top, "deep", "state")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"deep", "deep/state"} {
		if fi, err := os.Stat(filepath.Join(top, name)); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s: mode %v, error %v", name, fi.Mode(), err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	base := t.TempDir()
	open, link, file := filepath.Join(base, "open"), filepath.Join(base, "link"), filepath.Join(base, "file")
	err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o750), os.Symlink(base, link), os.WriteFile(file, nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{open: "mode 0750", link: "symbolic link", file: "not a directory"} {
		for name, act := range map[string]func(string) error{"check": Check, "make": Make} {
			err := act(dir)
			var e *task.Error
			if !errors.As(err, &e) || e.Code != task.CodeInvalid || e.Hint == "" || !strings.Contains(e.Message, want) {
				t.Errorf("%s %s: %v, want a refusal with %q", name, dir, err, want)
			}
		}
	}
	if err := Check(filepath.Join(base, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}
