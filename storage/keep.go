package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

// removeBatch is how many pieces one transaction deletes: up to 64 MiB of
// output, so that no removal holds the writer for long.
const removeBatch = 256

// Remove deletes a task. With the first commit it is gone for every reader;
// the pieces that did not fit into it follow, and Open finishes what a crash
// left. Idempotency keys stay until Forget: to repeat a submission must not
// start it again. As long it is known who removed the task.
func (db *DB) Remove(id task.ID, by task.Remover, at time.Time) error {
	for done := false; !done; {
		err := db.do(&request{
			check: func(*bolt.Tx) error { return nil },
			apply: func(tx *bolt.Tx) (err error) {
				gone := tx.Bucket(bucketTasks).Get([]byte(id)) == nil
				if done, err = removeSome(tx, id); err != nil || gone {
					return err
				}
				return putKey(tx, keyRemoved(id), id, string(by), at)
			},
		})
		if err != nil {
			return fmt.Errorf("remove task %s: %w", id, err)
		}
	}
	return nil
}

// finishRemovals ends what was cut short.
func (db *DB) finishRemovals() error {
	var ids []task.ID
	err := db.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketRemoving).ForEach(func(k, _ []byte) error {
			ids = append(ids, task.ID(k))
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := db.Remove(id, "", time.Time{}); err != nil { // its record is gone already
			return err
		}
	}
	return nil
}

// Removed tells who removed a task and when, for a day; the zero time: not known.
func (db *DB) Removed(id task.ID) (at time.Time, by task.Remover, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		_, who, when, _ := getKey(tx, keyRemoved(id))
		at, by = when, task.Remover(who)
		return nil
	})
	return at, by, err
}

// removeSome deletes the record and a batch of pieces.
func removeSome(tx *bolt.Tx, id task.ID) (done bool, err error) {
	if tx.Bucket(bucketTasks).Get([]byte(id)) != nil {
		if err := removeRecord(tx, id); err != nil {
			return false, err
		}
	}
	left := removeBatch
	for _, name := range blobBuckets {
		n, err := deletePrefix(tx.Bucket(name), []byte(id), left)
		if err != nil {
			return false, err
		}
		left -= n
	}
	if left == 0 {
		return false, tx.Bucket(bucketRemoving).Put([]byte(id), present)
	}
	return true, tx.Bucket(bucketRemoving).Delete([]byte(id))
}

func removeRecord(tx *bolt.Tx, id task.ID) error {
	t, err := getTask(tx, id)
	if err != nil {
		return err
	}
	attempts, err := getAttempts(tx, id)
	if err != nil {
		return err
	}
	e, err := entryOf(t, attempts, storedOf(tx, t))
	if err != nil {
		return err
	}
	if err := e.moveTo(tx, entry{}); err != nil {
		return err
	}
	if _, err := deletePrefix(tx.Bucket(bucketAttempts), []byte(id), -1); err != nil {
		return err
	}
	if _, err := deletePrefix(tx.Bucket(bucketOutbox), []byte(id), -1); err != nil {
		return err
	}
	if err := tx.Bucket(bucketEnv).Delete([]byte(id)); err != nil {
		return err
	}
	return tx.Bucket(bucketTasks).Delete([]byte(id))
}

// deletePrefix deletes up to limit keys that begin with prefix; a negative
// limit is none. The keys are collected first: bbolt's cursor skips keys when
// it deletes as it goes.
func deletePrefix(b *bolt.Bucket, prefix []byte, limit int) (int, error) {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(keys) != limit; k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if b.Get(k) == nil {
			// The file is damaged, and to delete until all are gone would never end.
			return 0, corrupt(b.Tx().DB().Path(), fmt.Errorf("key %q is not where it belongs", k))
		}
		if err := b.Delete(k); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

// Expired names up to limit ended tasks that the policy lets go, those that
// ended first first. It looks at no more than that many.
func (db *DB) Expired(p task.KeepPolicy, now time.Time, limit int) (list []task.Expiry, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		expired(tx, p, now, func(x task.Expiry) bool {
			list = append(list, x)
			return len(list) < limit
		})
		return nil
	})
	return list, err
}

