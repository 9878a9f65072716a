package storage

import (
	"os"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

// RemoveFirst is the first commit of Remove, after which a crash may come.
func (db *DB) RemoveFirst(id task.ID) error {
	return db.do(&request{
		check: func(*bolt.Tx) error { return nil },
		apply: func(tx *bolt.Tx) error {
			_, err := removeSome(tx, id)
			return err
		},
	})
}

// Pieces counts what is stored of a task's output.
func (db *DB) Pieces(id task.ID) (n int, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketOutput).Cursor()
		for k, _ := c.Seek([]byte(id)); k != nil && string(k[:task.IDLength]) == string(id); k, _ = c.Next() {
			n++
		}
		return nil
	})
	return n, err
}

// Commits counts the transactions that were committed.
func (db *DB) Commits() (n int, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		n = tx.ID()
		return nil
	})
	return n, err
}

// Tamper changes the file behind the writer's rules.
func (db *DB) Tamper(f func(*bolt.Tx) error) error {
	return db.do(&request{check: func(*bolt.Tx) error { return nil }, apply: f})
}

// Listed tells whether the newest state of a file has its list of free pages.
func Listed(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	m, err := readMeta(f)
	return m.freelist != noFreelist, err
}

// NoLists keeps the free list out of all commits, as if it were long.
func (db *DB) NoLists() { db.lists = false }

// Abandon lets go of the file as a kill would.
func (db *DB) Abandon() error {
	close(db.quit)
	<-db.idle
	return db.bolt.Close()
}
