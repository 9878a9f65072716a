package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	few, many = 20, 20_000 // queued tasks
	page      = 100        // tasks of a page; as many have ended, so that a short queue fills one too
	fronts    = 8
	inFlight  = 8 // calls of each front
	starts    = 1600
)

// at is the bench in a state directory of its own, with some tasks that have ended
// and a pool of one that a task which does not end holds.
func (b *bench) at(name string, ended int) (*bench, error) {
	own := *b
	own.env = append(append([]string{}, b.env...), "CCTASK_DIR="+filepath.Join(b.home, name), "CCTASK_JOBS=1")
	if _, err := os.Stat(filepath.Join(b.home, name)); err == nil {
		return &own, nil
	}
	b.others = append(b.others, &own)
	if ended > 0 {
		if _, err := own.batch(ended); err != nil {
			return nil, err
		}
	}
	_, err := own.output(b.cctask, "start", "--claude", own.sleeper(), "A long task.")
	return &own, err
}

// queued is a state with n tasks behind one that does not end.
func (b *bench) queued(n int) (*bench, error) {
	name := fmt.Sprint("queued-", n)
	_, err := os.Stat(filepath.Join(b.home, name))
	own, atErr := b.at(name, page)
	if err == nil || atErr != nil {
		return own, atErr
	}
	file := filepath.Join(b.home, name+".prompts")
	if err := os.WriteFile(file, []byte(strings.Repeat("A trivial task.\n", n)), 0o644); err != nil {
		return nil, err
	}
	_, err = own.output(b.cctask, "start", "--each", file)
	return own, err
}

// queueRound compares one call of a front behind a long queue and behind a short one.
func queueRound(n int, params string) func(*bench) (float64, float64, error) {
	return func(b *bench) (long, short float64, err error) {
		for _, side := range []struct {
			queued int
			us     *float64
		}{{many, &long}, {few, &short}} {
			own, err := b.queued(side.queued)
			if err != nil {
				return 0, 0, err
			}
			c, _, err := own.serve(b.cctask, "mcp")
			if err != nil {
				return 0, 0, err
			}
			if _, err = c.each(2, params); err == nil {
				*side.us, err = c.each(n, params)
			}
			c.close()
			if err != nil {
				return 0, 0, err
			}
		}
		return long, short, nil
	}
}

// durableRound has 64 starts in flight from 8 fronts, against a bare bbolt that makes the
// same puts in commits of groups.
func durableRound(b *bench) (ours, theirs float64, err error) {
	own, err := b.at("durable", 0)
	if err != nil {
		return 0, 0, err
	}
	var clients []*client
	for range fronts {
		c, _, err := own.serve(b.cctask, "mcp")
		if err != nil {
			return 0, 0, err
		}
		defer c.close()
		clients = append(clients, c)
	}
	var id string
	ours, err = each(fronts*inFlight, starts, func(hand int) error {
		answer, err := clients[hand%fronts].call("tools/call", tool("start_cc_task_async", `{"prompt":"A trivial task."}`))
		if hand == 0 && err == nil {
			id, err = startedID(answer)
		}
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	puts, err := b.puts(filepath.Join(b.home, "durable"), id)
	if err != nil {
		return 0, 0, err
	}
	theirs, err = groupCommits(filepath.Join(b.home, "raw.db"), id, puts)
	return ours, theirs, err
}

// put is one pair that a start has left in the database.
type put struct{ bucket, key, value []byte }

// puts are all pairs that name a task, in its key or in its value, read from a copy of a
// database that nobody writes into at the moment.
func (b *bench) puts(state, id string) (puts []put, err error) {
	copied := filepath.Join(b.home, "copy.db")
	defer os.Remove(copied)
	data, err := os.ReadFile(filepath.Join(state, "tasks.db"))
	if err == nil {
		err = os.WriteFile(copied, data, 0o600)
	}
	if err != nil {
		return nil, err
	}
	db, err := bolt.Open(copied, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error {
			return bucket.ForEach(func(k, v []byte) error {
				if bytes.Contains(k, []byte(id)) || bytes.Contains(v, []byte(id)) {
					puts = append(puts, put{bytes.Clone(name), bytes.Clone(k), bytes.Clone(v)})
				}
				return nil
			})
		})
	})
	if err == nil && len(puts) == 0 {
		err = fmt.Errorf("task %s is not in the database", id)
	}
	return puts, err
}

func startedID(answer json.RawMessage) (string, error) {
	var r struct {
		Content struct {
			ID string `json:"task_id"`
		} `json:"structuredContent"`
	}
	err := json.Unmarshal(answer, &r)
	if err == nil && r.Content.ID == "" {
		err = fmt.Errorf("a start was answered by %s", answer)
	}
	return r.Content.ID, err
}

// each has a number of hands do n calls, and tells how many a second they did.
func each(hands, n int, do func(hand int) error) (float64, error) {
	begin := time.Now()
	errs := make([]error, hands)
	var wg sync.WaitGroup
	for hand := range hands {
		wg.Go(func() {
			for range n / hands {
				if errs[hand] = do(hand); errs[hand] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}

// groupCommits makes the same puts from as many hands, for another task each, all that
// wait at a moment in one commit: bbolt's own Batch would wait for its 10 ms.
func groupCommits(path, id string, puts []put) (float64, error) {
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = db.Close()
		_ = os.Remove(path)
	}()
	todo := make(chan chan error, fronts*inFlight)
	go func() {
		n := 0
		for first := range todo {
			group := []chan error{first}
			for len(todo) > 0 {
				group = append(group, <-todo)
			}
			err := db.Update(func(tx *bolt.Tx) error {
				for range group {
					n++
					if err := putAll(tx, puts, id, n); err != nil {
						return err
					}
				}
				return nil
			})
			for _, done := range group {
				done <- err
			}
		}
	}()
	defer close(todo)
	return each(fronts*inFlight, starts, func(int) error {
		done := make(chan error, 1)
		todo <- done
		return <-done
	})
}

// putAll makes the puts of the n-th task. A key without the task's id, such as that of
// a queue, gets a number of its own.
func putAll(tx *bolt.Tx, puts []put, id string, n int) error {
	own := fmt.Appendf(nil, "%s%0*d", id[:10], len(id)-10, n)
	for _, p := range puts {
		bucket, err := tx.CreateBucketIfNotExists(p.bucket)
		if err != nil {
			return err
		}
		key := bytes.ReplaceAll(p.key, []byte(id), own)
		if bytes.Equal(key, p.key) {
			key = binary.BigEndian.AppendUint64(nil, uint64(n))
		}
		if err := bucket.Put(key, bytes.ReplaceAll(p.value, []byte(id), own)); err != nil {
			return err
		}
	}
	return nil
}
