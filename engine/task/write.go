package task

import "time"

// Write is one step of a task's life. Zero fields write nothing.
type Write struct {
	At   time.Time // the transaction's one timestamp
	Task *Task
	// Attempts are records of attempts of Task, put as they stand.
	Attempts []Attempt

	Prompt *Blob // Stream is ignored; written once
	// NewPrompt puts Prompt in the place of one that is there.
	NewPrompt bool
	Result    *Blob
	Chunks    []Blob // pieces of stdout or stderr, in order of their offsets
	Env       []string
	DropEnv   bool

	// Key is the idempotency key of a new task, KeyHash the hash of its
	// specification. If the key stands already, nothing is written and the
	// error is a *KeyTaken.
	Key     string
	KeyHash string

	// SessionID and SessionCost record a session's new total cost.
	SessionID   string
	SessionCost float64

	// Spent is added to what its scopes have spent.
	Spent []Spend

	// Gate is that of an account, as it is from this step on; nil: as it was.
	Gate *Gate

	// Notice is the end that is to be told; nil: none is.
	Notice *Notice
}

// Blob is a piece of a stream of one attempt of the written task. A chunk at
// or before the sealed end is not written again; a gap is an error.
type Blob struct {
	ID      ID
	Attempt int
	Stream  Stream
	Offset  int64
	Data    []byte
}

// KeyTaken says that a submission with this key is recorded already.
type KeyTaken struct {
	ID   ID
	Hash string
}

func (k *KeyTaken) Error() string { return "idempotency key is taken by task " + string(k.ID) }

type Remover string

const (
	ByRequest   Remover = "rm or cleanup_task"
	ByRetention Remover = "retention"
)
