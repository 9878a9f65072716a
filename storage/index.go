package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
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
	place    []byte // of a queued task, encoded
	name     string
	root     task.ID
	summary  summary
	sessions []string // that the task and its attempts name
}

// summary is what lists are sorted by and what retention counts, so that neither
// decodes a record. Times are unix ms, 0 for none.
type summary struct {
	stored   int64 // bytes of the task's pieces
	started  int64
	ended    int64 // of an ended task
	running  int64 // since when, of a running task
	duration int64 // ms, without the running attempt
	cost     float64
}

func summaryOf(t task.Task, stored int64) summary {
	s := summary{stored: stored, duration: t.DurationMS, cost: t.CostUSD}
	for ms, at := range map[*int64]time.Time{&s.started: t.StartedAt, &s.ended: t.FinishedAt, &s.running: t.RunningSince()} {
		if !at.IsZero() {
			*ms = at.UnixMilli()
		}
	}
	if !t.Status.Ended() {
		s.ended = 0
	}
	if t.Status != task.Running {
		s.running = 0
	}
	return s
}

const summarySize = 6 * 8

func (s summary) bytes() []byte {
	b := make([]byte, 0, summarySize)
	for _, v := range []int64{s.stored, s.started, s.ended, s.running, s.duration} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return binary.BigEndian.AppendUint64(b, math.Float64bits(s.cost))
}

// getSummary reads a value of by_status; a missing one is zero.
func getSummary(v []byte) summary {
	if len(v) != summarySize {
		return summary{}
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(v[8*i:])) }
	return summary{at(0), at(1), at(2), at(3), at(4), math.Float64frombits(uint64(at(5)))}
}

// entryOf is the entry for the record t and its attempts, as they stand in the file or will.
func entryOf(t task.Task, attempts []task.Attempt, stored int64) (entry, error) {
	e := entry{
		id: t.ID, status: t.Status, name: t.Spec.Name, root: t.RootID, summary: summaryOf(t, stored), sessions: []string{t.SessionID},
	}
	if t.Status == task.Queued {
		place, err := json.Marshal(task.PlaceOf(&t))
		if err != nil {
			return e, fmt.Errorf("encode the place of task %s: %w", t.ID, err)
		}
		e.seq, e.place = t.Seq, place
	}
	for _, a := range attempts {
		e.sessions = append(e.sessions, a.SessionID, a.ForkOf)
	}
	slices.Sort(e.sessions)
	e.sessions = slices.DeleteFunc(slices.Compact(e.sessions), func(s string) bool { return s == "" })
	return e, nil
}

func storedOf(tx *bolt.Tx, t task.Task) int64 {
	return getSummary(tx.Bucket(bucketByStatus).Get(keyByStatus(t.Status, t.ID))).stored
}

type indexKey struct{ bucket, key string }

// keys are the index keys of the entry and their values. What they are is
// said here alone, for the writer and for Check.
func (e entry) keys() map[indexKey][]byte {
	if e.id == "" {
		return nil
	}
	keys := map[indexKey][]byte{
		{string(bucketByStatus), string(keyByStatus(e.status, e.id))}: e.summary.bytes(),
		{string(bucketSuffixes), backwards(string(e.id))}:             present,
	}
	if e.name != "" {
		keys[indexKey{string(bucketNames), string(keyName(e.name, e.id))}] = present
	}
	for _, s := range e.sessions {
		keys[indexKey{string(bucketSessions), string(keySessionTask(s, e.id))}] = present
	}
	if e.root != "" {
		keys[indexKey{string(bucketRoots), string(keyRoot(e.root, e.id))}] = present
	}
	if e.status == task.Queued {
		keys[indexKey{string(bucketQueue), string(u64(e.seq))}] = e.place
	}
	if e.status.Ended() {
		keys[indexKey{string(bucketEnded), string(keyEnded(e.summary.ended, e.id))}] = u64(uint64(e.summary.stored))
	}
	return keys
}

// moveTo replaces the index entries of e by those of to.
func (e entry) moveTo(tx *bolt.Tx, to entry) error {
	before, after := e.keys(), to.keys()
	for k := range before {
		if _, stays := after[k]; stays {
			continue
		}
		if err := tx.Bucket([]byte(k.bucket)).Delete([]byte(k.key)); err != nil {
			return fmt.Errorf("unindex task %s: %w", e.id, err)
		}
	}
	for k, v := range after {
		if old, stood := before[k]; stood && bytes.Equal(old, v) {
			continue
		}
		if err := tx.Bucket([]byte(k.bucket)).Put([]byte(k.key), v); err != nil {
			return fmt.Errorf("index task %s: %w", to.id, err)
		}
	}
	// A session that no task names any more takes its cost along.
	for _, s := range e.sessions {
		if b := tx.Bucket(bucketSessions); !hasPrefix(b, keySessionTask(s, "")) {
			if err := b.Delete([]byte(s)); err != nil {
				return err
			}
		}
	}
	return e.count(tx, to)
}

func (e entry) count(tx *bolt.Tx, to entry) error {
	meta := tx.Bucket(bucketMeta)
	seq, ended := getU64(meta.Get(keySeq)), int64(0)
	for sign, e := range map[int64]entry{-1: e, 1: to} {
		if e.id == "" {
			continue
		}
		if err := addU64(meta, keyCount(e.status), sign); err != nil {
			return err
		}
		if e.status.Ended() {
			ended += sign * e.summary.stored
		}
	}
	// A clock that was set back gives later tasks lower ids.
	if e.id == "" && to.id != "" {
		if err := meta.Put(keyNewest, []byte(to.id)); err != nil {
			return err
		}
	}
	return errors.Join(addU64(meta, keyEndedBytes, ended), meta.Put(keySeq, u64(max(seq, to.seq))))
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
