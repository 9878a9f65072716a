package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
	"cctask/migrations"
)

// lockPoll is how often a held lock is tried again: flock has no timeout.
const lockPoll = 20 * time.Millisecond

// prepareDir makes the state directory, or refuses one that others could
// write or read: whoever may do so could run commands as us, or read prompts.
func prepareDir(dir string) error {
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at the state directory: %w", err)
	}
	refuse := func(what, hint string) error {
		return &task.Error{Code: task.CodeInvalid, Message: "state directory " + dir + ": " + what, Hint: hint}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return refuse("is a symbolic link", "Set CCTASK_DIR to the directory itself.")
	case !info.IsDir():
		return refuse("is not a directory", "Set CCTASK_DIR to a directory.")
	case !ok || int(st.Uid) != os.Geteuid():
		return refuse("belongs to another user", "Set CCTASK_DIR to a directory of your own.")
	case info.Mode().Perm()&0o077 != 0:
		return refuse(fmt.Sprintf("is open to others (mode %04o)", info.Mode().Perm()), "Close it with `chmod 700 "+dir+"`.")
	}
	return nil
}

func makeDir(dir string) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// create makes an empty database at path. It comes to its name whole: bbolt's
// own initialisation is not safe against a power cut. The lock on the directory
// keeps two creators from renaming over each other's file.
func create(dir, path, app string, timeout time.Duration) error {
	lock, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := flock(lock, syscall.LOCK_EX, timeout); err != nil {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := initialise(tmp, app); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return lock.Sync()
}

func initialise(path, app string) (err error) {
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := migrations.Run(db); err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		return errors.Join(
			meta.Put(keyCreated, []byte(time.Now().UTC().Format(time.RFC3339))),
			meta.Put(keyApp, []byte(app)),
		)
	})
	if err != nil {
		return err
	}
	return db.Sync()
}

var errHeld = errors.New("another process holds the lock")

// flock takes a lock, waiting up to timeout; errHeld says that it did not come.
func flock(f *os.File, how int, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		case !time.Now().Before(deadline):
			return errHeld
		default:
			time.Sleep(min(lockPoll, time.Until(deadline)))
		}
	}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
