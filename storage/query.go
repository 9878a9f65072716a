package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

// query is a filter as it is evaluated: ids come from an index, newest first or
// sorted, and a record is decoded only when cheaper looks have not ruled it out.
type query struct {
	task.Filter
	ctx   context.Context
	limit int
	// ids from floor on and below this one
	floor, below string
	// needles stand in the JSON of every task that fits.
	needles [][]byte
	// dirs are the names of the working directory; one of places stands in the
	// JSON of a task that works there.
	dirs   []string
	places [][]byte
	search []byte  // in lower case
	root   task.ID // of Below

	records *bolt.Cursor
}

func newQuery(ctx context.Context, f task.Filter) (*query, error) {
	q := &query{Filter: f, ctx: ctx, limit: f.Limit, below: "\xff", search: bytes.ToLower([]byte(f.Search))}
	if q.limit == 0 {
		q.limit = defaultLimit
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	if !f.Since.IsZero() {
		q.floor = string(task.FirstID(f.Since))
	}
	if !f.Until.IsZero() {
		q.below = string(task.FirstID(f.Until.Add(time.Millisecond)))
	}
	// Quotes in a JSON string are escaped, so that a whole string is found only
	// where one stands.
	for _, label := range f.Labels {
		needle, err := needle("", label, `"`)
		if err != nil {
			return nil, err
		}
		q.needles = append(q.needles, needle)
	}
	for _, dir := range []string{f.WorkingDir, task.RealDir(f.WorkingDir)} {
		if dir = strings.TrimSuffix(dir, "/"); dir == "" {
			continue
		}
		q.dirs = append(q.dirs, dir)
		for _, field := range []string{`"working_dir":`, `"real_dir":`} {
			needle, err := needle(field, dir, "")
			if err != nil {
				return nil, err
			}
			q.places = append(q.places, needle)
		}
	}
	return q, nil
}

func needle(before, text, after string) ([]byte, error) {
	quoted, err := json.Marshal(text)
	if err != nil {
		return nil, fmt.Errorf("encode a filter: %w", err)
	}
	return append(append([]byte(before), bytes.TrimSuffix(quoted, []byte(`"`))...), after...), nil
}

func (q *query) check() error {
	bad := func(what, hint string) error {
		return &task.Error{Code: task.CodeInvalid, Message: what, Hint: hint}
	}
	if q.limit < 0 || q.limit > maxLimit {
		return bad(fmt.Sprintf("limit: %d is not between 1 and %d", q.limit, maxLimit), "Ask for fewer, and for the next page with its cursor.")
	}
	for _, s := range q.Statuses {
		if !slices.Contains(task.Statuses, s) {
			return bad(fmt.Sprintf("status: %q is unknown", s), fmt.Sprintf("Use one of %v.", task.Statuses))
		}
	}
	if q.Sort != "" && !slices.Contains(task.Sorts, q.Sort) {
		return bad(fmt.Sprintf("sort: %q is unknown", q.Sort), fmt.Sprintf("Use one of %v.", task.Sorts))
	}
	if _, err := path.Match(q.Name, ""); err != nil {
		return bad(fmt.Sprintf("name: %q is not a pattern", q.Name), "Close each [ with a ], or put \\ before it.")
	}
	if _, err := task.ParseID(q.Cursor); q.Cursor != "" && err != nil {
		return bad(fmt.Sprintf("cursor: %q is none", q.Cursor), "Use the next_cursor of the page before.")
	}
	return nil
}

// lookAround is how many tasks are looked at between looks whether anybody
// waits for the answer.
const lookAround = 256

func (q *query) run(tx *bolt.Tx) ([]task.Task, error) {
	if q.Below != "" {
		top, err := getTask(tx, q.Below)
		if err != nil {
			return nil, err
		}
		q.root = top.Root()
	}
	next, err := q.candidates(tx)
	if err != nil {
		return nil, err
	}
	q.records = tx.Bucket(bucketTasks).Cursor()
	list := []task.Task{}
	for n := 1; len(list) <= q.limit; n++ {
		if n%lookAround == 0 && q.ctx.Err() != nil {
			return nil, q.ctx.Err()
		}
		id := next()
		if id == "" {
			break
		}
		t, err := q.selected(tx, id, q.record(id))
		if err != nil {
			return nil, err
		}
		if t != nil {
			list = append(list, *t)
		}
	}
	return list, nil
}

// selected is the task with this record, or nil if it does not fit. Its status
// and its name were looked at before.
func (q *query) selected(tx *bolt.Tx, id task.ID, record []byte) (*task.Task, error) {
	in := func(n []byte) bool { return bytes.Contains(record, n) }
	if slices.ContainsFunc(q.needles, func(n []byte) bool { return !in(n) }) || len(q.places) > 0 && !slices.ContainsFunc(q.places, in) {
		return nil, nil
	}
	if said, err := q.said(tx, id); !said || err != nil {
		return nil, err
	}
	t, err := getTask(tx, id)
	if err != nil || !q.fits(t) || q.Below != "" && !isBelow(tx, t, q.Below) {
		return nil, err
	}
	return &t, nil
}

// isBelow tells whether t was started by a task, or by one below it.
func isBelow(tx *bolt.Tx, t task.Task, top task.ID) bool {
	for range t.Depth {
		if t.ParentID == top {
			return true
		}
		var err error
		if t, err = getTask(tx, t.ParentID); err != nil {
			return false // its parent was deleted
		}
	}
	return false
}

// record is a task's JSON. Ids mostly come in descending order, so that it is
// the one before the last.
func (q *query) record(id task.ID) []byte {
	k, v := q.records.Prev()
	if string(k) != string(id) {
		if k, v = q.records.Seek([]byte(id)); string(k) != string(id) {
			return nil
		}
	}
	return v
}

// said tells whether a prompt of the task has the searched text.
func (q *query) said(tx *bolt.Tx, id task.ID) (bool, error) {
	if len(q.search) == 0 {
		return true, nil
	}
	c := tx.Bucket(bucketPrompts).Cursor()
	for k, _ := c.Seek([]byte(id)); bytes.HasPrefix(k, []byte(id)); {
		p := place{bucketPrompts, string(k[:len(k)-8])}
		text, err := p.read(tx, 0, task.MaxPrompt)
		if err != nil {
			return false, corrupt(tx.DB().Path(), fmt.Errorf("prompt of task %s: %w", id, err))
		}
		if bytes.Contains(bytes.ToLower(text), q.search) {
			return true, nil
		}
		k, _ = c.Seek(append([]byte(p.prefix), 0xff))
	}
	return false, nil
}

func (q *query) fits(t task.Task) bool {
	for _, l := range q.Labels {
		if !slices.Contains(t.Spec.Labels, l) {
			return false
		}
	}
	works := func(dir string) bool {
		below := func(at string) bool { return at == dir || strings.HasPrefix(at, dir+"/") }
		return below(t.Spec.WorkingDir) || below(t.RealDir)
	}
	return (q.root == "" || len(q.Statuses) == 0 || slices.Contains(q.Statuses, t.Status)) &&
		(len(q.dirs) == 0 || slices.ContainsFunc(q.dirs, works)) &&
		(q.Since.IsZero() || !t.CreatedAt.Before(q.Since)) &&
		(q.Until.IsZero() || t.CreatedAt.Before(q.Until))
}

// line walks ids downwards: those of one status, or all.
type line struct {
	c      *bolt.Cursor
	prefix []byte
	floor  string
	id     task.ID // "" at the end
	value  []byte
}

// lines are those of the statuses, from below an id on. Without a status it is
// one for all tasks.
func (q *query) lines(tx *bolt.Tx, statuses []task.Status, below string) []*line {
	if len(statuses) == 0 {
		l := &line{c: tx.Bucket(bucketTasks).Cursor(), floor: q.floor}
		l.set(lastBefore(l.c, nil, []byte(below)))
		return []*line{l}
	}
	var lines []*line
	for _, s := range task.Statuses {
		if slices.Contains(statuses, s) {
			l := &line{c: tx.Bucket(bucketByStatus).Cursor(), prefix: keyByStatus(s, ""), floor: q.floor}
			l.set(lastBefore(l.c, l.prefix, keyByStatus(s, task.ID(below))))
			lines = append(lines, l)
		}
	}
	return lines
}

// rootLine is that of the tasks below a root.
func rootLine(tx *bolt.Tx, root task.ID, floor, below string) *line {
	l := &line{c: tx.Bucket(bucketRoots).Cursor(), prefix: keyRoot(root, ""), floor: floor}
	l.set(lastBefore(l.c, l.prefix, keyRoot(root, task.ID(below))))
	return l
}

func (l *line) next() { l.set(l.c.Prev()) }

func (l *line) set(k, v []byte) {
	l.id, l.value = "", v
	if k != nil && bytes.HasPrefix(k, l.prefix) && string(k[len(l.prefix):]) >= l.floor {
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

// Limits of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// List returns a page of tasks. A status means exactly itself: who shows
// starting as running asks for both. ErrInvalid: a filter that cannot be meant.
func (db *DB) List(ctx context.Context, f task.Filter) (page task.Page, err error) {
	q, err := newQuery(ctx, f)
	if err != nil {
		return task.Page{}, err
	}
	hold, err := read(db, func(tx *bolt.Tx) (h task.Hold, err error) {
		if page.Tasks, err = q.run(tx); err == nil {
			h, err = getHold(tx)
		}
		return h, err
	})
	if err != nil {
		return task.Page{}, err
	}
	page.Note = hold.String()
	// One more than was asked for tells that there is another page.
	if len(page.Tasks) > q.limit {
		page.Tasks = page.Tasks[:q.limit]
		page.NextCursor = string(page.Tasks[q.limit-1].ID)
	}
	return page, nil
}

// Descendants are the tasks that are recorded below a root, the oldest first.
func (db *DB) Descendants(root task.ID) ([]task.ID, error) {
	return read(db, func(tx *bolt.Tx) (ids []task.ID, err error) {
		prefix := keyRoot(root, "")
		c := tx.Bucket(bucketRoots).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			ids = append(ids, task.ID(k[len(prefix):]))
		}
		return ids, nil
	})
}
