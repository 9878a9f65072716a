package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
)

// Bounds of what waits for the writer, and of what stays mapped.
const (
	fillBytes  = 4 << 20
	fillMapped = 32 << 20
)

// Filler takes the tasks of a dump, one after the other, in their order.
type Filler struct {
	tmp    string
	o      Options
	db     *DB
	mapped int           // bytes written since it was opened
	sent   []*request    // and not committed yet, as far as is known
	size   int           // bytes of those
	task   task.Snapshot // the one that was begun
	write  *write        // what came of it, and is not sent yet
	piece  task.Blob     // what came of the stream last appended to, and is not in write yet
}

// Restore makes a database at path of what fill hands over. It comes to its name
// whole and marked as restored; redacted is how many masked values are in it.
// ErrConflict: there is a file. With an error nothing is left.
func Restore(path string, o Options, fill func(*Filler) (redacted int64, err error)) error {
	o.Timeout = DefaultTimeout
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = create(path, o, func(tmp string) error { return o.fill(tmp, fill) })
	}
	if errors.Is(err, fs.ErrExist) {
		return &task.Error{Code: task.CodeConflict, Message: path + " exists already", Hint: "Give another name with --db, or move the file away."}
	}
	err = translate(path, err)
	var refused *fs.PathError
	if known := (*task.Error)(nil); errors.As(err, &refused) && !errors.As(err, &known) {
		return &task.Error{Code: task.CodeInvalid, Message: "make the database", Err: err, Hint: "Give a path with --db at which you can write."}
	}
	return locked(path, err)
}

// fill makes the database at a temporary path.
func (o Options) fill(tmp string, fill func(*Filler) (redacted int64, err error)) (err error) {
	f := &Filler{tmp: tmp, o: o}
	if err := f.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.db.Close()) }()
	redacted, err := fill(f)
	if err == nil {
		err = f.settle(0)
	}
	if err != nil {
		return err
	}
	f.db.bolt.NoSync = false
	return f.db.do(&request{check: noCheck, apply: func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		return errors.Join(
			meta.Put(keyRestored, []byte(time.Now().UTC().Format(time.RFC3339))),
			meta.Put(keyRedacted, u64(uint64(redacted))),
		)
	}})
}

// open opens the file. The last commit syncs it as a whole: what stands under the
// temporary name counts for nothing before.
func (f *Filler) open() error {
	db, err := openFile(f.tmp, f.o)
	if err != nil {
		return err
	}
	db.bolt.NoSync = true
	f.db, f.mapped = db, 0
	return nil
}

func noCheck(*bolt.Tx) error { return nil }

// Group sets something of a group.
func (f *Filler) Group(g task.Group) error {
	r, err := setGroup(g)
	if err != nil {
		return err
	}
	return f.push(r)
}

// Begin puts a task. The bytes of its streams follow.
func (f *Filler) Begin(s task.Snapshot) (err error) {
	f.task, f.piece = s, task.Blob{}
	f.write, err = f.db.prepare(task.Write{Task: &s.Task, Attempts: s.Attempts})
	return unfit(err)
}

// Append takes the next bytes of a stream of the task.
func (f *Filler) Append(b task.Blob) error {
	if f.piece.Attempt != b.Attempt || f.piece.Stream != b.Stream {
		if err := f.putPiece(); err != nil {
			return err
		}
		f.piece = task.Blob{ID: f.task.Task.ID, Attempt: b.Attempt, Stream: b.Stream, Offset: b.Offset, Data: make([]byte, 0, len(b.Data))}
	}
	for data := b.Data; len(data) > 0; {
		n := min(len(data), pieceSize-len(f.piece.Data))
		f.piece.Data = append(f.piece.Data, data[:n]...)
		if data = data[n:]; len(f.piece.Data) == pieceSize {
			if err := f.putPiece(); err != nil {
				return err
			}
		}
	}
	return nil
}

// putPiece adds the piece to what is to be sent. A small task is sent at once, so that
// nothing of it is read again to be added to; of a large one what is together.
func (f *Filler) putPiece() error {
	b := f.piece
	f.piece.Offset, f.piece.Data = b.Offset+int64(len(b.Data)), nil
	if len(b.Data) == 0 {
		return nil
	}
	if err := f.write.addPieces(b); err != nil || f.write.size < fillBytes/4 {
		return unfit(err)
	}
	return f.send()
}

func (f *Filler) send() error {
	p := f.write
	f.write = &write{id: p.id}
	if p.Task == nil && p.pieces == nil {
		return nil
	}
	return f.push(&request{check: p.check, apply: p.apply, size: p.size})
}

// Finish ends the task. What does not hold together is refused, as Check would.
// That the streams have no gaps is known: to read them again would map all of the
// file.
func (f *Filler) Finish() error {
	if err := f.putPiece(); err != nil {
		return err
	}
	if err := f.send(); err != nil {
		return err
	}
	s := f.task
	for session, cost := range s.SessionCosts {
		if err := f.put(task.Write{SessionID: session, SessionCost: cost}); err != nil {
			return err
		}
	}
	return f.push(&request{check: func(tx *bolt.Tx) error {
		c := &checker{tx: tx, keys: map[string]int{}}
		c.attempts(s.Task, s.Attempts)
		c.prompt(s.Task)
		if len(c.problems) > 0 {
			return fault("%v", errors.Join(c.problems...))
		}
		return nil
	}})
}

