package storage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

// Limits of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// List returns a page of tasks, newest first. A status means exactly itself:
// who shows starting as running asks for both. ErrInvalid: an unknown status,
// a bad limit or cursor.
func (db *DB) List(f task.Filter) (page task.Page, err error) {
	q, err := newQuery(f)
	if err != nil {
		return task.Page{}, err
	}
	if page.Tasks, err = read(db, q.run); err != nil {
		return task.Page{}, err
	}
	// One more than was asked for tells that there is another page.
	if len(page.Tasks) > q.limit {
		page.Tasks = page.Tasks[:q.limit]
		page.NextCursor = string(page.Tasks[q.limit-1].ID)
	}
	return page, nil
}

type query struct {
	task.Filter
	limit int
	below string // ids below this one
	// needles stand in the JSON of every task that fits: a cheap look before
	// the record is decoded.
	needles [][]byte
}

func newQuery(f task.Filter) (*query, error) {
	q := &query{Filter: f, limit: f.Limit, below: "\xff"}
	bad := func(what, hint string) (*query, error) {
		return nil, &task.Error{Code: task.CodeInvalid, Message: what, Hint: hint}
	}
	if q.limit == 0 {
		q.limit = defaultLimit
	}
	if q.limit < 0 || q.limit > maxLimit {
		return bad(fmt.Sprintf("limit: %d is not between 1 and %d", f.Limit, maxLimit), "Ask for fewer, and for the next page with its cursor.")
	}
	for _, s := range f.Statuses {
		if !slices.Contains(task.Statuses, s) {
			return bad(fmt.Sprintf("status: %q is unknown", s), fmt.Sprintf("Use one of %v.", task.Statuses))
		}
	}
	if f.Cursor != "" {
		id, err := task.ParseID(f.Cursor)
		if err != nil {
			return bad(fmt.Sprintf("cursor: %q is none", f.Cursor), "Use the next_cursor of the page before.")
		}
		q.below = string(id)
	}
	for _, s := range []string{f.Label, f.WorkingDir} {
		if s == "" {
			continue
		}
		needle, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		q.needles = append(q.needles, needle)
	}
	return q, nil
}

// run merges the index's lines for the wanted statuses.
func (q *query) run(tx *bolt.Tx) ([]task.Task, error) {
	lines := q.lines(tx)
	list := []task.Task{}
	for len(list) <= q.limit {
		i := newest(lines)
		if i < 0 {
			break
		}
		id := lines[i].id
		lines[i].next()
		v := tx.Bucket(bucketTasks).Get([]byte(id))
		if slices.ContainsFunc(q.needles, func(n []byte) bool { return !bytes.Contains(v, n) }) {
			continue
		}
		t, err := getTask(tx, id)
		if err != nil {
			return nil, err
		}
		if q.fits(t) {
			list = append(list, t)
		}
	}
	return list, nil
}

func (q *query) fits(t task.Task) bool {
	return (q.Label == "" || slices.Contains(t.Spec.Labels, q.Label)) &&
		(q.WorkingDir == "" || t.Spec.WorkingDir == q.WorkingDir)
}

// line walks ids downwards: those of one status, or all.
type line struct {
	c      *bolt.Cursor
	prefix []byte
	id     task.ID // "" at the end
}

func (q *query) lines(tx *bolt.Tx) []*line {
	if len(q.Statuses) == 0 {
		l := &line{c: tx.Bucket(bucketTasks).Cursor()}
		l.set(lastBefore(l.c, nil, []byte(q.below)))
		return []*line{l}
	}
	var lines []*line
	for _, s := range task.Statuses {
		if slices.Contains(q.Statuses, s) {
			l := &line{c: tx.Bucket(bucketByStatus).Cursor(), prefix: keyByStatus(s, "")}
			l.set(lastBefore(l.c, l.prefix, keyByStatus(s, task.ID(q.below))))
			lines = append(lines, l)
		}
	}
	return lines
}

func (l *line) next() { l.set(l.c.Prev()) }

func (l *line) set(k, _ []byte) {
	l.id = ""
	if k != nil && bytes.HasPrefix(k, l.prefix) {
		l.id = task.ID(k[len(l.prefix):])
	}
}

// newest is the line with the greatest id, -1 if all have ended.
func newest(lines []*line) int {
	best := -1
	for i, l := range lines {
		if l.id != "" && (best < 0 || l.id > lines[best].id) {
			best = i
		}
	}
	return best
}
