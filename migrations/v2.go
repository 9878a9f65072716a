package migrations

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"
)

// taskV1 is what step 2 reads of a record.
type taskV1 struct {
	Spec struct {
		Claude string   `json:"claude"`
		Labels []string `json:"labels"`
	} `json:"spec"`
	Status     string    `json:"status"`
	Seq        uint64    `json:"seq"`
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at"`
	CostUSD    float64   `json:"cost_usd"`
	DurationMS int64     `json:"duration_ms"`
	History    []struct {
		At time.Time `json:"at"`
		To string    `json:"to"`
	} `json:"history"`
}

// summarise makes schema version 2: by_status holds a summary of each task, the
// queue what the scheduler needs, and there is room for descendants, limits and
// ends that are to be told.
func summarise(tx *bolt.Tx) error {
	for _, name := range []string{"roots", "limits", "outbox"} {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	byStatus, queue := tx.Bucket([]byte("by_status")), tx.Bucket([]byte("queue"))
	return tx.Bucket([]byte("tasks")).ForEach(func(id, record []byte) error {
		var t taskV1
		if err := json.Unmarshal(record, &t); err != nil {
			return fmt.Errorf("decode task %s: %w", id, err)
		}
		key := []byte(t.Status + "/" + string(id))
		if err := byStatus.Put(key, t.summary(byStatus.Get(key))); err != nil {
			return err
		}
		if t.Status != "queued" {
			return nil
		}
		place, err := json.Marshal(struct {
			ID     string   `json:"id"`
			Seq    uint64   `json:"seq"`
			Claude string   `json:"claude,omitempty"`
			Labels []string `json:"labels,omitempty"`
		}{string(id), t.Seq, t.Spec.Claude, t.Spec.Labels})
		if err != nil {
			return err
		}
		return queue.Put(binary.BigEndian.AppendUint64(nil, t.Seq), place)
	})
}

// summary is stored, the value so far, with what stands in the record.
func (t taskV1) summary(stored []byte) []byte {
	var started, ended, running int64
	if !t.StartedAt.IsZero() {
		started = t.StartedAt.UnixMilli()
	}
	switch t.Status {
	case "queued", "starting":
	case "running":
		running = started
		for _, c := range t.History {
			if c.To == "running" {
				running = c.At.UnixMilli()
			}
		}
	default:
		ended = t.FinishedAt.UnixMilli()
	}
	b := append([]byte(nil), stored...)
	for _, v := range []int64{started, ended, running, t.DurationMS} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return binary.BigEndian.AppendUint64(b, math.Float64bits(t.CostUSD))
}
