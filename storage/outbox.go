package storage

import (
	"encoding/json"
	"errors"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

func putNotice(tx *bolt.Tx, n task.Notice) error {
	v, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketOutbox).Put(keyAttempt(n.Task, n.Attempt), v)
}

// Outbox are the ends that are to be told, oldest task first.
func (db *DB) Outbox() ([]task.Notice, error) {
	return values[task.Notice](db, bucketOutbox)
}

// Told records what came of a try to tell of an end: nothing is left, and the notice
// goes, or it stays. One whose task was removed in the meantime is not brought back.
func (db *DB) Told(n task.Notice) error {
	none := errors.New("the notice is gone")
	err := db.do(&request{
		check: func(tx *bolt.Tx) error {
			if tx.Bucket(bucketOutbox).Get(keyAttempt(n.Task, n.Attempt)) == nil {
				return none
			}
			return nil
		},
		apply: func(tx *bolt.Tx) error {
			if len(n.Left) == 0 {
				return tx.Bucket(bucketOutbox).Delete(keyAttempt(n.Task, n.Attempt))
			}
			return putNotice(tx, n)
		},
	})
	if errors.Is(err, none) {
		return nil
	}
	return err
}

// outbox checks that each notice is of an attempt that there is.
func (c *checker) outbox() {
	_ = c.tx.Bucket(bucketOutbox).ForEach(func(k, v []byte) error {
		var n task.Notice
		switch err := json.Unmarshal(v, &n); {
		case err != nil || string(keyAttempt(n.Task, n.Attempt)) != string(k) || len(n.Left) == 0:
			c.report("outbox: %q has a bad value", k)
		case c.tx.Bucket(bucketAttempts).Get(k) == nil:
			c.report("outbox: %s is of no attempt", n.ID())
		}
		return nil
	})
}
