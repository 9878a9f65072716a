package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
	"cctask/migrations"
)

// Bounds of a page: what it takes in memory, and for how long a file that
// nobody serves stays locked for it.
const (
	pageTasks  = 40
	pageLooks  = 2000
	pageBytes  = 1 << 20
	smallBytes = 64 << 10 // most of a task's streams that come with its record
)

func Schema() uint32 { return migrations.Latest() }

// Page returns the next tasks of a dump, each read in one transaction with the
// lengths of its streams.
func (db *DB) Page(q task.DumpQuery) (task.DumpPage, error) {
	q.Filter.Limit, q.Filter.Cursor = 0, ""
	f, err := newQuery(context.Background(), q.Filter)
	if err != nil {
		return task.DumpPage{}, err
	}
	return read(db, func(tx *bolt.Tx) (task.DumpPage, error) {
		meta := tx.Bucket(bucketMeta)
		p := task.DumpPage{
			After: q.After, Restored: meta.Get(keyRestored) != nil, Redacted: int64(getU64(meta.Get(keyRedacted))),
		}
		if q.After == "" && q.IDs == nil {
			if p.Groups, err = limitsIn[task.Group](tx, prefixGroup); err != nil {
				return p, err
			}
		}
		next := followers(tx, q, f.floor)
		for size, looks := 0, 0; ; looks++ {
			id := next()
			if p.More = id != ""; !p.More {
				return p, nil
			}
			if looks == pageLooks || size >= pageBytes || len(p.Tasks) == pageTasks {
				return p, nil
			}
			p.After = id
			s, err := snapshot(tx, id, f)
			if err != nil {
				return p, err
			}
			if s != nil {
				p.Tasks = append(p.Tasks, *s)
				size += weight(*s)
			}
		}
	})
}

// followers walks the ids above q.After, from floor on; "" is the end.
func followers(tx *bolt.Tx, q task.DumpQuery, floor string) func() task.ID {
	if q.IDs != nil {
		return func() task.ID {
			for len(q.IDs) > 0 {
				id := q.IDs[0]
				if q.IDs = q.IDs[1:]; id > q.After {
					q.After = id
					return id
				}
			}
			return ""
		}
	}
	c := tx.Bucket(bucketTasks).Cursor()
	// No id lies between another and the same with a zero behind it.
	k, _ := c.Seek([]byte(max(string(q.After)+"\x00", floor)))
	return func() task.ID {
		id := task.ID(k)
		if k != nil {
			k, _ = c.Next()
		}
		return id
	}
}

// weight is about what a snapshot takes in memory.
func weight(s task.Snapshot) int {
	n := 1000 * (1 + len(s.Attempts) + len(s.Task.History)/10)
	for _, b := range s.Small {
		n += len(b.Data)
	}
	return n
}

// snapshot reads a task; nil if it is gone or q does not select it.
func snapshot(tx *bolt.Tx, id task.ID, q *query) (*task.Snapshot, error) {
	record := tx.Bucket(bucketTasks).Get([]byte(id))
	if record == nil {
		return nil, nil
	}
	t, err := q.selected(tx, id, record)
	if t == nil || err != nil {
		return nil, err
	}
	if len(q.Statuses) > 0 && !slices.Contains(q.Statuses, t.Status) ||
		q.Name != "" && (t.Spec.Name == "" || !nameMatcher(q.Name)(strings.ToLower(t.Spec.Name))) {
		return nil, nil
	}
	s := task.Snapshot{Task: *t}
	if s.Attempts, err = getAttempts(tx, id); err != nil {
		return nil, err
	}
	for _, a := range s.Attempts {
		for _, session := range []string{a.SessionID, a.ForkOf} {
			if v := tx.Bucket(bucketSessions).Get([]byte(session)); session != "" && v != nil {
				if s.SessionCosts == nil {
					s.SessionCosts = map[string]float64{}
				}
				s.SessionCosts[session] = getCost(v)
			}
		}
	}
	return &s, measure(tx, &s)
}

// measure adds the lengths of the streams, and what is in them if it is little.
func measure(tx *bolt.Tx, s *task.Snapshot) error {
	var total int64
	s.Sizes = make([]task.Sizes, max(1, s.Task.Attempt))
	each := func(f func(n int, st task.Stream, p place) error) error {
		for i := range s.Sizes {
			for _, st := range task.Dumped {
				p, _ := placeOf(s.Task.ID, i+1, st)
				if err := f(i+1, st, p); err != nil {
					return corrupt(tx.DB().Path(), fmt.Errorf("%s of task %s: %w", st, s.Task.ID, err))
				}
			}
		}
		return nil
	}
	err := each(func(n int, st task.Stream, p place) (err error) {
		size := s.Sizes[n-1].Of(st)
		*size, err = p.end(tx)
		total += *size
		return err
	})
	if err != nil || total > smallBytes {
		return err
	}
	s.Small = []task.Blob{}
	return each(func(n int, st task.Stream, p place) error {
		data, err := p.read(tx, 0, smallBytes)
		if len(data) > 0 {
			s.Small = append(s.Small, task.Blob{Attempt: n, Stream: st, Data: data})
		}
		return err
	})
}

// Restored tells whether the database was restored from a dump and not
// activated since: then nothing is started from it, and nothing in it changes.
func (db *DB) Restored() (bool, error) {
	return read(db, func(tx *bolt.Tx) (bool, error) { return tx.Bucket(bucketMeta).Get(keyRestored) != nil, nil })
}
