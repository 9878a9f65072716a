package storage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

// entry is all that the indexes hold about a task. The zero entry is that of
// no task.
type entry struct {
	id       task.ID
	status   task.Status
	seq      uint64 // of a queued task
	name     string
	finished int64 // unix ms, of an ended task
	stored   int64
}

// footprint is the entry of a record, but for the bytes stored.
func footprint(t task.Task) entry {
	e := entry{id: t.ID, status: t.Status, name: t.Spec.Name}
	if t.Status == task.Queued {
		e.seq = t.Seq
	}
	if t.Status.Ended() {
		e.finished = t.FinishedAt.UnixMilli()
	}
	return e
}

// entryOf is the entry as the indexes hold it for the record t.
func entryOf(tx *bolt.Tx, t task.Task) entry {
	e := footprint(t)
	e.stored = int64(getU64(tx.Bucket(bucketByStatus).Get(keyByStatus(t.Status, t.ID))))
	return e
}

// moveTo replaces the index entries of e by those of to.
func (e entry) moveTo(tx *bolt.Tx, to entry) error {
	if e == to {
		return nil
	}
	if e.id != "" {
		if err := e.unindex(tx); err != nil {
			return fmt.Errorf("unindex task %s: %w", e.id, err)
		}
	}
	if to.id != "" {
		if err := to.index(tx); err != nil {
			return fmt.Errorf("index task %s: %w", to.id, err)
		}
	}
	return nil
}

func (e entry) index(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if err := tx.Bucket(bucketByStatus).Put(keyByStatus(e.status, e.id), u64(uint64(e.stored))); err != nil {
		return err
	}
	if err := addU64(meta, keyCount(e.status), 1); err != nil {
		return err
	}
	if e.name != "" {
		if err := tx.Bucket(bucketNames).Put(keyName(e.name, e.id), present); err != nil {
			return err
		}
	}
	if e.status == task.Queued {
		if e.seq > getU64(meta.Get(keySeq)) {
			if err := meta.Put(keySeq, u64(e.seq)); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketQueue).Put(u64(e.seq), []byte(e.id))
	}
	if e.status.Ended() {
		if err := addU64(meta, keyEndedBytes, e.stored); err != nil {
			return err
		}
		return tx.Bucket(bucketEnded).Put(e.endedKey(), u64(uint64(e.stored)))
	}
	return nil
}

func (e entry) unindex(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if err := tx.Bucket(bucketByStatus).Delete(keyByStatus(e.status, e.id)); err != nil {
		return err
	}
	if err := addU64(meta, keyCount(e.status), -1); err != nil {
		return err
	}
	if e.name != "" {
		if err := tx.Bucket(bucketNames).Delete(keyName(e.name, e.id)); err != nil {
			return err
		}
	}
	if e.status == task.Queued {
		return tx.Bucket(bucketQueue).Delete(u64(e.seq))
	}
	if e.status.Ended() {
		if err := addU64(meta, keyEndedBytes, -e.stored); err != nil {
			return err
		}
		return tx.Bucket(bucketEnded).Delete(e.endedKey())
	}
	return nil
}

func (e entry) endedKey() []byte { return keyEnded(time.UnixMilli(e.finished), e.id) }

func costBytes(cost float64) []byte { return u64(math.Float64bits(cost)) }

// sessionsOf lists the sessions that a task and its attempts name.
func sessionsOf(tx *bolt.Tx, id task.ID) ([]string, error) {
	t, err := getTask(tx, id)
	if err != nil {
		return nil, err
	}
	attempts, err := getAttempts(tx, id)
	if err != nil {
		return nil, err
	}
	list := []string{t.SessionID}
	for _, a := range attempts {
		list = append(list, a.SessionID)
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(s string) bool { return s == "" }), nil
}

// moveSessions notes the sessions that the task names now, and forgets those
// of before that it no longer names.
func moveSessions(tx *bolt.Tx, id task.ID, before []string) error {
	now, err := sessionsOf(tx, id)
	if err != nil {
		return err
	}
	for _, s := range now {
		if err := tx.Bucket(bucketSessions).Put(keySessionTask(s, id), present); err != nil {
			return err
		}
	}
	for _, s := range before {
		if !slices.Contains(now, s) {
			if err := dropSession(tx, s, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropSession takes one task off a session; the last one takes its cost along.
func dropSession(tx *bolt.Tx, session string, id task.ID) error {
	b := tx.Bucket(bucketSessions)
	if err := b.Delete(keySessionTask(session, id)); err != nil {
		return err
	}
	if hasPrefix(b, []byte(session+"\x00")) {
		return nil
	}
	return b.Delete([]byte(session))
}

func getTask(tx *bolt.Tx, id task.ID) (task.Task, error) {
	v := tx.Bucket(bucketTasks).Get([]byte(id))
	if v == nil {
		return task.Task{}, notFound(string(id))
	}
	var t task.Task
	if err := json.Unmarshal(v, &t); err != nil {
		return task.Task{}, corrupt(tx.DB().Path(), fmt.Errorf("decode task %s: %w", id, err))
	}
	return t, nil
}

func getAttempts(tx *bolt.Tx, id task.ID) ([]task.Attempt, error) {
	var list []task.Attempt
	c := tx.Bucket(bucketAttempts).Cursor()
	for k, v := c.Seek([]byte(id)); bytes.HasPrefix(k, []byte(id)); k, v = c.Next() {
		a, err := decodeAttempt(tx, id, v)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

func decodeAttempt(tx *bolt.Tx, id task.ID, v []byte) (task.Attempt, error) {
	var a task.Attempt
	if err := json.Unmarshal(v, &a); err != nil {
		return a, corrupt(tx.DB().Path(), fmt.Errorf("decode an attempt of task %s: %w", id, err))
	}
	return a, nil
}

// countAttempts is the number of the last attempt on record.
func countAttempts(tx *bolt.Tx, id task.ID) int {
	n := 0
	c := tx.Bucket(bucketAttempts).Cursor()
	for k, _ := c.Seek([]byte(id)); bytes.HasPrefix(k, []byte(id)); k, _ = c.Next() {
		n++
	}
	return n
}
