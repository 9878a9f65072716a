package dump

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"cctask/engine/task"
)

// Output says how much of stdout and stderr a dump has.
type Output string

// The choices. Prompts and answers are in all of them.
const (
	Full Output = ""
	Tail Output = "tail" // the last TailBytes of each stream
	None Output = "none"
)

const TailBytes = 8 << 10

type Options struct {
	Query  task.DumpQuery
	Schema uint32 // of the source
	Output Output
	// Records leaves all streams out, prompts and answers too.
	Records bool
	Redact  bool
}

// Run hands everything that o selects to write, in constant memory. Nothing of
// src is held meanwhile. It returns the end line's content.
func Run(ctx context.Context, src task.Source, o Options, write func(Line) error) (End, error) {
	d := &dumper{ctx: ctx, src: src, o: o, write: write}
	err := d.run()
	return d.end, err
}

type dumper struct {
	ctx   context.Context
	src   task.Source
	o     Options
	write func(Line) error
	end   End
}

func (d *dumper) run() error {
	q := d.o.Query
	p, err := d.src.Page(q)
	if err == nil {
		err = d.write(Line{Type: typeHeader, Header: &Header{formatName, formatVersion, d.o.Schema, d.o.Output, p.Groups}})
	}
	for err == nil {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		// In a damaged file keys may be out of order, and this never end.
		if p.More && p.After <= q.After {
			return task.Errorf(task.CodeCorrupt, "The database is damaged: put back a copy of it.", "task %s comes after %s", p.After, q.After)
		}
		for i := range p.Tasks {
			if err := d.task(&p.Tasks[i]); err != nil {
				return fmt.Errorf("dump task %s: %w", p.Tasks[i].Task.ID, err)
			}
		}
		if !p.More {
			d.end.Redacted += p.Redacted
			return d.write(Line{Type: typeEnd, End: &d.end})
		}
		q.After = p.After
		p, err = d.src.Page(q)
	}
	return err
}

func (d *dumper) task(s *task.Snapshot) error {
	r := Record{s.Task.Stored(), s.Attempts, s.SessionCosts}
	if r.Attempts == nil {
		r.Attempts = []task.Attempt{}
	}
	id := s.Task.ID
	if d.o.Redact {
		err := d.redact(&r, s)
		if errors.Is(err, task.ErrNotFound) {
			return nil // removed before it was begun
		}
		if err != nil {
			return err
		}
	}
	d.end.Tasks++
	if err := d.write(Line{Type: typeTask, Record: &r}); err != nil || d.o.Records {
		return err
	}
	for i := range s.Sizes {
		for _, st := range task.Dumped {
			err := d.stream(s, i+1, st)
			if errors.Is(err, task.ErrNotFound) {
				d.end.Tasks--
				return d.write(Line{Type: typeRemoved, ID: id, Removed: true})
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// redact masks secrets in the record. The beginning of the prompt in it may end
// in the middle of one, so that it is taken from the masked prompt.
func (d *dumper) redact(r *Record, s *task.Snapshot) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	d.end.Redacted += mask(b, 0, len(b))
	*r = Record{}
	if err := json.Unmarshal(b, r); err != nil {
		return fmt.Errorf("redact the record: %w", err)
	}
	head := len(s.Task.PromptHead)
	prompt, err := d.read(s, 1, task.Prompt, 0, head+longest)
	if err != nil {
		return err
	}
	if len(prompt) >= head {
		mask(prompt, 0, head)
		r.Task.PromptHead = string(prompt[:head])
	}
	return nil
}

// read gives some bytes of a stream, from what came with the record if it did.
func (d *dumper) read(s *task.Snapshot, n int, st task.Stream, offset int64, limit int) ([]byte, error) {
	if s.Small == nil {
		return d.src.Stream(s.Task.ID, n, st, offset, limit)
	}
	for _, b := range s.Small {
		if b.Attempt == n && b.Stream == st && offset < int64(len(b.Data)) {
			return append([]byte(nil), b.Data[offset:min(int64(len(b.Data)), offset+int64(limit))]...), nil
		}
	}
	return nil, nil
}

// stream writes a stream up to the length that the snapshot tells. Where its
// pieces are cut depends on the bytes alone, not on how the source stores them.
func (d *dumper) stream(s *task.Snapshot, n int, st task.Stream) error {
	size := *s.Sizes[n-1].Of(st)
	c := &cutter{d: d, id: s.Task.ID, n: n, st: st}
	at := int64(0)
	if st == task.Stdout || st == task.Stderr {
		switch d.o.Output {
		case None:
			return nil
		case Tail:
			c.offset = max(0, size-TailBytes)
			if at = c.offset; at > 0 {
				c.torn = utf8.UTFMax - 1
			}
		case Full:
		}
	}
	var hide *redactor
	if d.o.Redact {
		// What is masked may begin before the part that is shown.
		at = max(0, at-longest)
		hide = &redactor{count: &d.end.Redacted, from: c.offset - at}
	}
	c.skip = c.offset - at
	for at < size {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		// One read gets four lines' worth, as to unpack a piece for each would be slow.
		data, err := d.read(s, n, st, at, int(min(size-at, 4*pieceSize)))
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return fmt.Errorf("%s of attempt %d ends at %d of %d bytes", st, n, at, size)
		}
		at += int64(len(data))
		if hide != nil {
			data = hide.next(data, at == size)
		}
		if err := c.add(data); err != nil {
			return err
		}
	}
	return c.flush()
}

type cutter struct {
	d      *dumper
	id     task.ID
	n      int
	st     task.Stream
	skip   int64 // bytes before offset that are still to come
	torn   int   // most bytes of a cut character that may come first
	offset int64 // of rest
	rest   []byte
}

func (c *cutter) add(data []byte) error {
	if skip := min(c.skip, int64(len(data))); skip > 0 {
		data, c.skip = data[skip:], c.skip-skip
	}
	// A tail begins with a whole character.
	for ; c.torn > 0 && len(data) > 0; c.torn-- {
		if utf8.RuneStart(data[0]) {
			c.torn = 0
			break
		}
		data = data[1:]
		c.offset++
	}
	c.rest = append(c.rest, data...)
	for len(c.rest) > pieceSize {
		if err := c.line(wholeRunes(c.rest[:pieceSize])); err != nil {
			return err
		}
	}
	return nil
}

func (c *cutter) flush() error {
	if len(c.rest) == 0 {
		return nil
	}
	return c.line(len(c.rest))
}

func (c *cutter) line(n int) error {
	err := c.d.write(pieceLine(c.id, c.n, c.st, c.offset, c.rest[:n]))
	c.offset += int64(n)
	c.rest = c.rest[n:]
	c.d.end.Bytes += int64(n)
	return err
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
