package task

// Source is what a dump reads: an owner's database or a file. Nothing is held
// between two calls, however slow the reader of the dump is.
type Source interface {
	// Page returns the next tasks that q selects, oldest first.
	Page(q DumpQuery) (DumpPage, error)
	// Stream returns up to limit bytes from offset on, some if there are any.
	// ErrNotFound when the task was removed.
	Stream(id ID, n int, s Stream, offset int64, limit int) ([]byte, error)
}

// DumpQuery asks for a page of a dump.
type DumpQuery struct {
	Filter Filter `json:"filter"` // Limit and Cursor are ignored
	IDs    []ID   `json:"ids"`    // ascending; nil: all that fit
	After  ID     `json:"after"`  // the page's first task is above it
}

// DumpPage is a part of a dump.
type DumpPage struct {
	Tasks    []Snapshot `json:"tasks"`
	After    ID         `json:"after"` // of the next page
	More     bool       `json:"more"`
	Groups   []Group    `json:"groups,omitempty"` // what is set of them; on the first page of a whole dump
	Restored bool       `json:"restored"`         // the database may only be read
	// Redacted is how many values of the whole database were masked before it
	// was restored from a dump.
	Redacted int64 `json:"redacted"`
}

// Snapshot is a task at one moment. What it says of the streams stays true
// while the task exists: they only grow.
type Snapshot struct {
	Task     Task      `json:"task"`
	Attempts []Attempt `json:"attempts"`
	Sizes    []Sizes   `json:"sizes"` // of attempt 1 and on, as many as there are
	// SessionCosts are the last known totals of the sessions of the attempts.
	SessionCosts map[string]float64 `json:"session_costs"`
	// Small holds all streams if they are small together; nil: ask for them.
	Small []Blob `json:"small"`
}

// Sizes are the lengths of an attempt's streams, in bytes.
type Sizes struct {
	Prompt, Result, Stdout, Stderr int64
}

// Dumped are the streams in their order within an attempt of a dump.
var Dumped = []Stream{Prompt, Stdout, Stderr, Result}

// Of is the place of one stream's length.
func (s *Sizes) Of(st Stream) *int64 {
	switch st {
	case Prompt:
		return &s.Prompt
	case Result:
		return &s.Result
	case Stderr:
		return &s.Stderr
	case Stdout:
	}
	return &s.Stdout
}