// Drop takes the task back: it was removed while it was dumped, or the dump ends
// in it.
func (f *Filler) Drop() error {
	id := f.task.Task.ID
	f.write, f.piece = nil, task.Blob{}
	return f.push(&request{check: noCheck, apply: func(tx *bolt.Tx) error {
		for {
			if done, err := removeSome(tx, id); done || err != nil {
				return err
			}
		}
	}})
}

func (f *Filler) put(w task.Write) error {
	p, err := f.db.prepare(w)
	if err != nil {
		return unfit(err)
	}
	return f.push(&request{check: p.check, apply: p.apply, size: p.size})
}

// push hands a request to the writer, which takes many into one commit.
func (f *Filler) push(r *request) error {
	if err := f.db.send(r); err != nil {
		return err
	}
	f.sent, f.size, f.mapped = append(f.sent, r), f.size+r.size, f.mapped+r.size
	if f.mapped < fillMapped {
		return f.settle(fillBytes)
	}
	// What was touched of the file stays mapped as long as it is open.
	if err := errors.Join(f.settle(0), f.db.Close()); err != nil {
		return err
	}
	return f.open()
}

// settle waits until no more than that many bytes wait for the writer; 0: nothing.
func (f *Filler) settle(bytes int) error {
	for len(f.sent) > 0 && (bytes == 0 || f.size > bytes || len(f.sent) > maxWaiting) {
		r := f.sent[0]
		f.sent, f.size = f.sent[1:], f.size-r.size
		if err := f.db.await(r); err != nil {
			return unfit(err)
		}
	}
	return nil
}

func unfit(err error) error {
	if !errors.Is(err, task.ErrInternal) {
		return err
	}
	return task.Errorf(task.CodeInvalid, "It was changed or damaged after it was made: dump again.", "the dump does not hold together: %v", err)
}

// settle interrupts what ran when it was dumped. That is not left to recovery,
// which would look for processes by the tasks' ids and kill them where they still
// run, under the database that the dump is of.
func (db *DB) settle() error {
	live, err := db.Live()
	if err != nil {
		return err
	}
	for _, t := range live {
		s, err := read(db, func(tx *bolt.Tx) (task.Snapshot, error) {
			s := task.Snapshot{Task: t}
			return s, measure(tx, &s)
		})
		if err != nil {
			return err
		}
		a, err := db.Attempt(t.ID, t.Attempt)
		if err != nil {
			return err
		}
		now, size := time.Now(), s.Sizes[a.N-1]
		a.Status, a.Reason, a.Message = task.Interrupted, task.ReasonInterrupted, "it ran when it was dumped; what became of it is not in this database"
		a.StdoutBytes, a.StderrBytes, a.ResultBytes = size.Stdout, size.Stderr, size.Result
		a.FinishedAt, a.CostUncertain = now, true
		t.Reason, t.Message, t.CostUncertain = a.Reason, a.Message, true
		t.StdoutBytes, t.StderrBytes, t.ResultBytes = size.Stdout, size.Stderr, size.Result
		if err := t.Become(task.Interrupted, now, "restored from a dump"); err != nil {
			return err
		}
		if err := db.Apply(task.Write{At: now, Task: &t, Attempts: []task.Attempt{a}}); err != nil {
			return err
		}
	}
	return nil
}

// Activate makes a restored database one like any other. Its queued tasks get
// env, since a dump holds no environment; their number is returned, and how many of
// them are held: those that waited for a task which the dump did not have. ErrConflict:
// it is not a restored one. agree looks at it before anything is changed.
func Activate(path string, o Options, env []string, agree func(*DB) error) (queued, held int, err error) {
	o.Timeout = DefaultTimeout
	db, err := openFile(path, o)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	switch is, err := db.Restored(); {
	case err != nil:
		return 0, 0, err
	case !is:
		return 0, 0, task.Errorf(task.CodeConflict, "There is nothing to do: its tasks run.", "the database %s was not restored from a dump, or is activated already", path)
	}
	if err := agree(db); err != nil {
		return 0, 0, err
	}
	if err := db.settle(); err != nil {
		return 0, 0, err
	}
	queue, err := db.Queue()
	if err != nil {
		return 0, 0, err
	}
	for _, p := range queue {
		t, err := db.Task(p.ID)
		if missing := db.missing(t.Spec.After); err == nil && missing != "" {
			t.Spec.Hold, t.Message = true, fmt.Sprintf("held: it waited for task %s, which was not in the dump", missing)
			held++
		}
		if err == nil {
			err = db.Apply(task.Write{Task: &t, Env: env})
		}
		if err != nil {
			return 0, 0, fmt.Errorf("give task %s an environment: %w", p.ID, err)
		}
	}
	return len(queue), held, db.do(&request{check: noCheck, apply: func(tx *bolt.Tx) error {
		return tx.Bucket(bucketMeta).Delete(keyRestored)
	}})
}

// missing is the first of the tasks waited for that is not there.
func (db *DB) missing(after []string) task.ID {
	for _, text := range after {
		id := task.ID(task.ParseNeed(text).Ref)
		if _, err := db.Task(id); errors.Is(err, task.ErrNotFound) {
			return id
		}
	}
	return ""
}
