package foreign

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"

	"cctask/internal/testkit/mcpwire"
)

// bridge is a stdio server under streamable HTTP, for clients that speak
// nothing else: a process for each session of the legacy era, and one for all
// requests of the modern era. It adds nothing to what the server says, so it checks
// no headers. The ids of requests in work must differ, as those of one client do.
type bridge struct {
	t       *testing.T
	command func() *exec.Cmd
	named   atomic.Int64 // sessions

	mu       sync.Mutex
	sessions map[string]*session
	all      []*session
}

// session is one process of the server.
type session struct {
	in   io.WriteCloser
	done chan struct{}

	mu      sync.Mutex
	waiting map[string]chan []byte // answers and what belongs to them, by the raw id
	tokens  map[string]string      // progress token -> raw id
	loose   chan []byte            // what belongs to no request
}

func newBridge(t *testing.T, command func() *exec.Cmd) (url string) {
	t.Helper()
	b := &bridge{t: t, command: command, sessions: map[string]*session{}}
	server := httptest.NewServer(b)
	t.Cleanup(func() {
		server.CloseClientConnections()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, s := range b.all {
			_ = s.in.Close()
			<-s.done
		}
		server.Close()
	})
	return server.URL + "/mcp"
}

func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.Header.Get("Mcp-Session-Id")
	b.mu.Lock()
	s := b.sessions[name]
	b.mu.Unlock()
	switch {
	case r.Method == http.MethodPost:
		b.post(w, r, s, name)
	case s == nil || name == "":
		http.Error(w, "no such session", http.StatusNotFound)
	case r.Method == http.MethodGet:
		stream(w, r, s.loose, func([]byte) bool { return false })
	case r.Method == http.MethodDelete:
		b.mu.Lock()
		delete(b.sessions, name)
		b.mu.Unlock()
		_ = s.in.Close()
	default:
		http.Error(w, "POST, GET or DELETE", http.StatusMethodNotAllowed)
	}
}

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Token json.RawMessage            `json:"progressToken"`
		Meta  map[string]json.RawMessage `json:"_meta"`
	} `json:"params"`
}

func (b *bridge) post(w http.ResponseWriter, r *http.Request, s *session, name string) {
	body, err := io.ReadAll(r.Body)
	var m message
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if m.Method == "initialize" {
		name = fmt.Sprint(b.named.Add(1))
		w.Header().Set("Mcp-Session-Id", name)
	}
	if s == nil {
		if name != "" && m.Method != "initialize" {
			http.Error(w, "no such session", http.StatusNotFound)
			return
		}
		s = b.open(name)
	}
	if m.ID == nil {
		s.send(body)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	answers := s.expect(m)
	defer s.forget(m)
	s.send(body)
	isAnswer := func(line []byte) bool {
		var a message
		return json.Unmarshal(line, &a) == nil && a.Method == ""
	}
	select {
	case first := <-answers:
		if isAnswer(first) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(first)
			return
		}
		answers <- first
		stream(w, r, answers, isAnswer)
	case <-r.Context().Done():
	case <-s.done:
	}
	if r.Context().Err() != nil {
		s.send(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s,"reason":"the client has gone"}}`, m.ID))
	}
}

// stream sends lines as events until one is the last.
func stream(w http.ResponseWriter, r *http.Request, lines <-chan []byte, last func([]byte) bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	for {
		_ = http.NewResponseController(w).Flush()
		select {
		case line := <-lines:
			fmt.Fprintf(w, "event: message\ndata: %s\n\n", line)
			if last(line) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// open gives the session of a name and starts its process if there is none.
func (b *bridge) open(name string) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.sessions[name]; s != nil {
		return s
	}
	cmd := b.command()
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil || cmd.Start() != nil {
		panic(fmt.Sprint("cannot start ", cmd)) // httptest answers with a closed connection
	}
	var conv mcpwire.Conversation
	asked, said := io.Pipe()
	heard, answers := conv.Watch(asked, io.Discard, func(err error) { b.t.Error(err) })
	go func() { _, _ = io.Copy(in, heard); _ = in.Close() }()
	s := &session{in: said, done: make(chan struct{}), waiting: map[string]chan []byte{}, tokens: map[string]string{}, loose: make(chan []byte, 10_000)}
	go func() {
		defer close(s.done)
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				break
			}
			_, _ = answers.Write(line)
			s.route(line[:len(line)-1])
		}
		_ = cmd.Wait()
	}()
	b.sessions[name] = s
	b.all = append(b.all, s)
	return s
}

func (s *session) send(line []byte) { _, _ = s.in.Write(append(line, '\n')) }

func (s *session) expect(m message) chan []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	answers := make(chan []byte, 10_000)
	s.waiting[string(m.ID)] = answers
	if token := m.Params.Meta["progressToken"]; token != nil {
		s.tokens[string(token)] = string(m.ID)
	}
	return answers
}

func (s *session) forget(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, string(m.ID))
}

// route gives a line of the server to the request that it belongs to.
func (s *session) route(line []byte) {
	var m message
	_ = json.Unmarshal(line, &m)
	s.mu.Lock()
	defer s.mu.Unlock()
	id := string(m.ID)
	if m.Method == "notifications/progress" {
		id = s.tokens[string(m.Params.Token)]
	} else if subscription := m.Params.Meta["io.modelcontextprotocol/subscriptionId"]; subscription != nil {
		id = string(subscription)
	}
	if answers := s.waiting[id]; answers != nil {
		answers <- line
	} else if m.Method != "" {
		s.loose <- line
	}
}
