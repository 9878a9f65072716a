package migrations

import bolt "go.etcd.io/bbolt"

// create makes the buckets of schema version 1.
func create(tx *bolt.Tx) error {
	for _, name := range []string{
		"meta", "tasks", "attempts", "prompts", "results", "output", "by_status",
		"queue", "ended", "names", "suffixes", "keys", "sessions", "env", "removing",
	} {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	return nil
}
