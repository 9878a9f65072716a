package mcp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"sync"
	"sync/atomic"
)

// writer sends one message a line. Each message is written and flushed whole
// under the lock, so that messages never mix and never wait in the buffer.
type writer struct {
	mu     sync.Mutex
	out    *bufio.Writer
	closed atomic.Bool
	gone   chan struct{} // closed by the first failed write: the client is gone
}

func newWriter(out io.Writer) *writer {
	return &writer{out: bufio.NewWriterSize(out, 64<<10), gone: make(chan struct{})}
}

// send writes one encoded message. Once a write has failed, or after close,
// messages are dropped: nobody reads them.
func (w *writer) send(message []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed.Load() {
		return
	}
	_, err := w.out.Write(append(message, '\n'))
	if err == nil {
		err = w.out.Flush()
	}
	if err != nil {
		w.closed.Store(true)
		close(w.gone)
	}
}

func (w *writer) answer(message []byte, _ int) { w.send(message) }

// close drops every later message. It takes no lock: a write to a client that
// does not read may hold it for ever.
func (w *writer) close() { w.closed.Store(true) }

// encode gives the JSON of v in one line, with <, > and & as they are.
func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return plainHTML(data), nil
}

// appendJSON writes v behind what is in b, likewise. mcp-go's types are not for it.
func appendJSON(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the newline
	return nil
}

// plainHTML undoes the HTML escapes of encoding/json in place. mcp-go's own
// MarshalJSON methods make them whatever the outer encoder is told, and they
// would turn each < of a program's source into six characters.
func plainHTML(data []byte) []byte {
	if !bytes.Contains(data, []byte(`\u00`)) {
		return data
	}
	out := data[:0]
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' || i+1 == len(data) {
			out = append(out, data[i])
			continue
		}
		if r, ok := htmlEscapes[string(data[i:min(i+6, len(data))])]; ok {
			out = append(out, r)
			i += 5
			continue
		}
		// The escaped character may be a backslash itself: take both.
		out = append(out, data[i], data[i+1])
		i++
	}
	return out
}

var htmlEscapes = map[string]byte{`\u003c`: '<', `\u003e`: '>', `\u0026`: '&'}
