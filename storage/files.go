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

	"cctask/internal/sys"
	"cctask/migrations"
)

// create makes a database at path, which fill writes. It comes to its name
// whole: bbolt's own initialisation is not safe against a power cut. The lock on
// the directory keeps two creators from renaming over each other's file.
// fs.ErrExist: there is a file.
func create(path string, o Options, fill func(tmp string) error) error {
	lock, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := lockFile(lock, syscall.LOCK_EX, o.Timeout); err != nil {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fs.ErrExist)
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err = initialise(tmp, o.App); err == nil && fill != nil {
		err = fill(tmp)
	}
	if err != nil {
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

// lockFile takes a lock, waiting up to a time; errHeld says that it did not come.
func lockFile(f *os.File, how int, within time.Duration) error {
	got, err := sys.LockWithin(int(f.Fd()), how, within)
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if !got {
		return errHeld
	}
	return nil
}
