package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

// keyLife is how long an idempotency key stands.
const keyLife = 24 * time.Hour

// maxKey bounds an idempotency key, in bytes; bbolt's own bound is 32 KiB.
const maxKey = 1024

// write is a Write made ready outside the writer: encoded, packed, encrypted.
type write struct {
	task.Write
	record   []byte
	attempts [][]byte
	pieces   []piece
	env      []byte
	size     int

	// Found by check, for apply.
	id   task.ID // whose pieces they are
	old  *task.Task
	list []task.Attempt // of old; of a write that has no task not needed
}

type piece struct {
	place
	at     int64
	data   []byte
	packed []byte
}

// Apply makes ws durable in one transaction, or returns an error and changes nothing.
// Pieces go to the task of a write, or, without one, to the task that each Blob names;
// all of one Write belong to one task. A session that no task names keeps no cost.
// Errors: *task.KeyTaken, ErrNotFound (pieces of a task that is gone),
// ErrNoSpace, ErrClosing, ErrInternal (a record that breaks the rules).
func (db *DB) Apply(ws ...task.Write) error {
	var all writes
	r := &request{}
	for _, w := range ws {
		p, err := db.prepare(w)
		if err != nil {
			return err
		}
		all = append(all, p)
		r.size += p.size
	}
	r.check, r.apply = all.check, all.apply
	return db.do(r)
}

// writes are of different tasks under different keys.
type writes []*write

func (ws writes) check(tx *bolt.Tx) error {
	for _, p := range ws {
		if err := p.check(tx); err != nil {
			return err
		}
	}
	return nil
}

