package storage

import (
	"bytes"
	"context"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

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
