package storage_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"cctask/engine/task"
	"cctask/internal/testkit/storagetest"
)

// A full disk is an error with a way out, loses nothing, and is over once
// there is space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small tmpfs")
	}
	mnt := t.TempDir()
	if err := syscall.Mount("tmpfs", mnt, "tmpfs", 0, "size=3m,mode=0700"); err != nil {
		t.Skipf("cannot mount a tmpfs here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mnt, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	ballast := filepath.Join(mnt, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	db := storagetest.OpenIn(t, filepath.Join(mnt, "state"))
	id := submit(t, db, 0)
	r := rand.New(rand.NewPCG(5, 6))
	size := 0
	var err error
	for size < 10<<20 {
		data := noise(r, 100<<10)
		if err = db.Apply(chunk(id, 1, task.Stdout, size, data)); err != nil {
			break
		}
		size += len(data)
	}
	if !errors.Is(err, task.ErrNoSpace) || task.HintOf(err) == "" {
		t.Fatalf("after %d bytes: %v", size, err)
	}
	if n, err := db.Sealed(id, 1, task.Stdout); err != nil || n != int64(size) {
		t.Errorf("%d bytes are stored, %v, want %d", n, err, size)
	}
	if err := db.Check(); err != nil {
		t.Errorf("on the full disk: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	apply(t, db, chunk(id, 1, task.Stdout, size, noise(r, 100<<10)))
}
