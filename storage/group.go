package storage

import (
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

func keyGroup(name string) []byte { return []byte("group/" + name) }

// Groups returns what is set of groups, by their names.
func (db *DB) Groups() ([]task.Group, error) {
	return values[task.Group](db, bucketLimits)
}

// SetGroup records what is set of a group; of one of which nothing is, no record stays.
func (db *DB) SetGroup(g task.Group) error {
	r, err := setGroup(g)
	if err != nil {
		return err
	}
	return db.do(r)
}

func setGroup(g task.Group) (*request, error) {
	g.Live, g.Queued = 0, 0
	value, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("encode group %s: %w", g.Name, err)
	}
	return &request{check: noCheck, apply: func(tx *bolt.Tx) error {
		if g == (task.Group{Name: g.Name}) {
			return tx.Bucket(bucketLimits).Delete(keyGroup(g.Name))
		}
		return tx.Bucket(bucketLimits).Put(keyGroup(g.Name), value)
	}}, nil
}
