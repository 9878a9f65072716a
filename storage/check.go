package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
	"cctask/migrations"
)

// maxProblems bounds what one Check reports.
const maxProblems = 20

// Check looks whether the whole database is as it should be: bbolt's own
// check, indexes and counters that equal the records, histories that lead to
// their statuses, attempts from 1 on without a gap, streams from 0 on without
// a gap and of the length that their records say, no environment of a task
// that cannot start by itself. Writers wait meanwhile.
// The error lists up to 20 problems, one a line. bbolt checks in a goroutine of
// its own, whose panic on a damaged file nobody can catch: who checks a file that
// may be damaged does so in a process of its own.
func (db *DB) Check() error {
	if db.queue == nil {
		return db.view(db.check)
	}
	// bbolt's check reads the free list, which only the writer may do.
	return db.do(&request{check: db.check})
}

// CheckFile checks a database file that nobody has open for writing. It waits
// at most DefaultTimeout for a writer.
func CheckFile(path string) error {
	db, err := OpenReadOnly(path, DefaultTimeout)
	if err != nil {
		return err
	}
	return errors.Join(db.Check(), db.Close())
}

// checker collects problems, and what the records say the indexes must hold.
type checker struct {
	tx       *bolt.Tx
	problems []error

	counts map[task.Status]uint64
	seq    uint64 // the highest
	ended  uint64 // bytes stored of ended tasks
	keys   map[string]int
}

func (db *DB) check(tx *bolt.Tx) error {
	c := &checker{tx: tx, counts: map[task.Status]uint64{}, keys: map[string]int{}}
	if m, err := readMeta(db.file); err != nil {
		c.report("%w", err)
	} else if err := m.lengths(db.file); err != nil {
		c.report("%w", err)
	} else {
		c.pages()
	}
	if len(c.problems) == 0 {
		c.tasks()
		c.totals()
		c.loose()
		c.outbox()
	}
	if len(c.problems) == 0 {
		return nil
	}
	return corrupt(db.path, errors.Join(c.problems...))
}

// pages is bbolt's own check. In a tree that leads back to itself it would go on for
// ever, and tell so at each page that it comes to again: after maxProblems it is left
// where it waits to tell the next one.
func (c *checker) pages() {
	for err := range c.tx.Check() {
		if c.report("bbolt: %v", err); len(c.problems) == maxProblems {
			return
		}
	}
}

func (c *checker) report(format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, fmt.Errorf(format, args...))
	}
}

func (c *checker) tasks() {
	_ = c.tx.Bucket(bucketTasks).ForEach(func(k, _ []byte) error {
		t, err := getTask(c.tx, task.ID(k))
		if err != nil {
			c.report("%w", err)
			return nil
		}
		if id, err := task.ParseID(string(k)); err != nil || id != t.ID {
			c.report("task %s: its record calls itself %q", k, t.ID)
			return nil
		}
		if !replays(t) {
			c.report("task %s: its history does not lead to %q", t.ID, t.Status)
		}
		attempts, err := getAttempts(c.tx, t.ID)
		if err != nil {
			c.report("%w", err)
			return nil
		}
		c.attempts(t, attempts)
		c.index(t, attempts, c.streams(t))
		return nil
	})
}

func (c *checker) index(t task.Task, attempts []task.Attempt, stored int64) {
	e, err := entryOf(t, attempts, stored)
	if err != nil {
		c.report("%w", err)
		return
	}
	for k, want := range e.keys() {
		c.keys[k.bucket]++
		if got := c.tx.Bucket([]byte(k.bucket)).Get([]byte(k.key)); got == nil || !bytes.Equal(got, want) {
			c.report("%s: %q is %x, not %x", k.bucket, k.key, got, want)
		}
	}
	c.counts[t.Status]++
	c.seq = max(c.seq, e.seq)
	if t.Status.Ended() {
		c.ended += uint64(stored)
	}
	if c.tx.Bucket(bucketEnv).Get([]byte(t.ID)) != nil {
		c.keys[string(bucketEnv)]++
		if !t.MayStart() {
			c.report("task %s: is %s and still has its environment", t.ID, t.Status)
		}
	}
}

func (c *checker) attempts(t task.Task, list []task.Attempt) {
	c.keys[string(bucketAttempts)] += len(list)
	if len(list) != t.Attempt {
		c.report("task %s: %d attempts are recorded, the task knows %d", t.ID, len(list), t.Attempt)
	}
	for i, a := range list {
		if a.N != i+1 || c.tx.Bucket(bucketAttempts).Get(keyAttempt(t.ID, a.N)) == nil {
			c.report("task %s: attempt %d stands in place %d", t.ID, a.N, i+1)
			continue
		}
		if !a.Status.Ended() {
			continue
		}
		for s, want := range map[task.Stream]int64{
			task.Stdout: a.StdoutBytes, task.Stderr: a.StderrBytes, task.Result: a.ResultBytes,
		} {
			p, _ := placeOf(t.ID, a.N, s)
			if got, err := p.end(c.tx); err == nil && got != want {
				c.report("task %s: %s of attempt %d has %d bytes, its record says %d", t.ID, s, a.N, got, want)
			}
		}
	}
}

