package site

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"cctask/engine/runner"
)

// protocol is raised when verbs or lines change their meaning: a host may have a
// cctask of its own.
const protocol = 1

// The verbs of a call, as those of engine.Site.
const (
	verbStart = "start"
	verbLook  = "look"
	verbStop  = "stop"
	verbKeep  = "keep"
	verbClear = "clear"
	verbRead  = "read"
	verbAsk   = "ask"
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
	Hard   bool         `json:",omitempty"` // of a stop
	Lost   bool         `json:",omitempty"` // of a clear: keep it where a person finds it
	Stream string       `json:",omitempty"`
	Off    int64        `json:",omitempty"`
	N      int          `json:",omitempty"`
	Path   string       `json:",omitempty"`
}

// answer is a line back; without ID it is news of the run Name. The first line of a far
// end has nothing but Hello.
type answer struct {
	ID     int64                   `json:",omitempty"`
	Hello  *hello                  `json:",omitempty"`
	Fault  *fault                  `json:",omitempty"`
	Name   string                  `json:",omitempty"`
	Sight  runner.Sight            `json:",omitzero"`
	Sights map[string]runner.Sight `json:",omitempty"`
	Data   []byte                  `json:",omitempty"`
	Size   int64                   `json:",omitempty"`
	File   runner.File             `json:",omitzero"`
}

// hello is what a far end says of itself.
type hello struct {
	Protocol int
	Version  string
	Place    runner.Place
	Now      int64 // its clock, in milliseconds since 1970
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

// of is the error as one of the named host.
func (f *fault) of(host string) error {
	switch {
	case f == nil:
		return nil
	case f.Spawn != nil:
		return f.Spawn
	case f.NotStarted:
		return fmt.Errorf("%w: %s: %s", runner.ErrNotStarted, host, strings.TrimPrefix(f.Text, runner.ErrNotStarted.Error()+": "))
	case f.Errno != 0:
		return &remoteError{host, f.Text, f.Errno}
	}
	return fmt.Errorf("%s: %s", host, f.Text)
}

// remoteError is an error of the system over there.
type remoteError struct {
	host, text string
	errno      syscall.Errno
}

func (e *remoteError) Error() string { return e.host + ": " + e.text }
func (e *remoteError) Unwrap() error { return e.errno }
