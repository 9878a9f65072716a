package show

import "bytes"

// LineWriter calls Line for each line, without its newline.
type LineWriter struct {
	Line func([]byte) error
	At   int64 // where in the stream the line begins that is not whole yet
	Torn bool  // what comes before the first newline is the end of a line
	rest []byte
}

func (w *LineWriter) Write(p []byte) (int, error) {
	for n := len(p); ; {
		i := bytes.IndexByte(p, '\n')
		if i < 0 && w.Torn {
			w.At += int64(len(p))
			return n, nil
		}
		if i < 0 {
			w.rest = append(w.rest, p...)
			return n, nil
		}
		line := p[:i]
		p = p[i+1:]
		if len(w.rest) > 0 {
			line = append(w.rest, line...)
			w.rest = w.rest[:0]
		}
		if !w.Torn {
			if err := w.Line(line); err != nil {
				return 0, err
			}
		}
		w.Torn = false
		w.At += int64(len(line)) + 1
	}
}

// Close gives a torn last line too.
func (w *LineWriter) Close() error {
	if len(w.rest) == 0 {
		return nil
	}
	err := w.Line(w.rest)
	w.At, w.rest = w.At+int64(len(w.rest)), nil
	return err
}
