package farsite

import (
	"errors"
	"fmt"
	"syscall"

	"cctask/engine/runner"
)

// call is a line to the far end.
type call struct {
	ID     int64
	Verb   string
	Name   string       `json:",omitempty"`
	Names  []string     `json:",omitempty"`
	Order  runner.Order `json:",omitzero"`  // without Env
	Env    [][]byte     `json:",omitempty"` // JSON would mangle what is not UTF-8
	Why    string       `json:",omitempty"`
	Hard   bool         `json:",omitempty"` // or keep, of a clear
	Stream string       `json:",omitempty"`
	Off    int64        `json:",omitempty"`
	N      int          `json:",omitempty"`
	Path   string       `json:",omitempty"`
}

// answer is a line back; without ID it is news of the run Name.
type answer struct {
	ID     int64                   `json:",omitempty"`
	Fault  *fault                  `json:",omitempty"`
	Place  runner.Place            `json:",omitzero"`
	Name   string                  `json:",omitempty"`
	Sight  runner.Sight            `json:",omitzero"`
	Sights map[string]runner.Sight `json:",omitempty"`
	Data   []byte                  `json:",omitempty"`
	Size   int64                   `json:",omitempty"`
	File   runner.File             `json:",omitzero"`
}

// fault is an error on its way, with what the engine asks of one.
type fault struct {
	Text       string
	Errno      syscall.Errno      `json:",omitempty"`
	NotStarted bool               `json:",omitempty"`
	Spawn      *runner.SpawnError `json:",omitempty"`
}

func faultOf(err error) *fault {
	if err == nil {
		return nil
	}
	f := &fault{Text: err.Error(), NotStarted: errors.Is(err, runner.ErrNotStarted)}
	errors.As(err, &f.Errno)
	errors.As(err, &f.Spawn)
	return f
}

func (f *fault) err() error {
	switch {
	case f == nil:
		return nil
	case f.Spawn != nil:
		return f.Spawn
	case f.NotStarted:
		return fmt.Errorf("%w: %s", runner.ErrNotStarted, f.Text)
	case f.Errno != 0:
		return fmt.Errorf("far: %s: %w", f.Text, f.Errno)
	}
	return errors.New("far: " + f.Text)
}
