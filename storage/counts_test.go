package storage

import (
	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

// Counts returns how many tasks are in each status; those with none are left
// out.
func (db *DB) Counts() (map[task.Status]int, error) {
	return read(db, func(tx *bolt.Tx) (map[task.Status]int, error) {
		counts := map[task.Status]int{}
		for _, s := range task.Statuses {
			if n := getU64(tx.Bucket(bucketMeta).Get(keyCount(s))); n > 0 {
				counts[s] = int(n)
			}
		}
		return counts, nil
	})
}
