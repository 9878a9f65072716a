package mcp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"sync"
)

// longLine reports a line that was skipped: its first and last bytes, at most
// edge of them.
type longLine struct{ front, back []byte }

const edge = 256

func (*longLine) Error() string { return "line too long" }

// Where every client known to us puts the id: behind jsonrpc, or last. In valid
// JSON neither can match inside of the message's params.
var (
	firstID = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(-?[0-9]+|"[^"\\]*")\s*,`)
	})
	lastID = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`,\s*"id"\s*:\s*(-?[0-9]+|"[^"\\]*")\s*\}\s*$`)
	})
)

// id is the id of the message that the line was, nil if it cannot be seen.
func (l *longLine) id() json.RawMessage {
	m := firstID().FindSubmatch(l.front)
	if m == nil {
		m = lastID().FindSubmatch(l.back)
	}
	if m == nil || !json.Valid(m[1]) {
		return nil
	}
	return handle(m[1])
}

// cut keeps the ends of line and more, which follows it, in memory of their own.
func cut(line, more []byte) *longLine {
	l := &longLine{front: bytes.Clone(line[:min(edge, len(line))])}
	l.front = append(l.front, more[:min(edge-len(l.front), len(more))]...)
	l.back = bytes.Clone(line[max(0, len(line)-edge):])
	l.add(more)
	return l
}

// add goes on behind what was cut.
func (l *longLine) add(more []byte) {
	l.back = append(l.back, more[max(0, len(more)-edge):]...)
	l.back = l.back[max(0, len(l.back)-edge):]
}

// lineReader cuts a stream into lines of at most max bytes.
type lineReader struct {
	in  *bufio.Reader
	max int
}

func newLineReader(in io.Reader, limit int) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(in, 64<<10), max: limit}
}

// next returns the next line without its newline, in memory of its own. The
// last line need not have a newline. A line that is too long is skipped to its
// end without being kept, and reported by a *longLine.
func (r *lineReader) next() ([]byte, error) {
	var line []byte
	var tooLong *longLine
	for {
		part, err := r.in.ReadSlice('\n')
		ended := err == nil
		if ended {
			part = part[:len(part)-1]
		}
		switch {
		case tooLong != nil:
			tooLong.add(part)
		case len(line)+len(part) > r.max:
			tooLong, line = cut(line, part), nil
		default:
			if len(line)+len(part) > cap(line) {
				// Doubling leaves less garbage than append's smaller steps.
				line = slices.Grow(line, max(len(line), len(part)))
			}
			line = append(line, part...)
		}
		switch {
		case ended && tooLong != nil:
			return nil, tooLong
		case ended:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && tooLong != nil:
			return nil, tooLong // the next call meets the end again
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(line)) > 0:
			return line, nil
		default:
			return nil, err
		}
	}
}
