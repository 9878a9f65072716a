package storage

import (
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

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
	id     task.ID
	none   bool // it has no such value
	number float64
	text   string
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

// ranks takes what it orders by from indexes and from the raw records, so that
// even the whole history is sorted in a moment.
func (q *query) ranks(tx *bolt.Tx) ([]rank, error) {
	statuses := q.Statuses
	if len(statuses) == 0 {
		statuses = task.Statuses
	}
	names, ended := q.names(tx), q.ended(tx)
	q.records = tx.Bucket(bucketTasks).Cursor()
	var list []rank
	for _, l := range q.lines(tx, statuses, q.below) {
		for ; l.id != ""; l.next() {
			if len(list)%lookAround == 0 && q.ctx.Err() != nil {
				return nil, q.ctx.Err()
			}
			name, named := names[l.id]
			if q.Name != "" && !named {
				continue
			}
			r := rank{id: l.id}
			switch q.Sort {
			case task.ByStatus:
				r.number = float64(slices.Index(task.Statuses, l.status.Public()))
			case task.ByName:
				r.text, r.none = name, !named
			case task.ByEnded:
				ms, ok := ended[l.id]
				r.number, r.none = -float64(ms), !ok
			case task.ByStarted, task.ByDuration, task.ByCost:
				r.number, r.none = q.measure(l)
			case task.ByCreated, "":
			}
			list = append(list, r)
		}
	}
	return list, nil
}

func (q *query) compare(a, b rank) int {
	if a.none != b.none {
		if a.none {
			return 1
		}
		return -1
	}
	c := cmp.Compare(a.number, b.number)
	if c == 0 {
		c = strings.Compare(a.text, b.text)
	}
	if c == 0 {
		c = strings.Compare(string(b.id), string(a.id))
	}
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
		return nil, &task.Error{
			Code: task.CodeInvalid, Message: "cursor: the task at the end of the page before is no longer in this list",
			Hint: "List from the first page on, without a cursor.",
		}
	}
	last := list[i]
	return slices.DeleteFunc(list, func(r rank) bool { return q.compare(r, last) <= 0 }), nil
}

// names are the names that fit, in lower case.
func (q *query) names(tx *bolt.Tx) map[task.ID]string {
	if q.Name == "" && q.Sort != task.ByName {
		return nil
	}
	names := map[task.ID]string{}
	fits := nameMatcher(q.Name)
	c := tx.Bucket(bucketNames).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		name, id, _ := bytes.Cut(k, []byte{0})
		if low := strings.ToLower(string(name)); fits(low) {
			names[task.ID(id)] = low
		}
	}
	return names
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

func (q *query) ended(tx *bolt.Tx) map[task.ID]uint64 {
	if q.Sort != task.ByEnded {
		return nil
	}
	ended := map[task.ID]uint64{}
	c := tx.Bucket(bucketEnded).Cursor()
	for k, _ := c.First(); len(k) > 8; k, _ = c.Next() {
		ended[task.ID(k[8:])] = binary.BigEndian.Uint64(k)
	}
	return ended
}

// measure reads the value that is sorted by from a record, negative so that the
// greatest is first.
func (q *query) measure(l *line) (value float64, none bool) {
	v := q.record(l.id)
	if l.status == task.Running && q.Sort == task.ByDuration {
		var t task.Task
		if json.Unmarshal(v, &t) == nil {
			return -float64(t.Elapsed(q.Now).Milliseconds()), false
		}
	}
	if q.Sort == task.ByCost {
		return -number(v, `"cost_usd":`), false
	}
	if q.Sort == task.ByDuration {
		ms := number(v, `"duration_ms":`)
		return -ms, ms == 0
	}
	// It may be missing, and must not be taken from the specification then.
	own := v[max(0, bytes.LastIndex(v, []byte(`"created_at":`))):]
	var at time.Time
	if at.UnmarshalJSON(field(own, `"started_at":`)) != nil {
		return 0, true
	}
	return -float64(at.UnixMilli()), false
}

// field is the raw value of one of the record's own last fields. What looks
// like it in a person's JSON schema stands before it, and in strings the quotes
// are escaped.
func field(record []byte, key string) []byte {
	i := bytes.LastIndex(record, []byte(key))
	if i < 0 {
		return nil
	}
	value := record[i+len(key):]
	return value[:max(0, bytes.IndexAny(value, ",}"))]
}

func number(record []byte, key string) float64 {
	n, err := strconv.ParseFloat(string(field(record, key)), 64)
	if err != nil {
		return 0
	}
	return n
}
