package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cctask/engine/task"
	"cctask/storage"
)

// damages are what happens to a database file while it is open: each turns the
// file into something else, and the error that every call gives from then on.
var damages = []struct {
	name   string
	damage func(path string) error
	want   error
}{
	{"cut to nothing", func(p string) error { return os.Truncate(p, 0) }, task.ErrCorrupt},
	{"cut in half", func(p string) error { return os.Truncate(p, 16<<10) }, task.ErrCorrupt},
	{"zeroed", func(p string) error {
		b, err := os.ReadFile(p)
		f, openErr := os.OpenFile(p, os.O_WRONLY, 0)
		if err = errors.Join(err, openErr); err != nil {
			return err
		}
		_, err = f.WriteAt(make([]byte, len(b)), 0)
		return errors.Join(err, f.Close())
	}, task.ErrCorrupt},
	{"removed", os.Remove, task.ErrClosing},
	{"replaced", func(p string) error {
		return errors.Join(os.WriteFile(p+".x", []byte("x"), 0o600), os.Rename(p+".x", p))
	}, task.ErrClosing},
	{"a directory in its place", func(p string) error {
		return errors.Join(os.Remove(p), os.Mkdir(p, 0o700))
	}, task.ErrClosing},
	{"a copy in its place", func(p string) error {
		b, err := os.ReadFile(p)
		return errors.Join(err, os.WriteFile(p+".x", b, 0o600), os.Rename(p+".x", p))
	}, task.ErrClosing},
	{"another database written into it", func(p string) error {
		other, err := os.MkdirTemp(filepath.Dir(p), "")
		if err != nil {
			return err
		}
		db, err := storage.Open(other, storage.Options{})
		if err != nil {
			return err
		}
		for i := range 20 { // as many free pages as only it has
			err = errors.Join(err, db.Apply(queued(i, "other")))
		}
		b, readErr := os.ReadFile(db.Path())
		return errors.Join(err, db.Close(), readErr, os.WriteFile(p, b, 0o600))
	}, task.ErrClosing},
}

// Whatever becomes of the file, no write is acknowledged and nobody waits for
// ever: bbolt's locks are left locked by what it panics in.
func TestDamage(t *testing.T) {
	t.Parallel()
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			db, err := storage.Open(filled(t), storage.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Lost(); err != nil {
				t.Errorf("lost at once: %v", err)
			}
			if err := d.damage(db.Path()); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					// A reader meets the damage, or reads what it holds already.
					if _, err := db.List(t.Context(), task.Filter{}); err != nil && !errors.Is(err, d.want) {
						t.Errorf("List: %v", err)
					}
					if err := db.Apply(queued(100+i, "x")); !errors.Is(err, d.want) || task.HintOf(err) == "" {
						t.Errorf("Apply: %v", err)
					}
				})
			}
			all.Wait()
			if err := db.Lost(); !errors.Is(err, d.want) {
				t.Errorf("Lost: %v", err)
			}
			if err := db.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// A reader that meets the damage first leaves bbolt's locks locked.
func TestDamageThatAReaderMeets(t *testing.T) {
	t.Parallel()
	for _, d := range damages[:3] {
		db, err := storage.Open(filled(t), storage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.damage(db.Path()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, listErr := db.List(t.Context(), task.Filter{})
			_, err := db.Expired(task.KeepPolicy{Count: 1}, time.Now(), 10)
			if err = errors.Join(listErr, err); err != nil && !errors.Is(err, task.ErrCorrupt) {
				t.Errorf("%s: %v", d.name, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Errorf("%s: Close: %v", d.name, err)
		}
	}
}

// A file that was moved away and back is lost still: whoever has it open may
// have been told so, and another may have opened what lay there meanwhile.
func TestMovedAwayAndBack(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	db, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	away := db.Path() + ".away"
	if err := os.Rename(db.Path(), away); err != nil {
		t.Fatal(err)
	}
	if err := db.Apply(queued(100, "x")); !errors.Is(err, task.ErrClosing) {
		t.Errorf("Apply: %v", err)
	}
	if err := os.Rename(away, db.Path()); err != nil {
		t.Fatal(err)
	}
	if err := db.Apply(queued(100, "x")); !errors.Is(err, task.ErrClosing) {
		t.Errorf("Apply after it came back: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err = storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Apply(queued(100, "x")), db.Close(), storage.CheckFile(db.Path())); err != nil {
		t.Error(err)
	}
}

// What lies in the database's place and is no file is refused at once, with the
// way out: opening a pipe would wait for its other end.
func TestNoFileInItsPlace(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(path string) error{
		"a directory":     func(p string) error { return os.Mkdir(p, 0o700) },
		"a pipe":          func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"a symbolic link": func(p string) error { return os.Symlink("/dev/zero", p) },
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, storage.FileName)
		if err := errors.Join(os.Chmod(dir, 0o700), make(path)); err != nil {
			t.Fatal(err)
		}
		_, openErr := storage.Open(dir, storage.Options{})
		_, readErr := storage.OpenOffline(path)
		for _, err := range []error{openErr, readErr, storage.CopyLive(path, path+".copy")} {
			if !errors.Is(err, task.ErrCorrupt) || !strings.Contains(task.HintOf(err), "mv ") {
				t.Errorf("%s: %v; hint: %s", name, err, task.HintOf(err))
			}
		}
	}
}
