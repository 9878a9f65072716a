package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

// read is view with a result.
func read[T any](db *DB, f func(*bolt.Tx) (T, error)) (got T, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		got, err = f(tx)
		return err
	})
	return got, err
}

// Task returns a task's record. ErrNotFound.
func (db *DB) Task(id task.ID) (task.Task, error) {
	return read(db, func(tx *bolt.Tx) (task.Task, error) { return getTask(tx, id) })
}

// Show reads all that is wanted of a task in one transaction, and decodes nothing.
// ErrNotFound.
func (db *DB) Show(id task.ID, l task.Look) (task.Shown, error) {
	return read(db, func(tx *bolt.Tx) (s task.Shown, err error) {
		if s.Record = bytes.Clone(tx.Bucket(bucketTasks).Get([]byte(id))); s.Record == nil {
			return s, unknown(tx, string(id))
		}
		s.Status = statusOf(tx, id)
		last, _ := lastBefore(tx.Bucket(bucketAttempts).Cursor(), []byte(id), append([]byte(id), "\xff"...))
		if len(last) != task.IDLength+4 {
			return s, nil
		}
		n := int(binary.BigEndian.Uint32(last[task.IDLength:]))
		if l.Attempts {
			s.Attempts = rawAttempts(tx, id)
		}
		if s.Status.Ended() {
			p, _ := placeOf(id, n, task.Result)
			if s.Answer, err = p.read(tx, 0, task.MaxInlineResult); err != nil {
				return s, corrupt(db.path, fmt.Errorf("answer of task %s: %w", id, err))
			}
		}
		if l.BadOnly && (!s.Status.Ended() || s.Status == task.Completed) {
			return s, nil
		}
		if s.Stdout, err = tailOf(tx, id, n, task.Stdout, l.Stdout, s.Status.Ended()); err == nil {
			s.Stderr, err = tailOf(tx, id, n, task.Stderr, l.Stderr, s.Status.Ended())
		}
		return s, err
	})
}

// statusOf finds a task's status by the index, which needs no decoding.
func statusOf(tx *bolt.Tx, id task.ID) task.Status {
	for _, s := range task.Statuses {
		if tx.Bucket(bucketByStatus).Get(keyByStatus(s, id)) != nil {
			return s
		}
	}
	return ""
}

// rawAttempts are the records of all attempts, in order, as a list.
func rawAttempts(tx *bolt.Tx, id task.ID) []byte {
	list := []byte("[")
	c := tx.Bucket(bucketAttempts).Cursor()
	for k, v := c.Seek([]byte(id)); bytes.HasPrefix(k, []byte(id)); k, v = c.Next() {
		if len(list) > 1 {
			list = append(list, ',')
		}
		list = append(list, v...)
	}
	return append(list, ']')
}

// tailOf is the end of a stream of attempt n; nil where none of it is wanted.
func tailOf(tx *bolt.Tx, id task.ID, n int, st task.Stream, wanted int64, done bool) (*task.Output, error) {
	if wanted <= 0 {
		return nil, nil
	}
	p, _ := placeOf(id, n, st)
	size, err := p.end(tx)
	out := &task.Output{ID: id, Attempt: n, Stream: st, Offset: max(0, size-wanted), Size: size, Done: done}
	if err == nil {
		out.Data, err = p.read(tx, out.Offset, int(min(wanted, size)))
	}
	if err != nil {
		return nil, corrupt(tx.DB().Path(), fmt.Errorf("%s of task %s: %w", st, id, err))
	}
	return out, nil
}

// Attempt returns the record of attempt n. ErrNotFound.
func (db *DB) Attempt(id task.ID, n int) (task.Attempt, error) {
	return read(db, func(tx *bolt.Tx) (task.Attempt, error) {
		if v := tx.Bucket(bucketAttempts).Get(keyAttempt(id, n)); v != nil {
			return decodeAttempt(tx, id, v)
		}
		return task.Attempt{}, orNotFound(tx, id, missing(id, fmt.Sprintf("attempt %d", n)))
	})
}

// Attempts returns the records of all attempts, in order. ErrNotFound.
func (db *DB) Attempts(id task.ID) ([]task.Attempt, error) {
	return read(db, func(tx *bolt.Tx) ([]task.Attempt, error) {
		list, err := getAttempts(tx, id)
		return list, orNotFound(tx, id, err)
	})
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

func (db *DB) Queue() ([]task.Place, error) {
	return values[task.Place](db, bucketQueue)
}

// values are those of a bucket in the order of their keys, decoded.
func values[T any](db *DB, bucket []byte) ([]T, error) {
	return read(db, func(tx *bolt.Tx) ([]T, error) { return valuesIn[T](tx, bucket) })
}

func valuesIn[T any](tx *bolt.Tx, bucket []byte) (list []T, err error) {
	err = tx.Bucket(bucket).ForEach(func(k, v []byte) error {
		var one T
		if err := json.Unmarshal(v, &one); err != nil {
			return corrupt(tx.DB().Path(), fmt.Errorf("%s: %q: %w", bucket, k, err))
		}
		list = append(list, one)
		return nil
	})
	return list, err
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

// LastSeq returns the highest queue sequence ever taken, 0 before the first.
func (db *DB) LastSeq() (uint64, error) {
	return read(db, func(tx *bolt.Tx) (uint64, error) { return getU64(tx.Bucket(bucketMeta).Get(keySeq)), nil })
}

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

// Taken tells of the submission that is recorded under a key; nil if none is.
func (db *DB) Taken(key string, now time.Time) (*task.KeyTaken, error) {
	return read(db, func(tx *bolt.Tx) (*task.KeyTaken, error) { return takenKey(tx, key, now), nil })
}

// Holder names the queued or live task whose session it is; "" if none does.
func (db *DB) Holder(session string) (task.ID, error) {
	return read(db, func(tx *bolt.Tx) (task.ID, error) {
		prefix := keySessionTask(session, "")
		c := tx.Bucket(bucketSessions).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			t, err := getTask(tx, task.ID(k[len(prefix):]))
			if err != nil || !t.Status.Ended() && t.SessionID == session {
				return t.ID, err
			}
		}
		return "", nil
	})
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
