package dump

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"cctask/engine/task"
)

// Target is a new database. The calls come in the order of a dump.
type Target interface {
	// Group sets something of a group, before the first task.
	Group(g task.Group) error
	// Begin puts a task without its streams.
	Begin(s task.Snapshot) error
	// Append adds to a stream of the task.
	Append(b task.Blob) error
	// Finish ends the task; Drop forgets it.
	Finish() error
	Drop() error
}

// Restored is what came of a restore.
type Restored struct {
	End
	Cut  bool    // the dump was not whole
	Left task.ID // the task in which it ended, which is not restored
}

// Restore reads a dump that may have been written or changed by anybody, in
// constant memory. A dump that is not whole is refused unless partial. schema is
// the newest that is known here.
func Restore(r io.Reader, to Target, schema uint32, partial bool) (Restored, error) {
	return read(&restorer{in: reader{r: bufio.NewReaderSize(r, 64<<10)}, to: to}, schema, partial)
}

// Read is Restore of as many tasks as are whole, for who only looks at them: of their
// outputs parts may be missing.
func Read(r io.Reader, to Target, schema uint32) (Restored, error) {
	return read(&restorer{in: reader{r: bufio.NewReaderSize(r, 64<<10)}, to: to, looks: true}, schema, true)
}

func read(s *restorer, schema uint32, partial bool) (Restored, error) {
	err := s.run(schema)
	if errors.Is(err, errCut) {
		s.out.Cut, s.out.Left = true, s.now.ID
		if s.in.n > 1 && partial {
			err := s.drop()
			return s.out, err
		}
		return s.out, task.Errorf(task.CodeInvalid, "Dump again, or restore the tasks that are whole in it with --partial.", "the dump is not whole: %v", err)
	}
	var known *task.Error
	if err != nil && !errors.As(err, &known) {
		err = task.Errorf(task.CodeInvalid, "Give a file that `cctask dump` wrote as JSON Lines, as it was written.", "line %d is no line of a dump: %v", s.in.n, err)
	}
	return s.out, err
}

type restorer struct {
	in    reader
	to    Target
	looks bool // outputs may be cut or left out
	out   Restored

	last   task.ID   // the one begun last
	now    task.Task // the one under way; none: ID ""
	stream int       // its place among the task's streams
	offset int64     // the stream's end
}

func (s *restorer) run(schema uint32) error {
	// What is shorter is judged by its end.
	head, _ := s.in.r.Peek(headSize)
	if err := foreign(head); err != nil {
		return err
	}
	l, err := s.in.next()
	if err == nil {
		err = l.acceptable(schema, s.looks)
	}
	if err == nil {
		err = s.groups(l.Header.Groups)
	}
	for err == nil {
		if l, err = s.in.next(); err != nil {
			return err
		}
		switch l.Type {
		case typeTask:
			err = s.begin(l)
		case typeRemoved:
			if err = s.mine(l); err == nil {
				err = s.drop()
			}
		case typeEnd:
			return s.end(*l.End)
		case typeHeader:
			err = errors.New("a second header")
		default:
			err = s.piece(l)
		}
	}
	return err
}

func (l Line) acceptable(schema uint32, looks bool) error {
	switch h := l.Header; {
	case h == nil || h.Format != formatName:
		return errors.New("it is not the header")
	case h.Version > formatVersion || h.Schema > schema:
		return task.Errorf(task.CodeVersion, "Use the newer cctask that wrote it.", "the dump has format %d and schema %d, this program knows %d and %d", h.Version, h.Schema, formatVersion, schema)
	case h.Output != Full && !looks:
		return task.Errorf(task.CodeInvalid, "Dump again with --output full.", "the dump was made with --output %s: a database of it would claim outputs that it does not have", h.Output)
	}
	return nil
}

