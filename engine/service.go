package engine

import (
	"context"

	"cctask/engine/task"
)

// Service is what a front may ask of the engine. *Engine implements it inside
// the owner (or inside an --embedded front), *ipc.Client over the owner's
// socket; one suite of tests runs on both.
//
// A ref is a task's id, a unique prefix or suffix of it (at least four
// characters), a name, or `last`, the newest task. Where it fits several tasks,
// those who read get the newest of the name, and nothing is changed
// (task.Match). Every error is, or wraps, a *task.Error.
type Service interface {
	// Submit records a new task durably and returns it, queued.
	Submit(ctx context.Context, s Submission) (task.Task, error)
	// SubmitAll records new tasks, all or none, and returns them in their order. Under a
	// key that was used before one may have been removed since: it has its ID and a
	// Message alone.
	SubmitAll(ctx context.Context, b Batch) ([]task.Task, error)
	// Show looks at a task once: its record, its live progress, its answer and the
	// ends of its output.
	Show(ctx context.Context, l task.Look) (task.Shown, error)
	// Get returns a task with its attempts, its answer and its live progress.
	Get(ctx context.Context, ref string) (task.Task, error)
	// List returns a page of tasks, without attempts and answers.
	List(ctx context.Context, f task.Filter) (task.Page, error)
	// Wait returns the tasks of q, in its order, as soon as those have ended that Until
	// says. One that was removed meanwhile has ended, and has its ID alone; of a single
	// one that is an error. A ctx that ends returns ctx.Err().
	Wait(ctx context.Context, q WaitQuery) ([]task.Task, error)
	// Watch tells of changes. Close it.
	Watch(s Scope) Watch
	// Output returns a piece of a stream, up to the byte that was written last.
	Output(ctx context.Context, q OutputQuery) (task.Output, error)
	// Cancel stops a queued or live task and returns it when its process tree
	// is dead. A task that has ended is returned as it is.
	Cancel(ctx context.Context, ref string) (task.Task, error)
	// Resume starts a new attempt in the session of the last one.
	Resume(ctx context.Context, a Again) (task.Task, error)
	// Retry starts a new attempt with the original prompt in a new session, or
	// in the one that the task was to go on with.
	Retry(ctx context.Context, a Again) (task.Task, error)
	// Edit changes a queued task.
	Edit(ctx context.Context, c Edit) (task.Task, error)
	// Groups returns all groups of which something is set or that have tasks, the
	// whole queue as "", after the change if there is one.
	Groups(ctx context.Context, change *task.GroupChange) ([]task.Group, error)
	// Gates returns the accounts that are closed, after it has opened the one that is
	// named; "": none is to be opened.
	Gates(ctx context.Context, open string) ([]task.Gate, error)
	// Budgets returns where each budget stands; of roots, those that something runs in or
	// that are spent.
	Budgets(ctx context.Context) ([]task.Budget, error)
	// Remove deletes a task with all it has; a live one only with force, which
	// cancels it first.
	Remove(ctx context.Context, ref string, force bool) error
}

// Submission is a new task as a front hands it in.
type Submission struct {
	Spec   task.Spec `json:"spec"`
	Prompt string    `json:"prompt"`
	// Env is the environment for claude: the client's. It is kept encrypted
	// and only as long as the task may start by itself.
	Env    []string    `json:"env"`
	Limits task.Limits `json:"limits"`
	// Key makes a repeated submission return the first one's task.
	Key string `json:"key"`
	// Policy is the front's own: it bounds the task together with the owner's.
	Policy task.Policy `json:"policy,omitzero"`
	// At is where a task of a batch stands, for messages; "": its position says it.
	At string `json:"at,omitempty"`
}

// Again asks for another attempt of a task that has ended.
type Again struct {
	Ref    string      `json:"ref"`
	Prompt string      `json:"prompt,omitempty"` // Resume only; "" is a standard one
	Env    []string    `json:"env"`
	Limits task.Limits `json:"limits"`
	Claude string      `json:"claude,omitempty"` // a newly resolved path; "" keeps the task's
	Key    string      `json:"key"`              // makes a repeated request a no-op
	// Options are those that this attempt and those after it get anew.
	Options task.Draft `json:"options,omitzero"`
	// Policy is the front's own, which bounds this attempt and those after it.
	Policy task.Policy `json:"policy,omitzero"`
}

// OutputQuery selects a piece of a stream.
type OutputQuery struct {
	Ref     string      `json:"ref"`
	Attempt int         `json:"attempt,omitempty"` // 0: the last one
	Stream  task.Stream `json:"stream"`
	Offset  int64       `json:"offset,omitempty"`
	Limit   int         `json:"limit,omitempty"` // 0: MaxOutputPiece, which is also the most
	Tail    int64       `json:"tail,omitempty"`  // >0: the last Tail bytes instead of Offset
}

// MaxOutputPiece bounds the data of one answer.
const MaxOutputPiece = 1 << 20

// Stats counts what the owner has to do.
type Stats struct {
	Live   int `json:"live"`   // tasks with a process
	Queued int `json:"queued"` // tasks that wait
	Lent   int `json:"lent"`   // live tasks that lend their slots
	// Telling are the ends that are still to be told; Untold says of which that has
	// failed, of some for good.
	Telling int      `json:"telling,omitempty"`
	Untold  []string `json:"untold,omitempty"`
}
