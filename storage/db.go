package storage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
	"cctask/internal/statedir"
	"cctask/migrations"
)

const FileName = "tasks.db"

// DefaultTimeout is how long Open waits for the file's lock.
const DefaultTimeout = time.Second

// Options of Open. The zero value works.
type Options struct {
	// Timeout is how long to wait for the lock. 0: DefaultTimeout.
	Timeout time.Duration
	// App is the version of this program, recorded as the file's last writer.
	App string
}

// DB is an open database. Its methods may be used from several goroutines.
type DB struct {
	path string
	app  string
	bolt *bolt.DB
	file *os.File // bbolt's own descriptor
	info fs.FileInfo
	keys keyring

	queue chan *request
	quit  chan struct{} // closed by Close
	idle  chan struct{} // closed when the writer has left
	close func() error
	loss

	// Of the writer goroutine only.
	stamped bool     // app is recorded
	last    boltMeta // what the last commit left
}

// Open opens the database in dir for writing, and makes both if they are
// missing. Errors: ErrInvalid (a directory that is open to others), ErrLocked,
// ErrCorrupt, ErrVersion; the file is untouched with each of them.
func Open(dir string, o Options) (*DB, error) {
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	if err := statedir.Make(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileName)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path, o, nil); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, locked(path, translate(path, fmt.Errorf("create the database: %w", err)))
		}
	}
	return openFile(path, o)
}

// openFile opens a database that is there.
func openFile(path string, o Options) (*DB, error) {
	db := &DB{
		path: path, app: o.App, keys: keyring{path: filepath.Join(filepath.Dir(path), "env.key")},
		queue: make(chan *request, maxWaiting), quit: make(chan struct{}), idle: make(chan struct{}),
	}
	if err := db.open(false, o.Timeout); err != nil {
		return nil, locked(path, err)
	}
	go db.write()
	// A full disk must not keep the owner from answering: the next Open goes on.
	if err := db.finishRemovals(); err != nil && !errors.Is(err, task.ErrNoSpace) {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// OpenReadOnly opens a database file for reading. ErrLocked if a writer holds
// it longer than timeout.
func OpenReadOnly(path string, timeout time.Duration) (*DB, error) {
	db := &DB{path: path, quit: make(chan struct{}), idle: make(chan struct{})}
	close(db.idle)
	if err := db.open(true, timeout); err != nil {
		return nil, locked(path, err)
	}
	return db, nil
}

// locked names the holder in an error about a held lock.
func locked(path string, err error) error {
	if !errors.Is(err, errHeld) {
		return err
	}
	by := cmp.Or(holder(path), "another process")
	return task.Errorf(task.CodeLocked, "Ask the running cctask (`cctask daemon status`), stop it (`cctask daemon stop`), or use another directory (CCTASK_DIR).",
		"the database %s is in use by %s", path, by)
}

// open locks and verifies the file before bbolt may map it.
func (db *DB) open(readOnly bool, timeout time.Duration) error {
	db.down = make(chan struct{})
	if err := guard(db.path, func() error { return db.lockAndMap(readOnly, timeout) }); err != nil {
		db.release()
		return translate(db.path, fmt.Errorf("open the database: %w", err))
	}
	db.close = sync.OnceValue(db.shut)
	err := db.checkSchema(readOnly)
	if err == nil {
		db.last, err = readMeta(db.file)
	}
	if err != nil {
		return errors.Join(err, db.bolt.Close())
	}
	return nil
}

func (db *DB) lockAndMap(readOnly bool, timeout time.Duration) (err error) {
	flag := os.O_RDWR
	if readOnly {
		flag = os.O_RDONLY
	}
	if db.file, err = openRegular(db.path, flag); err != nil {
		return err
	}
	if db.info, err = admit(db.file, readOnly, timeout); err != nil {
		return err
	}
	// A commit writes the list of the free pages, 8 bytes each: 0.4 ms with 8,000 of
	// them, 2 to 6 ms with the 250,000 that a removed gigabyte leaves. Without the list
	// the next Open would walk the whole file.
	o := &bolt.Options{
		Timeout: DefaultTimeout, ReadOnly: readOnly, FreelistType: bolt.FreelistArrayType,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return db.file, nil },
	}
	// A growing writer that must map again waits for every reader. Address
	// space costs nothing where there is plenty of it.
	if bits.UintSize == 64 && !readOnly {
		o.InitialMmapSize = 4 << 30
	}
	if db.bolt, err = bolt.Open(db.path, 0o600, o); err == nil {
		db.bolt.AllocSize = allocSize
	}
	return err
}

// allocSize is by how much the file grows: bbolt's own 16 MiB would be a third of what
// most people's files have.
const allocSize = 2 << 20

// admit locks a file and looks whether it is a whole database.
func admit(f *os.File, readOnly bool, timeout time.Duration) (info fs.FileInfo, err error) {
	how := syscall.LOCK_EX
	if readOnly {
		how = syscall.LOCK_SH
	}
	if err := lockFile(f, how, timeout); err != nil {
		return nil, err
	}
	// Under the lock: the writer before us may have grown it.
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if err := believable(f, info.Size()); err != nil {
		return nil, corrupt(f.Name(), err)
	}
	if !readOnly && info.Mode().Perm() != 0o600 {
		if err := f.Chmod(0o600); err != nil {
			return nil, err
		}
	}
	return info, nil
}

// checkSchema refuses what is not ours or newer, and migrates what is older.
func (db *DB) checkSchema(readOnly bool) error {
	err := guard(db.path, func() error {
		if !readOnly {
			if err := migrations.Run(db.bolt); err != nil {
				return err
			}
		}
		return db.bolt.View(func(tx *bolt.Tx) error {
			v, err := migrations.Version(tx)
			if err == nil && v > migrations.Latest() {
				err = fmt.Errorf("%w: version %d, this program knows %d", migrations.ErrNewer, v, migrations.Latest())
			} else if err == nil && v < migrations.Latest() {
				err = errOlder
			}
			for _, name := range buckets {
				if err == nil && tx.Bucket(name) == nil {
					err = corrupt(db.path, fmt.Errorf("it has no bucket %q", name))
				}
			}
			return err
		})
	})
	switch {
	case errors.Is(err, migrations.ErrNewer):
		return &task.Error{
			Code: task.CodeVersion, Message: "open " + db.path, Err: err,
			Hint: "Use the newer cctask that wrote it. The file was left as it is.",
		}
	case errors.Is(err, errOlder):
		return &task.Error{
			Code: task.CodeVersion, Message: "open " + db.path, Err: err,
			Hint: "Start cctask once on its directory (`cctask list`): that brings the file to the new schema.",
		}
	case errors.Is(err, migrations.ErrForeign):
		return corrupt(db.path, err)
	}
	return translate(db.path, err)
}

var errOlder = errors.New("the database has an older schema")

// release gives the lock up after bbolt has panicked with the file open. The
// map keeps the file alive, so closing alone would keep the lock.
func (db *DB) release() {
	if db.file != nil {
		_ = syscall.Flock(int(db.file.Fd()), syscall.LOCK_UN)
		_ = db.file.Close()
	}
}

// Close waits for the writes under way and closes the file. Later calls of any
// method fail with ErrClosing.
func (db *DB) Close() error { return db.close() }

func (db *DB) shut() error {
	close(db.quit)
	select {
	case <-db.idle:
	case <-db.down: // the writer may wait for a lock that a panic has left locked
	}
	if db.lost() != nil {
		// And so could bbolt's Close.
		db.release()
		return nil
	}
	return guard(db.path, db.bolt.Close)
}

func (db *DB) Path() string { return db.path }
