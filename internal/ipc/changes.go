package ipc

import (
	"context"

	"cctask/engine"
	"cctask/engine/task"
)

// Changes tells that tasks have changed, whichever they are, over the one event
// stream of its client. Close it.
type Changes struct {
	c    *Client
	w    *waiter
	lost <-chan struct{} // of the stream that stood last
}

// Changes does nothing before the first Next.
func (c *Client) Changes() *Changes {
	return &Changes{c: c, w: c.waits.add("", engine.UntilEnd)}
}

// Close lets the stream end.
func (ch *Changes) Close() { ch.c.waits.remove(ch.w) }

// Next waits for a change since the last call, and tells whether a task may have
// ended or gone. It returns at once when it has a new stream: nobody tells what
// happened before that stood. After an error it may be called again.
func (ch *Changes) Next(ctx context.Context) (ended bool, err error) {
	lost, err := ch.c.stream(ctx)
	if err != nil {
		return false, err
	}
	if lost != ch.lost {
		ch.lost = lost
		return true, nil
	}
	select {
	case <-ch.w.wake:
		return ch.w.ended.Swap(false), nil
	case <-lost:
		return false, &task.Error{Code: task.CodeOwnerGone, Message: "the owner is gone", Hint: "Ask again: a new owner starts by itself."}
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
