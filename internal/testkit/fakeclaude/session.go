package fakeclaude

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// session is what outlives a run.
type session struct {
	id   string
	path string
	Cost float64 `json:"cost"` // US dollars, over all runs
}

// SessionFile is where a session lives; removing it loses the session.
func SessionFile(home, id string) string {
	return filepath.Join(home, ".fakeclaude", id+".json")
}

// refusal is an error in the CLI's own words.
type refusal string

func (r refusal) Error() string { return string(r) }

// lostSession is the id of a session that cannot be resumed.
type lostSession string

func (l lostSession) Error() string { return "No conversation found with session ID: " + string(l) }

// openSession finds or makes the session of a run. Of an unknown one to resume
// it returns the id, for the result event that the CLI prints even then.
func openSession(o options) (*session, error) {
	s := &session{id: o.sessionID}
	if s.id == "" {
		s.id = newUUID()
	}
	if o.resume != "" {
		old := SessionFile(os.Getenv("HOME"), o.resume)
		data, err := os.ReadFile(old)
		if err != nil {
			return &session{id: o.resume}, lostSession(o.resume)
		}
		if err := json.Unmarshal(data, s); err != nil {
			return nil, fmt.Errorf("read %s: %w", old, err)
		}
		if !o.fork {
			s.id = o.resume
		}
	}
	s.path = SessionFile(os.Getenv("HOME"), s.id)
	if _, err := os.Stat(s.path); s.id != o.resume && !errors.Is(err, fs.ErrNotExist) {
		return nil, refusal("Error: Session ID " + s.id + " is already in use.")
	}
	return s, nil
}

func (s *session) save() {
	data, err := json.Marshal(s)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(s.path, data, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fakeclaude: save the session:", err)
	}
}

func newUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