func (ws writes) apply(tx *bolt.Tx) error {
	for _, p := range ws {
		if err := p.apply(tx); err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) prepare(w task.Write) (*write, error) {
	p := &write{Write: w}
	if w.At.IsZero() {
		p.At = time.Now()
	}
	if err := p.prepareRecords(); err != nil {
		return nil, err
	}
	blobs := slices.Clone(w.Chunks)
	for _, b := range blobs {
		if b.Stream != task.Stdout && b.Stream != task.Stderr {
			return nil, fault("a chunk of %q", b.Stream)
		}
	}
	for s, b := range map[task.Stream]*task.Blob{task.Prompt: w.Prompt, task.Result: w.Result} {
		if b != nil {
			blobs = append(blobs, task.Blob{ID: b.ID, Attempt: b.Attempt, Stream: s, Offset: b.Offset, Data: b.Data})
		}
	}
	if err := p.addPieces(blobs...); err != nil {
		return nil, err
	}
	if len(w.Key) > maxKey || strings.ContainsRune(w.Key, 0) {
		return nil, task.Errorf(task.CodeInvalid, fmt.Sprintf("Use at most %d bytes.", maxKey), "idempotency_key: has %d bytes, or a NUL byte among them", len(w.Key))
	}
	if w.Env != nil {
		var err error
		if p.env, err = db.keys.seal(p.id, w.Env); err != nil {
			return nil, translate(db.path, err)
		}
	}
	return p, nil
}

func (p *write) prepareRecords() (err error) {
	if p.Task == nil {
		if p.Attempts != nil || p.Env != nil || p.DropEnv || p.Key != "" {
			return fault("a write of attempts, environment or key names no task")
		}
		return nil
	}
	t := p.Task.Stored()
	p.id = t.ID
	if id, err := task.ParseID(string(t.ID)); err != nil || id != t.ID {
		return fault("write of a task with the bad id %q", t.ID)
	}
	if !replays(t) {
		return fault("write of task %s: its history does not lead to %q", t.ID, t.Status)
	}
	if t.Status == task.Queued && t.Seq == 0 {
		return fault("write of task %s: queued without a sequence", t.ID)
	}
	if p.record, err = json.Marshal(t); err != nil {
		return fmt.Errorf("encode task %s: %w", t.ID, err)
	}
	p.size += len(p.record)
	p.attempts = make([][]byte, len(p.Attempts))
	for i, a := range p.Attempts {
		if a.N < 1 || a.N > t.Attempt {
			return fault("write of task %s: attempt %d of %d", t.ID, a.N, t.Attempt)
		}
		if p.attempts[i], err = json.Marshal(a); err != nil {
			return fmt.Errorf("encode attempt %d of task %s: %w", a.N, t.ID, err)
		}
		p.size += len(p.attempts[i])
	}
	return nil
}

// replays tells whether the history is a walk through the state machine that
// ends in the status.
func replays(t task.Task) bool {
	var at task.Status
	for _, c := range t.History {
		if c.From != at || !task.May(at, c.To) {
			return false
		}
		at = c.To
	}
	return at == t.Status && at != ""
}

// addPieces cuts blobs into pieces and packs them.
func (p *write) addPieces(blobs ...task.Blob) error {
	for _, b := range blobs {
		if b.ID != "" && p.id == "" {
			p.id = b.ID
		}
		if p.id == "" || b.ID != "" && b.ID != p.id || b.Attempt < 1 || b.Offset < 0 {
			return fault("a piece of attempt %d of task %q at %d in a write of task %q", b.Attempt, b.ID, b.Offset, p.id)
		}
		at, _ := placeOf(p.id, b.Attempt, b.Stream)
		offset := b.Offset
		for data := range slices.Chunk(b.Data, pieceSize) {
			p.pieces = append(p.pieces, piece{place: at, at: offset, data: data})
			offset += int64(len(data))
			p.size += len(data)
		}
	}
	p.pack()
	return nil
}

// pack packs all pieces; large ones on all processors, since one packs about as
// fast as bbolt writes.
func (p *write) pack() {
	var wg sync.WaitGroup
	for i := range p.pieces {
		c := &p.pieces[i]
		if p.size < 2*pieceSize {
			c.packed = pack(c.data)
			continue
		}
		wg.Go(func() { c.packed = pack(c.data) })
	}
	wg.Wait()
}

// check looks whether the write may be applied as a whole.
func (p *write) check(tx *bolt.Tx) error {
	if p.Key != "" {
		if taken := takenKey(tx, p.Key, p.At); taken != nil {
			return taken
		}
	}
	p.old = nil
	if p.id != "" {
		old, err := getTask(tx, p.id)
		switch {
		case err == nil:
			p.old = &old
		case !errors.Is(err, task.ErrNotFound) || p.Task == nil:
			return err
		}
	}
	if p.Task != nil {
		if err := p.checkTask(tx); err != nil {
			return err
		}
	}
	return p.checkPieces(tx)
}

func (p *write) checkTask(tx *bolt.Tx) error {
	t := p.Task
	if p.old == nil && tx.Bucket(bucketRemoving).Get([]byte(t.ID)) != nil {
		return notFound(string(t.ID))
	}
	if p.old != nil && len(p.old.History) > len(t.History) {
		return fault("write of task %s: its history has become shorter", t.ID)
	}
	if t.Status == task.Queued {
		if taken := tx.Bucket(bucketQueue).Get(u64(t.Seq)); taken != nil && (p.old == nil || p.old.Status != task.Queued || p.old.Seq != t.Seq) {
			return fault("write of task %s: its place %d in the queue is taken by %s", t.ID, t.Seq, taken)
		}
	}
	p.list = nil
	if p.old != nil {
		var err error
		if p.list, err = getAttempts(tx, t.ID); err != nil {
			return err
		}
	}
	next := len(p.list) + 1
	for _, a := range p.Attempts {
		if a.N > next {
			return fault("write of task %s: attempt %d before %d", t.ID, a.N, next)
		}
		next = max(next, a.N+1)
	}
	return nil
}

// checkPieces refuses a gap. The ends are carried along, since several pieces
// of one write may follow each other.
func (p *write) checkPieces(tx *bolt.Tx) error {
	ends := map[string]int64{}
	if at, ok := p.replaced(); ok {
		ends[string(at.bucket)+at.prefix] = 0
	}
	for _, c := range p.pieces {
		end, ok := ends[string(c.bucket)+c.prefix]
		if !ok {
			var err error
			if end, err = c.end(tx); err != nil {
				return corrupt(tx.DB().Path(), err)
			}
		}
		if c.at > end {
			return fault("write of task %s: a piece at %d leaves a gap after %d", p.id, c.at, end)
		}
		ends[string(c.bucket)+c.prefix] = max(end, c.at+int64(len(c.data)))
	}
	return nil
}

// apply makes the change. Everything that can be refused was refused before.
func (p *write) apply(tx *bolt.Tx) error {
	added, err := p.putPieces(tx)
	if err != nil {
		return err
	}
	if err := p.putRecords(tx, added); err != nil {
		return err
	}
	if p.SessionID != "" && hasPrefix(tx.Bucket(bucketSessions), keySessionTask(p.SessionID, "")) {
		if err := tx.Bucket(bucketSessions).Put([]byte(p.SessionID), costBytes(p.SessionCost)); err != nil {
			return err
		}
	}
	for _, s := range p.Spent {
		if err := spend(tx, s); err != nil {
			return err
		}
	}
	if p.Key != "" {
		if err := putKey(tx, p.Key, p.id, p.KeyHash, p.At); err != nil {
			return err
		}
	}
	switch env := tx.Bucket(bucketEnv); {
	case p.env != nil:
		return env.Put([]byte(p.id), p.env)
	case p.DropEnv:
		return env.Delete([]byte(p.id))
	}
	return nil
}

// replaced is where the prompt lies that gives way to another one.
func (p *write) replaced() (place, bool) {
	if !p.NewPrompt || p.Prompt == nil {
		return place{}, false
	}
	return placeOf(p.id, p.Prompt.Attempt, task.Prompt)
}

// drop deletes what lies at the place, and gives the bytes that this adds: fewer than none.
func (p place) drop(tx *bolt.Tx) (added int64, err error) {
	c := tx.Bucket(p.bucket).Cursor()
	for k, v := c.Seek([]byte(p.prefix)); bytes.HasPrefix(k, []byte(p.prefix)); k, v = c.Seek([]byte(p.prefix)) {
		added -= int64(len(v))
		if err := c.Delete(); err != nil {
			return 0, err
		}
	}
	return added, nil
}

// putPieces writes what is not stored yet, and tells how many bytes it added.
func (p *write) putPieces(tx *bolt.Tx) (added int64, err error) {
	if at, ok := p.replaced(); ok {
		if added, err = at.drop(tx); err != nil {
			return 0, err
		}
	}
	for _, c := range p.pieces {
		end, err := c.end(tx)
		if err != nil {
			return 0, err
		}
		if c.at+int64(len(c.data)) <= end {
			continue
		}
		if c.at < end {
			c.data = c.data[end-c.at:]
			c.at, c.packed = end, pack(c.data)
		}
		if err := tx.Bucket(c.bucket).Put(c.key(c.at), c.packed); err != nil {
			return 0, err
		}
		added += int64(len(c.packed))
	}
	return added, nil
}

// putRecords writes the task and its attempts and moves the indexes.
func (p *write) putRecords(tx *bolt.Tx, added int64) (err error) {
	var before, after entry
	if p.old != nil {
		if before, err = entryOf(*p.old, p.list, storedOf(tx, *p.old)); err != nil {
			return err
		}
	}
	if p.Task == nil {
		after = before
		after.summary.stored += added
		return before.moveTo(tx, after)
	}
	if err := tx.Bucket(bucketTasks).Put([]byte(p.id), p.record); err != nil {
		return err
	}
	list := p.list
	for i, a := range p.Attempts {
		if list = append(list, a); a.N < len(list) {
			list[a.N-1], list = a, list[:len(list)-1]
		}
		if err := tx.Bucket(bucketAttempts).Put(keyAttempt(p.id, a.N), p.attempts[i]); err != nil {
			return err
		}
	}
	if p.Gate != nil {
		if err := putGate(tx, *p.Gate); err != nil {
			return err
		}
	}
	if p.Notice != nil {
		if err := putNotice(tx, *p.Notice); err != nil {
			return err
		}
	}
	if after, err = entryOf(*p.Task, list, before.summary.stored+added); err != nil {
		return err
	}
	return before.moveTo(tx, after)
}

func getKey(tx *bolt.Tx, key string) (id task.ID, hash string, at time.Time, ok bool) {
	v := tx.Bucket(bucketKeys).Get([]byte(key))
	if len(v) < 8+task.IDLength {
		return "", "", time.Time{}, false
	}
	at = time.UnixMilli(int64(binary.BigEndian.Uint64(v)))
	return task.ID(v[8 : 8+task.IDLength]), string(v[8+task.IDLength:]), at, true
}

// takenKey tells of the submission under a key that stands still; nil if there is none.
func takenKey(tx *bolt.Tx, key string, now time.Time) *task.KeyTaken {
	if id, hash, at, ok := getKey(tx, key); ok && now.Sub(at) < keyLife {
		return &task.KeyTaken{ID: id, Hash: hash}
	}
	return nil
}

func putKey(tx *bolt.Tx, key string, id task.ID, hash string, at time.Time) error {
	v := append(u64(uint64(at.UnixMilli())), id...)
	return tx.Bucket(bucketKeys).Put([]byte(key), append(v, hash...))
}
