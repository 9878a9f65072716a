package ipc

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// Hello is what an owner says of itself.
type Hello struct {
	Lock
	engine.Stats
	Uptime time.Duration `json:"uptime"` // nanoseconds
	Notice string        `json:"notice,omitempty"`
	Inside task.ID       `json:"inside,omitempty"` // the task in which the asker runs, as far as its process tells
}

type none struct{}

type refRequest struct {
	Ref   string `json:"ref"`
	Force bool   `json:"force,omitempty"`
}

type groupsRequest struct {
	Change *task.GroupChange `json:"change,omitempty"`
}

type groupsAnswer struct {
	Groups []task.Group `json:"groups"`
}

type gatesRequest struct {
	Open string `json:"open,omitempty"` // an account
}

type gatesAnswer struct {
	Gates []task.Gate `json:"gates"`
}

type budgetsAnswer struct {
	Budgets []task.Budget `json:"budgets"`
}

type streamRequest struct {
	ID      task.ID     `json:"id"`
	Attempt int         `json:"attempt"`
	Stream  task.Stream `json:"stream"`
	Offset  int64       `json:"offset"`
	Limit   int         `json:"limit"`
}

type blob struct {
	Data []byte `json:"data,omitempty"`
}

func (b *blob) Blobs() []*[]byte { return []*[]byte{&b.Data} }

type stopRequest struct {
	Cancel bool `json:"cancel"`
}

type lendRequest struct {
	Refs   []string    `json:"refs"`
	Within task.Within `json:"within,omitempty"` // by the asker's own marks
}

type endedRequest struct {
	Run string `json:"run"`
}

// submitRequest carries prompt and environment as bytes, in place of those in what it
// embeds: JSON strings would change what is not UTF-8, and blow up what needs escapes.
type submitRequest struct {
	engine.Submission
	Prompt []byte   `json:"prompt"`
	Env    [][]byte `json:"env"`
}

// batchRequest has what all its tasks have of the environment once.
type batchRequest struct {
	Tasks  []submitRequest `json:"tasks"`
	Env    [][]byte        `json:"env"`
	Key    string          `json:"key,omitempty"`
	Before []engine.Named  `json:"before,omitempty"`
}

func (r *batchRequest) Blobs() (blobs []*[]byte) {
	for i := range r.Tasks {
		blobs = append(blobs, &r.Tasks[i].Prompt)
	}
	return blobs
}

func batchOf(b engine.Batch) batchRequest {
	r := batchRequest{Key: b.Key, Before: b.Before}
	var shared []string
	for i, s := range b.Tasks {
		n := 0
		if i == 0 {
			shared = s.Env
		}
		for n < min(len(shared), len(s.Env)) && shared[n] == s.Env[n] {
			n++
		}
		shared = shared[:n]
	}
	r.Env = convert[[]byte](shared)
	for _, s := range b.Tasks {
		one := requestOf(s)
		one.Env = one.Env[len(shared):]
		r.Tasks = append(r.Tasks, one)
	}
	return r
}

func (r batchRequest) batch() engine.Batch {
	b := engine.Batch{Key: r.Key, Before: r.Before}
	for _, one := range r.Tasks {
		one.Env = append(slices.Clip(r.Env), one.Env...)
		b.Tasks = append(b.Tasks, one.submission())
	}
	return b
}

// againRequest is likewise.
type againRequest struct {
	engine.Again
	Prompt []byte   `json:"prompt,omitempty"`
	Env    [][]byte `json:"env"`
}

func (r *submitRequest) Blobs() []*[]byte { return []*[]byte{&r.Prompt} }

func requestOf(s engine.Submission) submitRequest {
	return submitRequest{s, []byte(s.Prompt), convert[[]byte](s.Env)}
}

func (r submitRequest) submission() engine.Submission {
	r.Submission.Prompt, r.Submission.Env = string(r.Prompt), convert[string](r.Env)
	return r.Submission
}

func (r againRequest) again() engine.Again {
	r.Again.Prompt, r.Again.Env = string(r.Prompt), convert[string](r.Env)
	return r.Again
}

// convert turns strings into bytes or back; nil stays nil.
func convert[To, From string | []byte](in []From) []To {
	if in == nil {
		return nil
	}
	out := make([]To, len(in))
	for i, v := range in {
		out[i] = To(v)
	}
	return out
}

// carrier is what travels with bytes beside its JSON, which would copy, escape or
// change them.
type carrier interface{ Blobs() []*[]byte }

// encode is the body of a frame: a line of JSON, and behind it each blob with its
// size before it. The JSON is without the escapes for HTML, which would make code in
// a prompt or an answer six times as long.
func encode(v any) ([]byte, error) {
	var blobs [][]byte
	if c, ok := v.(carrier); ok {
		for _, p := range c.Blobs() {
			defer func(b []byte) { *p = b }(*p)
			blobs, *p = append(blobs, *p), nil
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	body := b.Bytes()
	for _, blob := range blobs {
		body = append(binary.BigEndian.AppendUint32(body, uint32(len(blob))), blob...)
	}
	return body, nil
}

// decode reads a body into v, whose blobs are then parts of body. JSON without
// blobs, as one writes it by hand, has them inside.
func decode(body []byte, v any) error {
	line, rest, _ := bytes.Cut(body, []byte("\n"))
	if err := json.Unmarshal(line, v); err != nil {
		return err
	}
	c, ok := v.(carrier)
	if !ok || len(rest) == 0 {
		return nil
	}
	for _, p := range c.Blobs() {
		if len(rest) < 4 || uint64(len(rest)-4) < uint64(binary.BigEndian.Uint32(rest)) {
			return errors.New("bytes are missing")
		}
		n := 4 + binary.BigEndian.Uint32(rest)
		if n > 4 {
			*p = rest[4:n:n]
		}
		rest = rest[n:]
	}
	return nil
}

func decodeError(b []byte) error {
	var e task.Error
	if json.Unmarshal(b, &e) != nil || e.Code == "" {
		return task.Errorf(task.CodeInternal, "See owner.log in the state directory.", "the owner refused without a reason that could be read")
	}
	return &e
}

func closingError() *task.Error {
	return &task.Error{Code: task.CodeClosing, Message: "the owner is leaving", Hint: "Ask again: a new owner starts by itself."}
}

func versionError(version, theirs, ours string) *task.Error {
	return task.Errorf(task.CodeVersion, "Use the cctask of the owner's version, or end the owner with that one's `cctask daemon stop`; running tasks go on.",
		"the owner (version %s) speaks protocol %s, the front protocol %s", version, theirs, ours)
}
