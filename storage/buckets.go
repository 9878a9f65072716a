package storage

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

var (
	bucketMeta     = []byte("meta")
	bucketTasks    = []byte("tasks")
	bucketAttempts = []byte("attempts")
	bucketPrompts  = []byte("prompts")
	bucketResults  = []byte("results")
	bucketOutput   = []byte("output")
	bucketByStatus = []byte("by_status")
	bucketQueue    = []byte("queue")
	bucketEnded    = []byte("ended")
	bucketNames    = []byte("names")
	bucketSuffixes = []byte("suffixes")
	bucketKeys     = []byte("keys")
	bucketSessions = []byte("sessions")
	bucketEnv      = []byte("env")
	bucketRemoving = []byte("removing")
	bucketRoots    = []byte("roots")
	bucketLimits   = []byte("limits")
	bucketOutbox   = []byte("outbox")

	keyCreated    = []byte("created")
	keyApp        = []byte("app")
	keySeq        = []byte("seq")
	keyNewest     = []byte("newest")
	keyEndedBytes = []byte("ended_bytes")
	keyRestored   = []byte("restored")
	keyRedacted   = []byte("redacted")
	keyHold       = []byte("hold")
)

var buckets = [][]byte{
	bucketMeta, bucketTasks, bucketAttempts, bucketPrompts, bucketResults, bucketOutput, bucketByStatus, bucketQueue,
	bucketEnded, bucketNames, bucketSuffixes, bucketKeys, bucketSessions, bucketEnv, bucketRemoving,
	bucketRoots, bucketLimits, bucketOutbox,
}

// present is the value of a key that says all by itself. It is not nil, which a
// Get in the same transaction could not tell from a missing key.
var present = []byte{}

// blobBuckets hold a task's pieces.
var blobBuckets = [][]byte{bucketPrompts, bucketResults, bucketOutput}

func keyCount(s task.Status) []byte { return []byte("count/" + string(s)) }

func keyByStatus(s task.Status, id task.ID) []byte { return []byte(string(s) + "/" + string(id)) }

func keyAttempt(id task.ID, n int) []byte {
	return binary.BigEndian.AppendUint32([]byte(id), uint32(n))
}

// keyRemoved stands among the idempotency keys, of which none begins so, and is
// forgotten like one.
func keyRemoved(id task.ID) string { return "\x00" + string(id) }

func keyEnded(ms int64, id task.ID) []byte { return append(u64(uint64(ms)), id...) }

func keyName(name string, id task.ID) []byte { return []byte(name + "\x00" + string(id)) }

func keyRoot(root, id task.ID) []byte { return keyName(string(root), id) }

// backwards turns an index by the beginning into one by the end.
func backwards(id string) string {
	b := []byte(id)
	slices.Reverse(b)
	return string(b)
}

// keySessionTask says that the task names the session.
func keySessionTask(session string, id task.ID) []byte { return keyName(session, id) }

// place is where the pieces of one stream of one attempt lie.
type place struct {
	bucket []byte
	prefix string
}

func placeOf(id task.ID, n int, s task.Stream) (place, bool) {
	prefix := keyAttempt(id, n)
	switch s {
	case task.Prompt:
		return place{bucketPrompts, string(prefix)}, true
	case task.Result:
		return place{bucketResults, string(prefix)}, true
	case task.Stdout:
		return place{bucketOutput, string(append(prefix, 'o'))}, true
	case task.Stderr:
		return place{bucketOutput, string(append(prefix, 'e'))}, true
	}
	return place{}, false
}

func (p place) key(offset int64) []byte {
	return binary.BigEndian.AppendUint64([]byte(p.prefix), uint64(offset))
}

func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// getU64 reads a counter; a missing one is 0.
func getU64(v []byte) uint64 {
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

func addU64(b *bolt.Bucket, key []byte, delta int64) error {
	return b.Put(key, u64(getU64(b.Get(key))+uint64(delta)))
}

func costBytes(cost float64) []byte { return u64(math.Float64bits(cost)) }

func getCost(v []byte) float64 { return math.Float64frombits(getU64(v)) }

// lastBefore positions c on the last key below limit that has the prefix.
func lastBefore(c *bolt.Cursor, prefix, limit []byte) (k, v []byte) {
	if k, _ = c.Seek(limit); k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	if !bytes.HasPrefix(k, prefix) {
		return nil, nil
	}
	return k, v
}

// hasPrefix tells whether any key of b begins with prefix.
func hasPrefix(b *bolt.Bucket, prefix []byte) bool {
	k, _ := b.Cursor().Seek(prefix)
	return bytes.HasPrefix(k, prefix)
}