// Doom counts what the policy lets go.
func (db *DB) Doom(p task.KeepPolicy, now time.Time) (task.Doom, error) {
	return read(db, func(tx *bolt.Tx) (task.Doom, error) {
		d := task.Doom{Rules: map[string]int{}}
		d.Ended = expired(tx, p, now, func(x task.Expiry) bool {
			d.Expired++
			d.Rules[x.Rule]++
			return true
		})
		if k, _ := tx.Bucket(bucketTasks).Cursor().Last(); k != nil {
			d.Newest = task.ID(k).Time()
		}
		if k, _ := tx.Bucket(bucketEnded).Cursor().Last(); k != nil && endOf(k).After(d.Newest) {
			d.Newest = endOf(k)
		}
		return d, nil
	})
}

// expired gives what the policy lets go, the oldest end first, until take has
// enough, and tells how many tasks have ended.
func expired(tx *bolt.Tx, p task.KeepPolicy, now time.Time, take func(task.Expiry) bool) (all int) {
	meta := tx.Bucket(bucketMeta)
	for _, s := range task.Statuses {
		if s.Ended() {
			all += int(getU64(meta.Get(keyCount(s))))
		}
	}
	size, count := int64(getU64(meta.Get(keyEndedBytes))), all
	c := tx.Bucket(bucketEnded).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		rule := ""
		switch {
		case p.Age > 0 && now.Sub(endOf(k)) >= p.Age:
			rule = "keep-age=" + task.SpanText(p.Age)
		case p.Count > 0 && count > p.Count:
			rule = fmt.Sprintf("keep-count=%d", p.Count)
		case p.Size > 0 && size > p.Size:
			rule = fmt.Sprintf("keep-size=%d", p.Size)
		}
		if rule == "" || !take(task.Expiry{ID: task.ID(k[8:]), Rule: rule}) {
			break
		}
		count--
		size -= int64(getU64(v))
	}
	return all
}

// endOf is the time in a key of bucketEnded.
func endOf(k []byte) time.Time { return time.UnixMilli(int64(binary.BigEndian.Uint64(k))) }

// Hold is the pass of the retention that waits; the zero Hold: none does.
func (db *DB) Hold() (task.Hold, error) { return read(db, getHold) }

func getHold(tx *bolt.Tx) (h task.Hold, err error) {
	if v := tx.Bucket(bucketMeta).Get(keyHold); v != nil {
		if err = json.Unmarshal(v, &h); err != nil {
			err = corrupt(tx.DB().Path(), fmt.Errorf("decode what the retention waits for: %w", err))
		}
	}
	return h, err
}

// SetHold records it, so that it waits as long over all owners; the zero Hold
// ends it.
func (db *DB) SetHold(h task.Hold) error {
	v, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode what the retention waits for: %w", err)
	}
	return db.do(&request{check: noCheck, apply: func(tx *bolt.Tx) error {
		if h.Since.IsZero() {
			return tx.Bucket(bucketMeta).Delete(keyHold)
		}
		return tx.Bucket(bucketMeta).Put(keyHold, v)
	}})
}

// Forget drops idempotency keys that are older than a day.
func (db *DB) Forget(now time.Time) error {
	var old [][]byte
	r := &request{apply: func(tx *bolt.Tx) error {
		for _, k := range old {
			if err := tx.Bucket(bucketKeys).Delete(k); err != nil {
				return err
			}
		}
		return nil
	}}
	r.check = func(tx *bolt.Tx) error {
		old = nil
		err := tx.Bucket(bucketKeys).ForEach(func(k, v []byte) error {
			if len(v) < 8 || now.Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(v)))) >= keyLife {
				old = append(old, bytes.Clone(k))
			}
			return nil
		})
		if len(old) == 0 {
			r.apply = nil // no commit for nothing
		}
		return err
	}
	return db.do(r)
}
