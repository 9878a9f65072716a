package storage

import (
	"bytes"
	"cmp"
	"container/heap"
	"path"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/text/unicode/norm"

	"cctask/engine/task"
)

// candidates gives the ids to look at, in the list's order, "" at the end.
func (q *query) candidates(tx *bolt.Tx) (next func() task.ID, err error) {
	if (q.Sort == "" || q.Sort == task.ByCreated) && !q.Reverse && q.Name == "" {
		below := q.below
		if q.Cursor != "" {
			below = min(below, strings.ToUpper(q.Cursor))
		}
		lines := q.lines(tx, q.Statuses, below)
		if q.root != "" {
			lines = []*line{rootLine(tx, q.root, q.floor, below)}
		}
		return func() task.ID {
			i := newest(lines)
			if i < 0 {
				return ""
			}
			id := lines[i].id
			lines[i].next()
			return id
		}, nil
	}
	list, err := q.ranks(tx)
	if err == nil {
		list, err = q.after(list)
	}
	// A heap, because a page needs the first of many only.
	h := &ranks{list, q.compare}
	heap.Init(h)
	return func() task.ID {
		if h.Len() == 0 {
			return ""
		}
		return heap.Pop(h).(rank).id
	}, err
}

// rank is a task's place in a sorted list.
type rank struct {
	id    task.ID
	none  bool // it has no such value
	value float64
}

type ranks struct {
	list    []rank
	compare func(a, b rank) int
}

func (r *ranks) Len() int           { return len(r.list) }
func (r *ranks) Less(i, j int) bool { return r.compare(r.list[i], r.list[j]) < 0 }
func (r *ranks) Swap(i, j int)      { r.list[i], r.list[j] = r.list[j], r.list[i] }
func (r *ranks) Push(x any)         { r.list = append(r.list, x.(rank)) }

func (r *ranks) Pop() any {
	last := len(r.list) - 1
	x := r.list[last]
	r.list = r.list[:last]
	return x
}

// ranks takes what it orders by from the summaries, so that even the whole history
// is sorted in a moment.
func (q *query) ranks(tx *bolt.Tx) ([]rank, error) {
	statuses := q.Statuses
	if len(statuses) == 0 {
		statuses = task.Statuses
	}
	named := q.named(tx)
	var list []rank
	for _, l := range q.lines(tx, statuses, q.below) {
		for ; l.id != ""; l.next() {
			if len(list)%lookAround == 0 && q.ctx.Err() != nil {
				return nil, q.ctx.Err()
			}
			if q.Name != "" && !named[l.id] {
				continue
			}
			r := rank{id: l.id}
			r.value, r.none = q.value(getSummary(l.value))
			list = append(list, r)
		}
	}
	return list, nil
}

// value is what is sorted by, negative so that the greatest is first.
func (q *query) value(s summary) (value float64, none bool) {
	switch q.Sort {
	case task.ByEnded:
		return -float64(s.ended), s.ended == 0
	case task.ByCost:
		return -s.cost, false
	case task.ByDuration:
		if s.running != 0 {
			s.duration += max(0, q.Now.UnixMilli()-s.running)
		}
		return -float64(s.duration), s.duration == 0 && s.running == 0
	case task.ByCreated, "":
	}
	return 0, false
}

func (q *query) compare(a, b rank) int {
	if a.none != b.none {
		if a.none {
			return 1
		}
		return -1
	}
	c := cmp.Or(cmp.Compare(a.value, b.value), strings.Compare(string(b.id), string(a.id)))
	if q.Reverse {
		c = -c
	}
	return c
}

// after leaves out what stood on the pages before.
func (q *query) after(list []rank) ([]rank, error) {
	if q.Cursor == "" {
		return list, nil
	}
	i := slices.IndexFunc(list, func(r rank) bool { return strings.EqualFold(string(r.id), q.Cursor) })
	if i < 0 {
		return nil, task.Errorf(task.CodeInvalid, "List from the first page on, without a cursor.", "cursor: the task at the end of the page before is no longer in this list")
	}
	last := list[i]
	return slices.DeleteFunc(list, func(r rank) bool { return q.compare(r, last) <= 0 }), nil
}

func (q *query) named(tx *bolt.Tx) map[task.ID]bool {
	if q.Name == "" {
		return nil
	}
	named := map[task.ID]bool{}
	fits := nameMatcher(q.Name)
	c := tx.Bucket(bucketNames).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if name, id, _ := bytes.Cut(k, []byte{0}); fits(strings.ToLower(string(name))) {
			named[task.ID(id)] = true
		}
	}
	return named
}

func nameMatcher(pattern string) func(name string) bool {
	pattern = strings.ToLower(norm.NFC.String(pattern))
	if !strings.ContainsAny(pattern, `*?[\`) {
		return func(name string) bool { return strings.Contains(norm.NFC.String(name), pattern) }
	}
	// A name is no path: a star stands for slashes too.
	flat := func(s string) string { return strings.ReplaceAll(norm.NFC.String(s), "/", "\x00") }
	pattern = flat(pattern)
	return func(name string) bool {
		ok, _ := path.Match(pattern, flat(name))
		return ok
	}
}
