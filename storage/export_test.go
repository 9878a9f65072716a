package storage

import (
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
