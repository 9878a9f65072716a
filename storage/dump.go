package storage

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	bolt "go.etcd.io/bbolt"

	"cctask/engine/task"
	"cctask/migrations"
)

// Source is what Dump reads. *DB is one, *Offline another; an owner makes its
// own of *DB and its spool files. No call may keep anything open between two.
type Source interface {
	// IDs returns up to limit ids above after, ascending.
	IDs(after task.ID, limit int) ([]task.ID, error)
	// Snapshot returns a task as it stands at one moment. ErrNotFound.
	Snapshot(id task.ID) (Snapshot, error)
	// Stream returns up to limit bytes from offset on, some if there are any.
	// ErrNotFound when the task was removed.
	Stream(id task.ID, n int, s task.Stream, offset int64, limit int) ([]byte, error)
}

// Snapshot is a task at one moment. What it says of the streams stays true
// while the task exists: they only grow.
type Snapshot struct {
	Task     task.Task
	Attempts []task.Attempt
	Sizes    []Sizes // of attempt 1 and on, as many as there are
}

// Sizes are the lengths of an attempt's streams, in bytes.
type Sizes struct {
	Prompt, Result, Stdout, Stderr int64
}

var (
	_ Source = (*DB)(nil)
	_ Source = (*Offline)(nil)
)

// Snapshot reads record, attempts and lengths in one transaction.
func (db *DB) Snapshot(id task.ID) (s Snapshot, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		if s.Task, err = getTask(tx, id); err != nil {
			return err
		}
		if s.Attempts, err = getAttempts(tx, id); err != nil {
			return err
		}
		s.Sizes = make([]Sizes, max(1, s.Task.Attempt))
		for i := range s.Sizes {
			for _, st := range dumped {
				p, _ := placeOf(id, i+1, st)
				if *s.Sizes[i].Of(st), err = p.end(tx); err != nil {
					return corrupt(db.path, fmt.Errorf("%s of task %s: %w", st, id, err))
				}
			}
		}
		return nil
	})
	return s, err
}

// dumped are the streams in their order within an attempt.
var dumped = []task.Stream{task.Prompt, task.Stdout, task.Stderr, task.Result}

// Of is the place of one stream's length.
func (s *Sizes) Of(st task.Stream) *int64 {
	switch st {
	case task.Prompt:
		return &s.Prompt
	case task.Result:
		return &s.Result
	case task.Stderr:
		return &s.Stderr
	case task.Stdout:
	}
	return &s.Stdout
}

const (
	dumpVersion = 1
	dumpPage    = 100      // ids read at once
	dumpPiece   = 64 << 10 // most bytes of a stream in one line
)

// The lines of a dump.
type (
	dumpHeader struct {
		Type    string `json:"type"`
		Format  string `json:"format"`
		Version int    `json:"version"`
		Schema  uint32 `json:"schema"`
	}
	dumpTask struct {
		Type     string         `json:"type"`
		Task     task.Task      `json:"task"`
		Attempts []task.Attempt `json:"attempts"`
	}
	dumpData struct {
		Type    string      `json:"type"` // prompt, output or result
		ID      task.ID     `json:"id"`
		Attempt int         `json:"attempt"`
		Stream  task.Stream `json:"stream,omitempty"` // of output
		Offset  int64       `json:"offset"`
		Text    *string     `json:"text,omitempty"`   // valid UTF-8
		Base64  *string     `json:"base64,omitempty"` // anything else
	}
	dumpRemoved struct {
		Type    string  `json:"type"`
		ID      task.ID `json:"id"`
		Removed bool    `json:"removed"`
	}
	dumpEnd struct {
		Type  string `json:"type"`
		Tasks int    `json:"tasks"`
	}
)

// Dump writes everything that src holds as JSON Lines, oldest task first, in
// constant memory: a header; for each task a line with its record and its
// attempts, then the streams in pieces of at most 64 KiB; an end line with the
// number of tasks. The same content makes the same bytes. Nothing of src is
// held while w is written to. A task that is removed meanwhile ends with a line
// that says so. Environments are not part of it.
func Dump(src Source, w io.Writer) error {
	out := bufio.NewWriterSize(w, dumpPiece)
	d := &dumper{src: src, enc: json.NewEncoder(out)}
	d.enc.SetEscapeHTML(false)
	if err := d.run(); err != nil {
		return err
	}
	return out.Flush()
}

type dumper struct {
	src   Source
	enc   *json.Encoder
	tasks int
}

func (d *dumper) run() error {
	if err := d.enc.Encode(dumpHeader{"header", "cctask-dump", dumpVersion, migrations.Latest()}); err != nil {
		return err
	}
	for after := task.ID(""); ; {
		ids, err := d.src.IDs(after, dumpPage)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return d.enc.Encode(dumpEnd{"end", d.tasks})
		}
		for _, id := range ids {
			// In a damaged file keys may be out of order, and this never end.
			if id <= after {
				return corrupt("to dump", fmt.Errorf("task %s comes after %s", id, after))
			}
			after = id
			if err := d.task(id); err != nil {
				return fmt.Errorf("dump task %s: %w", id, err)
			}
		}
	}
}

func (d *dumper) task(id task.ID) error {
	s, err := d.src.Snapshot(id)
	if errors.Is(err, task.ErrNotFound) {
		return nil // removed before it was begun
	}
	if err != nil {
		return err
	}
	d.tasks++
	if s.Attempts == nil {
		s.Attempts = []task.Attempt{}
	}
	if err := d.enc.Encode(dumpTask{"task", s.Task.Stored(), s.Attempts}); err != nil {
		return err
	}
	for i := range s.Sizes {
		for _, st := range dumped {
			err := d.stream(id, i+1, st, *s.Sizes[i].Of(st))
			if errors.Is(err, task.ErrNotFound) {
				return d.enc.Encode(dumpRemoved{"removed", id, true})
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// stream writes size bytes of a stream. Where the pieces are cut depends on
// the bytes alone, not on how the source stores them.
func (d *dumper) stream(id task.ID, n int, st task.Stream, size int64) error {
	line := dumpData{Type: string(st), ID: id, Attempt: n}
	if st == task.Stdout || st == task.Stderr {
		line.Type, line.Stream = "output", st
	}
	// One read gets four lines' worth, as to unpack a piece for each would be slow.
	var data []byte
	for line.Offset < size {
		left := size - line.Offset
		for int64(len(data)) < min(left, dumpPiece) {
			more, err := d.src.Stream(id, n, st, line.Offset+int64(len(data)), int(min(left-int64(len(data)), 4*dumpPiece)))
			if err != nil {
				return err
			}
			if len(more) == 0 {
				return fmt.Errorf("%s of attempt %d ends at %d of %d bytes", st, n, line.Offset+int64(len(data)), size)
			}
			data = append(data, more...)
		}
		piece := data[:min(left, dumpPiece)]
		if int64(len(piece)) < left {
			piece = piece[:wholeRunes(piece)]
		}
		if err := d.enc.Encode(line.with(piece)); err != nil {
			return err
		}
		line.Offset += int64(len(piece))
		data = data[len(piece):]
	}
	return nil
}

func (l dumpData) with(piece []byte) dumpData {
	text := string(piece)
	if utf8.ValidString(text) {
		l.Text = &text
	} else {
		text = base64.StdEncoding.EncodeToString(piece)
		l.Base64 = &text
	}
	return l
}

// wholeRunes is the length of b without a character that is cut at its end.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if i > 0 && !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
