package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/mark3labs/mcp-go/server"

	"cctask/engine/task"
)

// errStopping is the cause of a request's end when the server ends: the client
// has gone or we were told to stop. It never means that somebody wants a task
// cancelled.
var errStopping = errors.New("the server is stopping")

// errLeft answers a call that the server's end cut off before it had anything to
// tell, such as while an owner still starts.
var errLeft = task.Errorf(task.CodeClosing, "Call again: tasks outlive the server. If the call was to start or delete a task, see first with list_active_tasks (include_finished) whether it did.",
	"the server is leaving and had no answer yet")

// cancelled is the cause of a request's end when the client cancelled it.
type cancelled struct{ reason string }

func (c *cancelled) Error() string { return "cancelled by the client: " + c.reason }

// impatience are words in the reason of a client that only ran out of patience:
// those of the TypeScript and Python SDKs, of Claude Code, and of the Go SDK.
var impatience = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)timed out|timeout|deadline exceeded`) })

// wantsTaskStopped tells whether ctx ended because somebody wants the work
// stopped. A client that ran out of patience can still ask for the task.
func wantsTaskStopped(ctx context.Context) bool {
	var c *cancelled
	return errors.As(context.Cause(ctx), &c) && !impatience().MatchString(c.reason)
}

// stopping tells whether ctx ended because the server ends.
func stopping(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errStopping) }

// untilEnding is for a part of a request that waits: ctx, which also ends when
// the connection's waits do.
func (r *request) untilEnding(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.conn.waits, func() { cancel(context.Cause(r.conn.waits)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// The life of a request.
const (
	live int32 = iota
	answered
	dropped // cancelled by the client: nothing more may be sent
)

// request is one call of the client that has not been answered.
type request struct {
	conn   *conn
	out    outlet
	id     json.RawMessage // as the client wrote it
	method string
	args   json.RawMessage // the arguments of tools/call
	info   *server.RequestProtocolInfo
	token  json.RawMessage // of progress notifications; nil: none are wanted
	ctx    context.Context
	cancel context.CancelCauseFunc

	message incoming // until it is run
	reader  *leader  // on whose goroutine it runs, in its turn; nil: on its own
	turn    int64

	state atomic.Int32
	mu    sync.Mutex   // held while a notification is written, so that the answer comes after it
	steps int          // progress messages so far
	held  atomic.Int64 // bytes of the message that count as in work
}

// taken says that the handler has used what it needs of the arguments, which may
// be megabytes, and is going to wait.
func (r *request) taken() {
	r.waits()
	n := len(r.args)
	r.args = nil
	r.held.Add(int64(-n))
	r.conn.load.hold(-n)
}

type progressParams struct {
	Token    json.RawMessage `json:"progressToken"`
	Progress int             `json:"progress"`
	Message  string          `json:"message"`
}

// progress tells the client what goes on, if it asked to be told. Only the
// request's own goroutine calls it.
func (r *request) progress(message string) {
	if r.token == nil {
		return
	}
	r.steps++
	r.notify("notifications/progress", progressParams{Token: r.token, Progress: r.steps, Message: message})
}

// notify sends a notification that belongs to this request. It returns when the
// message is written, and writes nothing once the request is over.
func (r *request) notify(method string, params any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Load() == live {
		r.conn.notify(r.out, method, params)
	}
}

// answer sends the response unless the request was cancelled.
func (r *request) answer(m response) {
	r.mu.Lock() // waits for a progress message that is being written
	ok := r.state.CompareAndSwap(live, answered)
	r.mu.Unlock()
	if ok {
		// Before the answer is written: with it in hand, a client may use the
		// id again.
		r.conn.free(r)
		m.ID = r.id
		r.conn.respond(r.out, m)
	}
}

// drop ends the request without an answer. It takes no lock: a progress
// message to a client that does not read must not hold up the reader.
func (r *request) drop(reason string) {
	if r.state.CompareAndSwap(live, dropped) {
		r.cancel(&cancelled{reason: reason})
	}
}

// The error codes of JSON-RPC.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeInternal       = -32603
)

// response is what goes to the client for a request; one of Result and Error.
type response struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"` // left out if the request's is unknown, never null
	Result  any             `json:"result,omitempty"`
	Error   *responseError  `json:"error,omitempty"`
}

type responseError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

func (e *responseError) Error() string { return e.Message }

func failure(code int, format string, args ...any) response {
	return response{Error: &responseError{Code: code, Message: fmt.Sprintf(format, args...)}}
}
