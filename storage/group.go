package storage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

const (
	prefixGroup = "group/"
	prefixGate  = "gate/"
)

func keyGroup(name string) []byte { return []byte(prefixGroup + name) }

// Groups returns what is set of groups, by their names.
func (db *DB) Groups() ([]task.Group, error) {
	return limits[task.Group](db, prefixGroup)
}

// limits decodes the values of the bucket whose keys have a prefix.
func limits[T any](db *DB, prefix string) ([]T, error) {
	return read(db, func(tx *bolt.Tx) ([]T, error) { return limitsIn[T](tx, prefix) })
}

func limitsIn[T any](tx *bolt.Tx, prefix string) (list []T, err error) {
	c := tx.Bucket(bucketLimits).Cursor()
	for k, v := c.Seek([]byte(prefix)); bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
		var one T
		if err := json.Unmarshal(v, &one); err != nil {
			return nil, corrupt(tx.DB().Path(), fmt.Errorf("limits: %q: %w", k, err))
		}
		list = append(list, one)
	}
	return list, nil
}

func keySpent(scope string) []byte { return []byte("spent/" + scope) }

// Spends returns what each scope has spent.
func (db *DB) Spends() ([]task.Spend, error) { return limits[task.Spend](db, "spent/") }

// spend adds to what a scope has spent; what a day had spent ends with it.
func spend(tx *bolt.Tx, s task.Spend) error {
	var old task.Spend
	if v := tx.Bucket(bucketLimits).Get(keySpent(s.Scope)); v != nil {
		if err := json.Unmarshal(v, &old); err != nil {
			return fmt.Errorf("limits: spent/%s: %w", s.Scope, err)
		}
	}
	day, begins := task.Day(old.At.Local().Format(time.DateOnly), s.At.Local())
	if s.Scope != task.ScopeDay || !begins {
		s.USD = task.RoundUSD(s.USD + old.USD)
	}
	if day == old.At.Local().Format(time.DateOnly) {
		s.At = old.At
	}
	value, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode what %s has spent: %w", s.Scope, err)
	}
	return tx.Bucket(bucketLimits).Put(keySpent(s.Scope), value)
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

// Gates returns the gates that are closed, by their accounts.
func (db *DB) Gates() ([]task.Gate, error) { return limits[task.Gate](db, prefixGate) }

// SetGate records a gate; of one that is open no record stays.
func (db *DB) SetGate(g task.Gate) error {
	return db.do(&request{check: noCheck, apply: func(tx *bolt.Tx) error { return putGate(tx, g) }})
}

func putGate(tx *bolt.Tx, g task.Gate) error {
	key := []byte(prefixGate + g.Account)
	if g.Until.IsZero() {
		return tx.Bucket(bucketLimits).Delete(key)
	}
	g.Queued = 0
	value, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("encode the gate of %s: %w", g.Account, err)
	}
	return tx.Bucket(bucketLimits).Put(key, value)
}
