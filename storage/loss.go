package storage

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

// loss is that an open file is of no use any more: damaged, removed or replaced.
// It is for good: every call from then on fails with it.
type loss struct {
	once sync.Once
	err  error
	down chan struct{} // closed once err is set: nobody waits for the writer any more
	// txs is held while a read transaction begins or ends. A panic inside bbolt's
	// Begin leaves its locks locked: whoever came next would wait for ever.
	txs sync.Mutex
}

// fail records the first loss and returns it.
func (l *loss) fail(err error) error {
	l.once.Do(func() {
		l.err = err
		close(l.down)
	})
	return l.err
}

func (l *loss) lost() error {
	select {
	case <-l.down:
		return l.err
	default:
		return nil
	}
}

// Lost tells why nothing that is written from now on can be kept, or nil.
// ErrCorrupt: the file is damaged. ErrClosing: it is no longer the one at its
// path, because somebody removed or replaced it; whoever opens the path next can
// do what was asked for here.
func (db *DB) Lost() error {
	if err := db.lost(); err != nil {
		return err
	}
	// In this order: the file may grow between the two.
	m, err := readMeta(db.file)
	info, statErr := os.Lstat(db.path)
	switch {
	case errors.Is(statErr, fs.ErrNotExist), statErr == nil && !os.SameFile(info, db.info):
		err = replaced(db.path)
	case err != nil:
		err = corrupt(db.path, err)
	case statErr == nil && int64(m.pages)*m.pageSize > info.Size():
		err = corrupt(db.path, cutOff(info.Size(), m))
	}
	if err == nil {
		return nil
	}
	return db.fail(err)
}

// mine is Lost for the writer, which knows its last commit: `cp backup tasks.db`
// writes another database into this file, and to go on in it with the free pages
// of this one would ruin it.
func (db *DB) mine() error {
	if err := db.Lost(); err != nil {
		return err
	}
	if m, err := readMeta(db.file); err != nil || m != db.last {
		return db.fail(replaced(db.path))
	}
	return nil
}

func replaced(path string) error {
	return task.Errorf(task.CodeClosing, "Run the command again.", "the database %s was removed or replaced", path)
}

// guarded runs f. After a panic of it bbolt's state in memory cannot be trusted.
func (db *DB) guarded(f func() error) error {
	err := guard(db.path, f)
	if errors.As(err, new(*panicError)) {
		return db.fail(err)
	}
	return err
}

// view runs f in a short read transaction.
func (db *DB) view(f func(*bolt.Tx) error) error {
	tx, err := db.begin()
	if err == nil {
		err = db.guarded(func() error { return f(tx) })
		db.end(tx)
	}
	return translate(db.path, err)
}

func (db *DB) begin() (tx *bolt.Tx, err error) {
	db.txs.Lock()
	defer db.txs.Unlock()
	if err := db.lost(); err != nil {
		return nil, err
	}
	err = db.guarded(func() (err error) {
		tx, err = db.bolt.Begin(false)
		return err
	})
	return tx, err
}

func (db *DB) end(tx *bolt.Tx) {
	db.txs.Lock()
	defer db.txs.Unlock()
	if db.lost() == nil {
		_ = tx.Rollback() // nothing was changed that could fail to go back
	}
}

// openRegular opens a database file. Opening a pipe would wait for its other end.
func openRegular(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ELOOP) {
		return nil, corrupt(path, errNotRegular)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = corrupt(path, errNotRegular)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

var errNotRegular = errors.New("not a regular file")
