package storage

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

// Task returns a task's record. ErrNotFound.
func (db *DB) Task(id task.ID) (t task.Task, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		t, err = getTask(tx, id)
		return err
	})
	return t, err
}

// Attempt returns the record of attempt n. ErrNotFound.
func (db *DB) Attempt(id task.ID, n int) (a task.Attempt, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketAttempts).Get(keyAttempt(id, n))
		if v == nil {
			return orNotFound(tx, id, missing(id, fmt.Sprintf("attempt %d", n)))
		}
		a, err = decodeAttempt(tx, id, v)
		return err
	})
	return a, err
}

// Attempts returns the records of all attempts, in order. ErrNotFound.
func (db *DB) Attempts(id task.ID) (list []task.Attempt, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		if list, err = getAttempts(tx, id); err != nil {
			return err
		}
		return orNotFound(tx, id, nil)
	})
	return list, err
}

// orNotFound gives err for a task that exists, ErrNotFound for another.
func orNotFound(tx *bolt.Tx, id task.ID, err error) error {
	if tx.Bucket(bucketTasks).Get([]byte(id)) == nil {
		return notFound(string(id))
	}
	return err
}

// Prompt returns the prompt that was written for attempt n. ErrNotFound.
func (db *DB) Prompt(id task.ID, n int) ([]byte, error) {
	data, err := db.Stream(id, n, task.Prompt, 0, task.MaxPrompt)
	if err == nil && len(data) == 0 {
		err = missing(id, fmt.Sprintf("prompt for attempt %d", n))
	}
	return data, err
}

// Stream returns up to limit bytes from offset on; fewer or none at the end,
// and none for an attempt that has no such stream. ErrNotFound: no such task.
func (db *DB) Stream(id task.ID, n int, s task.Stream, offset int64, limit int) (data []byte, err error) {
	p, ok := placeOf(id, n, s)
	if !ok {
		return nil, fault("read of the unknown stream %q", s)
	}
	err = db.view(func(tx *bolt.Tx) error {
		if data, err = p.read(tx, offset, limit); err != nil {
			return corrupt(db.path, fmt.Errorf("%s of task %s: %w", s, id, err))
		}
		if len(data) == 0 {
			return orNotFound(tx, id, nil)
		}
		return nil
	})
	return data, err
}

// Sealed returns the length of a stream as it is stored; 0 for an attempt that
// has no such stream. ErrNotFound: no such task.
func (db *DB) Sealed(id task.ID, n int, s task.Stream) (size int64, err error) {
	p, ok := placeOf(id, n, s)
	if !ok {
		return 0, fault("size of the unknown stream %q", s)
	}
	err = db.view(func(tx *bolt.Tx) error {
		if size, err = p.end(tx); err != nil {
			return corrupt(db.path, fmt.Errorf("%s of task %s: %w", s, id, err))
		}
		return orNotFound(tx, id, nil)
	})
	return size, err
}

// Queue returns the queued tasks in the queue's order.
func (db *DB) Queue() (ids []task.ID, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketQueue).ForEach(func(_, v []byte) error {
			ids = append(ids, task.ID(v))
			return nil
		})
	})
	return ids, err
}

// Live returns the starting and running tasks, oldest first.
func (db *DB) Live() (list []task.Task, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		for _, s := range task.Statuses {
			if !s.Live() {
				continue
			}
			prefix := keyByStatus(s, "")
			c := tx.Bucket(bucketByStatus).Cursor()
			for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
				t, err := getTask(tx, task.ID(k[len(prefix):]))
				if err != nil {
					return err
				}
				list = append(list, t)
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b task.Task) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return list, err
}

// Counts returns how many tasks are in each status; those with none are left
// out.
func (db *DB) Counts() (counts map[task.Status]int, err error) {
	counts = map[task.Status]int{}
	err = db.view(func(tx *bolt.Tx) error {
		for _, s := range task.Statuses {
			if n := getU64(tx.Bucket(bucketMeta).Get(keyCount(s))); n > 0 {
				counts[s] = int(n)
			}
		}
		return nil
	})
	return counts, err
}

// LastSeq returns the highest queue sequence ever taken, 0 before the first.
func (db *DB) LastSeq() (seq uint64, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		seq = getU64(tx.Bucket(bucketMeta).Get(keySeq))
		return nil
	})
	return seq, err
}

// SessionCost returns a session's last recorded total.
func (db *DB) SessionCost(session string) (total float64, known bool, err error) {
	if session == "" {
		return 0, false, nil
	}
	err = db.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketSessions).Get([]byte(session))
		total, known = getCost(v), v != nil
		return nil
	})
	return total, known, err
}

// Env returns the environment that the task was submitted with. ErrNotFound
// when it was dropped, ErrCorrupt when env.key is lost.
func (db *DB) Env(id task.ID) ([]string, error) {
	var sealed []byte
	err := db.view(func(tx *bolt.Tx) error {
		if sealed = bytes.Clone(tx.Bucket(bucketEnv).Get([]byte(id))); sealed == nil {
			return orNotFound(tx, id, missing(id, "environment"))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	env, err := db.keys.open(id, sealed)
	if err != nil {
		return nil, &task.Error{
			Code: task.CodeCorrupt, Message: fmt.Sprintf("read the environment of task %s", id), Err: err,
			Hint: fmt.Sprintf("Start it again with your current environment: `cctask cancel %s`, then `cctask retry %s`.", id, id),
		}
	}
	return env, nil
}

// IDs returns up to limit ids above after, ascending.
func (db *DB) IDs(after task.ID, limit int) (ids []task.ID, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketTasks).Cursor()
		k, _ := c.Seek([]byte(after))
		if after == "" {
			k, _ = c.First()
		} else if string(k) == string(after) {
			k, _ = c.Next()
		}
		for ; k != nil && len(ids) < limit; k, _ = c.Next() {
			ids = append(ids, task.ID(k))
		}
		return nil
	})
	return ids, err
}
