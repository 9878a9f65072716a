package storage

import (
	"errors"

	bolt "go.etcd.io/bbolt"
)

// request is one write that waits for the writer. It is not touched by its
// sender until done is closed.
type request struct {
	// check looks and changes nothing; its error is this request's alone.
	check func(*bolt.Tx) error
	// apply makes the change. nil: there is nothing to commit.
	apply func(*bolt.Tx) error
	size  int // bytes of data

	err  error
	done chan struct{}
}

// maxGroup bounds the data of one commit, which bbolt holds in memory.
const maxGroup = 32 << 20

// maxWaiting is how many requests wait for the writer, whoever sent them: it takes
// all that are there into one commit.
const maxWaiting = 512

// do hands a request to the writer and waits for the commit that holds it.
func (db *DB) do(r *request) error {
	if err := db.send(r); err != nil {
		return err
	}
	return db.await(r)
}

// send hands a request to the writer. Those of one goroutine are applied in their order.
func (db *DB) send(r *request) error {
	if db.queue == nil {
		return fault("write to %s, which is open for reading only", db.path)
	}
	r.done = make(chan struct{})
	select {
	case db.queue <- r:
		return nil
	case <-db.down:
		return db.lost()
	case <-db.quit:
		return closing()
	}
}

// await waits for the commit of a request that was sent.
func (db *DB) await(r *request) error {
	select {
	case <-r.done:
		return r.err
	case <-db.down:
		return db.lost()
	case <-db.idle:
	}
	select {
	case <-r.done: // in the writer's last commit
		return r.err
	default:
		return closing()
	}
}

// write is the one goroutine that changes the file.
func (db *DB) write() {
	defer close(db.idle)
	for {
		select {
		case r := <-db.queue:
			db.commit(db.drain(r))
		case <-db.quit:
			return
		}
	}
}

// drain collects what waits already, so that one commit holds it all.
func (db *DB) drain(first *request) []*request {
	group, size := []*request{first}, first.size
	for size < maxGroup {
		select {
		case r := <-db.queue:
			group = append(group, r)
			size += r.size
		default:
			return group
		}
	}
	return group
}

func (db *DB) commit(group []*request) {
	err := db.update(group)
	if len(group) > 1 && errors.As(err, new(*applyError)) {
		// One of them could not be applied half-way, and its traces are gone
		// only with the transaction. Each alone, the good ones stand.
		for _, r := range group {
			db.commit([]*request{r})
		}
		return
	}
	for _, r := range group {
		if r.err == nil {
			r.err = translate(db.path, err)
		}
		close(r.done)
	}
}

// applyError says that a request failed after its check.
type applyError struct{ error }

func (e *applyError) Unwrap() error { return e.error }

// update runs a group in one transaction. Errors of a check stay with their
// request; the error that is returned is everybody's.
func (db *DB) update(group []*request) error {
	if err := db.mine(); err != nil {
		return err
	}
	return db.guarded(func() error { return db.transact(group) })
}

func (db *DB) transact(group []*request) error {
	tx, err := db.bolt.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	dirty := false
	for _, r := range group {
		if r.err = r.check(tx); r.err != nil || r.apply == nil {
			continue
		}
		if err := r.apply(tx); err != nil {
			return &applyError{err}
		}
		dirty = true
	}
	if !dirty {
		return nil
	}
	if !db.stamped {
		if err := tx.Bucket(bucketMeta).Put(keyApp, []byte(db.app)); err != nil {
			return err
		}
	}
	id := uint64(tx.ID())
	if err := tx.Commit(); err != nil {
		return err
	}
	db.stamped = true
	// What went into a file that has lost its name meanwhile, or in which it was
	// written over, is not kept.
	if db.last, err = readMeta(db.file); err == nil && db.last.txid != id {
		return db.fail(replaced(db.path))
	}
	return db.Lost()
}
