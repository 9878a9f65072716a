package task

import (
	"errors"
	"fmt"
)

// Code is the stable name of an error. It travels over the socket and in MCP
// errors, and is turned back into the same Error on the other side.
type Code string

const (
	CodeInvalid             Code = "invalid_argument"     // bad input; nothing was recorded
	CodeNotFound            Code = "not_found"            // no such task, attempt or output
	CodeAmbiguous           Code = "ambiguous"            // a prefix or name that fits several tasks
	CodeConflict            Code = "conflict"             // the task's status does not allow this
	CodeIdempotencyConflict Code = "idempotency_conflict" // the same key with another specification
	CodeRemoved             Code = "removed"              // the task that an idempotency key stands for
	CodeSessionBusy         Code = "session_busy"         // another live task holds the session
	CodeUnmerged            Code = "unmerged"             // the task's worktree holds what is nowhere else
	CodePolicy              Code = "policy_denied"        // the person's policy forbids it; nothing was recorded
	CodeDescendants         Code = "descendants"          // a task may start no more tasks; nothing was recorded
	CodeOwnerStarting       Code = "owner_starting"       // the owner still migrates or recovers
	CodeOwnerGone           Code = "owner_gone"           // no owner answered, and none could be started
	CodeLocked              Code = "locked"               // another process holds the database
	CodeClosing             Code = "closing"              // the owner is leaving; ask again
	CodeVersion             Code = "version_mismatch"     // another protocol or schema version
	CodeCorrupt             Code = "corrupt"              // the database file is damaged
	CodeNoSpace             Code = "no_space"             // the disk is full
	CodeInternal            Code = "internal"             // a fault of ours
)

// Error is an error that a caller can tell apart and a person can act on.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // the next step, a whole sentence
	Err     error  `json:"-"`
}

func (e *Error) Error() string {
	s := e.Message
	if s == "" {
		s = string(e.Code)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Errorf is an Error whose message is made like that of fmt.Errorf.
func Errorf(code Code, hint, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// Invalid is a refusal of what a caller gave, with what to give instead.
func Invalid(message, hint string) error {
	return &Error{Code: CodeInvalid, Message: message, Hint: hint}
}

func (e *Error) Unwrap() error { return e.Err }

// Is compares codes, so that errors.Is works on both sides of the socket.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code && t.Message == ""
}

var (
	ErrInvalid             = &Error{Code: CodeInvalid}
	ErrNotFound            = &Error{Code: CodeNotFound}
	ErrAmbiguous           = &Error{Code: CodeAmbiguous}
	ErrConflict            = &Error{Code: CodeConflict}
	ErrIdempotencyConflict = &Error{Code: CodeIdempotencyConflict}
	ErrRemoved             = &Error{Code: CodeRemoved}
	ErrSessionBusy         = &Error{Code: CodeSessionBusy}
	ErrUnmerged            = &Error{Code: CodeUnmerged}
	ErrPolicy              = &Error{Code: CodePolicy}
	ErrDescendants         = &Error{Code: CodeDescendants}
	ErrOwnerStarting       = &Error{Code: CodeOwnerStarting}
	ErrOwnerGone           = &Error{Code: CodeOwnerGone}
	ErrLocked              = &Error{Code: CodeLocked}
	ErrClosing             = &Error{Code: CodeClosing}
	ErrVersion             = &Error{Code: CodeVersion}
	ErrCorrupt             = &Error{Code: CodeCorrupt}
	ErrNoSpace             = &Error{Code: CodeNoSpace}
	ErrInternal            = &Error{Code: CodeInternal}
)

// AsError gives the *Error inside err, or an internal one that wraps it.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Code: e.Code, Message: err.Error(), Hint: e.Hint}
	}
	return &Error{Code: CodeInternal, Message: err.Error(), Hint: "This is a fault of cctask: see owner.log in the state directory."}
}

// HintOf gives the next step that err names, or "".
func HintOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}
