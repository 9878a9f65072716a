package storage

import (
	"bytes"
	"encoding/binary"

	"cctask/engine/task"
)

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