// totals checks that the indexes hold nothing else, and the counters.
func (c *checker) totals() {
	for _, name := range [][]byte{
		bucketByStatus, bucketNames, bucketSuffixes, bucketQueue, bucketEnded, bucketEnv, bucketAttempts, bucketRoots,
	} {
		if got := c.size(name, nil); got != c.keys[string(name)] {
			c.report("%s: has %d keys, the records make %d", name, got, c.keys[string(name)])
		}
	}
	meta := c.tx.Bucket(bucketMeta)
	for _, s := range task.Statuses {
		if got := getU64(meta.Get(keyCount(s))); got != c.counts[s] {
			c.report("meta: counts %d tasks that are %s, there are %d", got, s, c.counts[s])
		}
	}
	if got := getU64(meta.Get(keyEndedBytes)); got != c.ended {
		c.report("meta: %d bytes of ended tasks, there are %d", got, c.ended)
	}
	if got := getU64(meta.Get(keySeq)); got < c.seq {
		c.report("meta: the highest sequence is %d, a task has %d", got, c.seq)
	}
	if v, err := migrations.Version(c.tx); err != nil || v != migrations.Latest() {
		c.report("meta: schema %d (%v)", v, err)
	}
}

func (c *checker) size(bucket []byte, want func(k []byte) bool) int {
	n := 0
	_ = c.tx.Bucket(bucket).ForEach(func(k, _ []byte) error {
		if want == nil || want(k) {
			n++
		}
		return nil
	})
	return n
}

// loose checks what stands for itself: sessions, keys, pieces without a task.
func (c *checker) loose() {
	pairs := 0
	_ = c.tx.Bucket(bucketSessions).ForEach(func(k, v []byte) error {
		if n := len(k) - task.IDLength - 1; n > 0 && k[n] == 0 {
			pairs++
		} else if len(v) != 8 || !hasPrefix(c.tx.Bucket(bucketSessions), keySessionTask(string(k), "")) {
			c.report("sessions: %q is named by no task", k)
		}
		return nil
	})
	if want := c.keys[string(bucketSessions)]; pairs != want {
		c.report("sessions: %d are named, the records make %d", pairs, want)
	}
	_ = c.tx.Bucket(bucketKeys).ForEach(func(k, _ []byte) error {
		if _, _, at, ok := getKey(c.tx, string(k)); !ok || at.After(time.UnixMilli(1<<50)) {
			c.report("keys: %q has a bad value", k)
		}
		return nil
	})
	removing := c.tx.Bucket(bucketRemoving)
	for _, name := range blobBuckets {
		got := c.size(name, func(k []byte) bool {
			return len(k) < task.IDLength || removing.Get(k[:task.IDLength]) == nil
		})
		if got != c.keys[string(name)] {
			c.report("%s: has %d pieces, the tasks have %d", name, got, c.keys[string(name)])
		}
	}
}

// streams checks the pieces of one task and counts the bytes they take.
func (c *checker) streams(t task.Task) (stored int64) {
	for _, name := range blobBuckets {
		// The prefix of the stream that is walked, and where its next piece
		// must begin.
		prefix, next := "", int64(0)
		cur := c.tx.Bucket(name).Cursor()
		for k, v := cur.Seek([]byte(t.ID)); bytes.HasPrefix(k, []byte(t.ID)); k, v = cur.Next() {
			c.keys[string(name)]++
			stored += int64(len(v))
			p, n, ok := splitKey(name, k)
			if !ok || n < 1 || n > max(t.Attempt, 1) {
				c.report("%s: %q fits no attempt of its task", name, k)
				continue
			}
			if p.prefix != prefix {
				prefix, next = p.prefix, 0
			}
			if at := p.offset(k); at != next {
				c.report("%s: %q begins at %d, not at %d", name, k, at, next)
			}
			data, err := unpack(v)
			if err != nil {
				c.report("%s: %q: %w", name, k, err)
			}
			next = p.offset(k) + int64(len(data))
		}
	}
	c.prompt(t)
	return stored
}

func (c *checker) prompt(t task.Task) {
	p, _ := placeOf(t.ID, 1, task.Prompt)
	if got, err := p.end(c.tx); err == nil && got > 0 && got != int64(t.PromptBytes) {
		c.report("task %s: the prompt has %d bytes, its record says %d", t.ID, got, t.PromptBytes)
	}
}

// splitKey reads the place and the attempt's number from a piece's key.
func splitKey(bucket, k []byte) (p place, n int, ok bool) {
	size := task.IDLength + 4
	if string(bucket) == string(bucketOutput) {
		size++
	}
	if len(k) != size+8 {
		return place{}, 0, false
	}
	ok = size == task.IDLength+4 || k[size-1] == 'o' || k[size-1] == 'e'
	return place{bucket, string(k[:size])}, int(binary.BigEndian.Uint32(k[task.IDLength:])), ok
}
