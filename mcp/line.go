package mcp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
)

var errLineTooLong = errors.New("line too long")

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
// end without being kept, and reported by errLineTooLong.
func (r *lineReader) next() ([]byte, error) {
	var line []byte
	tooLong := false
	for {
		part, err := r.in.ReadSlice('\n')
		ended := err == nil
		if ended {
			part = part[:len(part)-1]
		}
		if len(line)+len(part) > r.max {
			tooLong, line = true, nil
		}
		if !tooLong {
			if len(line)+len(part) > cap(line) {
				// Doubling leaves less garbage than append's smaller steps.
				line = slices.Grow(line, max(len(line), len(part)))
			}
			line = append(line, part...)
		}
		switch {
		case ended && tooLong:
			return nil, errLineTooLong
		case ended:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && tooLong:
			return nil, errLineTooLong // the next call meets the end again
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(line)) > 0:
			return line, nil
		default:
			return nil, err
		}
	}
}
