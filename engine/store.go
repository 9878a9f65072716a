package engine

import (
	"context"
	"time"

	"cctask/engine/task"
)

// Store is what the engine needs of the database; *storage.DB implements it.
// There is no second one: faults in tests are a wrapper around the real one.
type Store interface {
	// Apply makes one step of a task's life durable, or one of several tasks: everything
	// in ws in one transaction, index entries moved with their records.
	Apply(ws ...task.Write) error
	// Remove deletes a task and everything that belongs to it. No such task is
	// no error.
	Remove(id task.ID, by task.Remover, at time.Time) error
	// Removed tells who removed a task and when; for a day, then the zero time.
	Removed(id task.ID) (at time.Time, by task.Remover, err error)

	Task(id task.ID) (task.Task, error) // task.ErrNotFound
	// Show reads all that is wanted of a task in one transaction.
	Show(id task.ID, l task.Look) (task.Shown, error) // task.ErrNotFound
	// Resolve finds what an id, a prefix or suffix of one, a name or `last` fits.
	Resolve(ref string) (task.Match, error) // task.ErrNotFound
	// Taken tells of the submission that is recorded under a key; nil if none is.
	Taken(key string, now time.Time) (*task.KeyTaken, error)
	// Holder names the queued or live task that works in a session; "" if none does.
	Holder(session string) (task.ID, error)
	Attempt(id task.ID, n int) (task.Attempt, error)
	Attempts(id task.ID) ([]task.Attempt, error)
	Prompt(id task.ID, n int) ([]byte, error)
	Env(id task.ID) ([]string, error) // task.ErrNotFound when it was dropped
	// Stream returns up to limit sealed bytes of stdout, stderr, result or
	// prompt from offset on; fewer or none at the sealed end.
	Stream(id task.ID, n int, s task.Stream, offset int64, limit int) ([]byte, error)
	// Sealed is the number of bytes of a stream that are in the database.
	Sealed(id task.ID, n int, s task.Stream) (int64, error)

	// Descendants are the tasks that are recorded below a root.
	Descendants(root task.ID) ([]task.ID, error)
	List(ctx context.Context, f task.Filter) (task.Page, error)
	Queue() ([]task.Place, error) // the queued tasks in the queue's order
	Live() ([]task.Task, error)   // the starting and running tasks
	LastSeq() (uint64, error)     // the highest queue sequence ever taken
	SessionCost(session string) (total float64, known bool, err error)
	// Restored tells that the database was restored from a dump and not activated.
	Restored() (bool, error)
	// Expired names up to limit ended tasks that the policy lets go, oldest first.
	Expired(p task.KeepPolicy, now time.Time, limit int) ([]task.Expiry, error)
	// Doom counts all of them.
	Doom(p task.KeepPolicy, now time.Time) (task.Doom, error)
	Groups() ([]task.Group, error) // of which something is set
	Spends() ([]task.Spend, error) // what each scope has spent, as Write.Spent adds it up
	SetGroup(g task.Group) error
	Gates() ([]task.Gate, error) // that are closed
	SetGate(g task.Gate) error
	Hold() (task.Hold, error) // the zero Hold: none
	SetHold(h task.Hold) error
	// Outbox are the ends that are to be told; Told records what came of a try.
	Outbox() ([]task.Notice, error)
	Told(n task.Notice) error
	// Forget drops idempotency keys that are older than a day.
	Forget(now time.Time) error
}
