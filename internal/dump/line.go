package dump

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"cctask/engine/task"
)

const (
	formatName    = "cctask-dump"
	formatVersion = 1
	pieceSize     = 64 << 10 // most bytes of a stream in one line
	// maxLine bounds what the reader holds of a line that somebody else wrote.
	// A record is much smaller: its options came in a request of 16 MiB at most.
	maxLine = 32 << 20
)

const (
	typeHeader  = "header"
	typeTask    = "task"
	typePrompt  = "prompt"
	typeOutput  = "output"
	typeResult  = "result"
	typeRemoved = "removed"
	typeEnd     = "end"
)

// Line is one line of a dump. What its type has is set, the rest is nil.
type Line struct {
	Type string  `json:"type"`
	ID   task.ID `json:"id,omitempty"`
	*Header
	*Record
	*Piece
	*End
	Removed bool `json:"removed,omitempty"`
}

type Header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Schema  uint32 `json:"schema"`
	Output  Output `json:"output,omitempty"` // "": all of it
	// Groups are what is set of groups: pauses and numbers of slots.
	Groups []task.Group `json:"groups,omitempty"`
}

// Record is a task without its streams.
type Record struct {
	Task         task.Task          `json:"task"`
	Attempts     []task.Attempt     `json:"attempts"`
	SessionCosts map[string]float64 `json:"session_costs,omitempty"`
}

// Piece is a part of a stream of the task before it.
type Piece struct {
	Attempt int         `json:"attempt"`
	Stream  task.Stream `json:"stream,omitempty"` // of output
	Offset  int64       `json:"offset"`
	Text    *string     `json:"text,omitempty"`
	Base64  *string     `json:"base64,omitempty"`
}

type End struct {
	Tasks    int   `json:"tasks"` // without the removed ones
	Bytes    int64 `json:"bytes"` // of all streams; of the removed ones as far as they came
	Redacted int64 `json:"redacted,omitempty"`
}

func pieceLine(id task.ID, n int, st task.Stream, offset int64, data []byte) Line {
	l := Line{Type: string(st), ID: id, Piece: &Piece{Attempt: n, Offset: offset}}
	if st == task.Stdout || st == task.Stderr {
		l.Type, l.Stream = typeOutput, st
	}
	text := string(data)
	if utf8.ValidString(text) {
		l.Text = &text
	} else {
		text = base64.StdEncoding.EncodeToString(data)
		l.Base64 = &text
	}
	return l
}

func (l Line) stream() task.Stream {
	if l.Type == typeOutput {
		return l.Stream
	}
	return task.Stream(l.Type)
}

func (p *Piece) data() ([]byte, error) {
	switch {
	case (p.Text == nil) == (p.Base64 == nil):
		return nil, errors.New("a piece has either text or base64")
	case p.Text != nil:
		return []byte(*p.Text), nil
	}
	return base64.StdEncoding.DecodeString(*p.Base64)
}

// encoder writes JSON without the escapes for HTML, a value a line.
func encoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// errCut says that the input ends before the end line.
var errCut = errors.New("it ends before its end line")

// reader reads lines that may have been written by anybody.
type reader struct {
	r    *bufio.Reader
	n    int // the line's number
	line []byte
}

// next reads the next line; errCut at the end of the input.
func (r *reader) next() (l Line, err error) {
	r.n++
	end, err := r.read()
	if err != nil {
		return l, err
	}
	d := json.NewDecoder(bytes.NewReader(r.line))
	// A field that is not known here would be lost without a word.
	d.DisallowUnknownFields()
	err = d.Decode(&l)
	if _, more := d.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("something follows the object")
	}
	if err == nil {
		err = l.check()
	}
	if err != nil && end {
		return l, errCut // torn in the middle
	}
	return l, err
}

// read fills r.line and tells whether it is the input's end without a newline.
func (r *reader) read() (end bool, err error) {
	r.line = r.line[:0]
	for {
		part, err := r.r.ReadSlice('\n')
		if len(r.line)+len(part) > maxLine {
			return false, fmt.Errorf("it has more than %d bytes", maxLine)
		}
		r.line = append(r.line, part...)
		switch {
		case err == nil:
			return false, nil
		case errors.Is(err, io.EOF) && len(r.line) == 0:
			return true, errCut
		case errors.Is(err, io.EOF):
			return true, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return false, fmt.Errorf("read the dump: %w", err)
		}
	}
}

// check looks whether the line has what its type has, and nothing else.
func (l Line) check() error {
	sum := 0
	for i, has := range []bool{l.Header != nil, l.Record != nil, l.Piece != nil, l.End != nil} {
		if has {
			sum |= 1 << i
		}
	}
	want, known := map[string]int{
		typeHeader: 1, typeTask: 2, typePrompt: 4, typeOutput: 4, typeResult: 4, typeRemoved: 0, typeEnd: 8,
	}[l.Type]
	switch {
	case !known:
		return fmt.Errorf("its type %q is unknown", l.Type)
	case sum != want, l.Removed != (l.Type == typeRemoved), (l.ID != "") != (want == 4 || l.Removed):
		return fmt.Errorf("it does not have the fields of type %q", l.Type)
	case want == 4 && (l.Stream == task.Stdout || l.Stream == task.Stderr) != (l.Type == typeOutput):
		return fmt.Errorf("its stream %q is unknown", l.Stream)
	}
	return nil
}
