package task

import (
	"encoding/json"
	"fmt"
)

// Look says what is wanted of one task, beside its record and its answer.
type Look struct {
	Ref      string `json:"ref"`
	Attempts bool   `json:"attempts,omitempty"`
	// Stdout and Stderr are how many bytes of each are wanted, from its end; of a
	// task of the last attempt.
	Stdout int64 `json:"stdout,omitempty"`
	Stderr int64 `json:"stderr,omitempty"`
	// BadOnly wants them only of a task that ended otherwise than completed.
	BadOnly bool `json:"bad_only,omitempty"`
}

// Shown is a task as one look found it, not yet decoded: an owner sends records as
// they are stored, and who shows them decodes them once.
type Shown struct {
	Status  Status `json:"status"`
	Version uint64 `json:"version,omitempty"`
	Match   *Match `json:"match,omitempty"` // nil: the reference fits no other task
	// Record is a Task; of one that lives, with what only the engine knows.
	Record   json.RawMessage `json:"record,omitempty"`
	Attempts json.RawMessage `json:"attempts,omitempty"` // a list of Attempt
	Answer   []byte          `json:"answer,omitempty"`   // of a task that has ended; at most MaxInlineResult bytes
	Stdout   *Output         `json:"stdout,omitempty"`
	Stderr   *Output         `json:"stderr,omitempty"`
}

// Set puts t, as the engine knows it, in place of what was found; the attempts stay.
func (s *Shown) Set(t Task) (err error) {
	s.Status, s.Version, s.Match = t.Status, t.Version, t.Match
	if t.Result != nil {
		s.Answer = []byte(*t.Result)
	}
	t.Version, t.Match, t.Result, t.Attempts = 0, nil, nil, nil
	if s.Record, err = json.Marshal(t); err != nil {
		return fmt.Errorf("encode task %s: %w", t.ID, err)
	}
	return nil
}

func (s Shown) Task() (t Task, err error) {
	if err = json.Unmarshal(s.Record, &t); err == nil && s.Attempts != nil {
		err = json.Unmarshal(s.Attempts, &t.Attempts)
	}
	if err != nil {
		return t, &Error{Code: CodeCorrupt, Message: "the record of the task cannot be read", Err: err, Hint: "`cctask doctor` looks at the database."}
	}
	t.Version, t.Match = s.Version, s.Match
	if len(s.Answer) > 0 {
		text := string(s.Answer)
		t.Result = &text
	}
	return t, nil
}

// Blobs are the bytes that travel beside the JSON, which would copy and escape them.
func (s *Shown) Blobs() []*[]byte {
	all := []*[]byte{(*[]byte)(&s.Record), (*[]byte)(&s.Attempts), &s.Answer}
	for _, o := range []*Output{s.Stdout, s.Stderr} {
		if o != nil {
			all = append(all, &o.Data)
		}
	}
	return all
}

// Blobs are the bytes that travel beside the JSON.
func (o *Output) Blobs() []*[]byte { return []*[]byte{&o.Data} }