// groups takes what somebody could have set.
func (s *restorer) groups(list []task.Group) error {
	for _, g := range list {
		c := task.GroupChange{Name: g.Name, Paused: &g.Paused}
		if g.Jobs != 0 {
			c.Jobs = &g.Jobs
		}
		set, err := c.Of(task.Group{})
		if err == nil {
			err = s.to.Group(set)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *restorer) begin(l Line) error {
	if err := s.finish(); err != nil {
		return err
	}
	t := l.Record.Task
	if t.ID <= s.last {
		return fmt.Errorf("task %q comes after %q", t.ID, s.last)
	}
	s.now, s.last, s.stream, s.offset = t, t.ID, -1, 0
	s.out.Tasks++
	return s.to.Begin(task.Snapshot{Task: t, Attempts: l.Attempts, SessionCosts: l.SessionCosts})
}

func (s *restorer) mine(l Line) error {
	if l.ID != s.now.ID {
		return fmt.Errorf("it belongs to task %q, not to %q", l.ID, s.now.ID)
	}
	return nil
}

// piece takes the pieces of a task in their order only: what a database would
// take in any order makes another dump.
func (s *restorer) piece(l Line) error {
	if err := s.mine(l); err != nil {
		return err
	}
	data, err := l.data()
	if err != nil {
		return err
	}
	if most := max(1, s.now.Attempt); l.Attempt < 1 || l.Attempt > most {
		return fmt.Errorf("it is of attempt %d of %d", l.Attempt, most)
	}
	at := l.Attempt*len(task.Dumped) + slices.Index(task.Dumped, l.stream())
	if at > s.stream {
		s.stream, s.offset = at, 0
		if s.looks && l.Type == typeOutput {
			s.offset = l.Offset
		}
	}
	if at < s.stream || l.Offset != s.offset || len(data) == 0 {
		return fmt.Errorf("%d bytes at %d do not follow what came before", len(data), l.Offset)
	}
	s.offset += int64(len(data))
	s.out.Bytes += int64(len(data))
	return s.to.Append(task.Blob{ID: l.ID, Attempt: l.Attempt, Stream: l.stream(), Offset: l.Offset, Data: data})
}

func (s *restorer) end(want End) error {
	if err := s.finish(); err != nil {
		return err
	}
	got := s.out.End
	if got.Redacted = want.Redacted; got != want || want.Redacted < 0 {
		return fmt.Errorf("it tells of %d tasks with %d bytes, there were %d with %d", want.Tasks, want.Bytes, got.Tasks, got.Bytes)
	}
	s.out.End = want
	s.in.n++
	if _, err := s.in.r.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.Join(errors.New("something follows the end line"), err)
	}
	return nil
}

func (s *restorer) finish() error {
	if s.now.ID == "" {
		return nil
	}
	s.now.ID = ""
	return s.to.Finish()
}

// drop takes back the task under way, if there is one.
func (s *restorer) drop() error {
	if s.now.ID == "" {
		return nil
	}
	s.now.ID = ""
	s.out.Tasks--
	return s.to.Drop()
}

const (
	bom       = "\xef\xbb\xbf"
	dumpAgain = "Dump again as JSON Lines, which is what `cctask dump > FILE` writes."
	unpack    = "Unpack it first: `%s FILE | cctask restore -`."
	// headSize holds what tells a database: its mark behind the first page's header.
	headSize = 20
)

// foreign tells what a file is that does not begin as a dump does, by its first
// bytes, so that nobody is told of a syntax error in a file that is whole.
func foreign(head []byte) error {
	rest, marked := bytes.CutPrefix(head, []byte(bom))
	for _, f := range []struct{ begin, what, hint string }{
		{"\x1f\x8b", "it is packed with gzip", fmt.Sprintf(unpack, "gunzip -c")},
		{"\x28\xb5\x2f\xfd", "it is packed with zstd", fmt.Sprintf(unpack, "zstd -dc")},
		{"\xfd7zXZ\x00", "it is packed with xz", fmt.Sprintf(unpack, "xz -dc")},
		{"BZh", "it is packed with bzip2", fmt.Sprintf(unpack, "bunzip2 -c")},
		{"PK\x03\x04", "it is a zip archive", fmt.Sprintf(unpack, "unzip -p")},
		{"\xff\xfe", "it is UTF-16 text", "Some shells' > rewrites what it gets: dump again with `cctask dump -o FILE`."},
		{"\xfe\xff", "it is UTF-16 text", "Some shells' > rewrites what it gets: dump again with `cctask dump -o FILE`."},
		{"task_id,", "it is CSV, which has no outputs", dumpAgain},
		{"id,", "it is CSV, which has no outputs", dumpAgain},
		{"# ", "it is Markdown, which has no outputs", dumpAgain},
		{"<", "it is HTML, such as `cctask report` writes", dumpAgain},
		{`{"header"`, "it is JSON, not JSON Lines", dumpAgain},
		{"[", "it is JSON, not JSON Lines", dumpAgain},
		{"{\n", "it is JSON, not JSON Lines", dumpAgain},
		{"{\r\n", "it is JSON, not JSON Lines", dumpAgain},
	} {
		if bytes.HasPrefix(rest, []byte(f.begin)) {
			return &task.Error{Code: task.CodeInvalid, Message: "this is no dump in JSON Lines: " + f.what, Hint: f.hint}
		}
	}
	switch {
	case len(head) == headSize && string(head[16:]) == "\xed\xda\x0c\xed":
		return task.Errorf(task.CodeInvalid, "Read it with `cctask dump --db FILE`, or put it as tasks.db into a state directory.", "this is no dump in JSON Lines: it is a database itself")
	case marked:
		return task.Errorf(task.CodeInvalid, "Dump again with `cctask dump -o FILE`; or cut the mark off, if nothing else was changed: `tail -c +4 FILE | cctask restore -`.",
			"the dump has a byte order mark (BOM) before it, so something rewrote it")
	}
	return nil
}
