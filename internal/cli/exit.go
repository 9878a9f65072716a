package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/show"
)

// The exit codes of all verbs.
const (
	exitDone        = 0
	exitFault       = 1
	exitInput       = 2
	exitEnded       = 3
	exitTimeout     = 4
	exitInterrupted = 130
)

var exitTexts = map[int]string{
	exitDone:        "done",
	exitFault:       "a fault of cctask or of this machine",
	exitInput:       "bad input, an unknown task, or a refusal; nothing was recorded",
	exitEnded:       "a task ended otherwise than completed",
	exitTimeout:     "of wait only: not ended within its --timeout",
	exitInterrupted: "interrupted by a signal",
}

// exitCompleted is exitDone of the verbs that wait for a task.
const exitCompleted = "done; where a task is waited for: completed"

// exits is the annotation from which a verb's help lists its exit codes.
func exits(codes ...int) map[string]string {
	var b strings.Builder
	for _, c := range codes {
		text := exitTexts[c]
		if c == exitDone && slices.Contains(codes, exitEnded) {
			text = exitCompleted
		}
		fmt.Fprintf(&b, "  %-4d %s\n", c, text)
	}
	return map[string]string{"exits": b.String()}
}

// stop ends a verb with a code of its own; err, if there is one, is told first.
type stop struct {
	code int
	err  error
}

func (s *stop) Error() string {
	if s.err == nil {
		return fmt.Sprintf("exit code %d", s.code)
	}
	return s.err.Error()
}

func (s *stop) Unwrap() error { return s.err }

func exitCode(err error) int {
	var s *stop
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &s):
		return s.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	switch task.AsError(err).Code {
	case task.CodeInvalid, task.CodeNotFound, task.CodeAmbiguous, task.CodeConflict,
		task.CodeIdempotencyConflict, task.CodeRemoved, task.CodeSessionBusy, task.CodeUnmerged, task.CodePolicy, task.CodeDescendants, task.CodeLocked:
		return exitInput
	case task.CodeOwnerStarting, task.CodeOwnerGone, task.CodeClosing, task.CodeVersion,
		task.CodeCorrupt, task.CodeNoSpace, task.CodeInternal:
	}
	return exitFault
}

// report tells a person what went wrong and what to do next.
func (a *app) report(err error) {
	var s *stop
	if err == nil || errors.As(err, &s) && s.err == nil {
		return
	}
	if errors.Is(err, context.Canceled) {
		err = &task.Error{Code: task.CodeInternal, Message: "interrupted", Hint: "Tasks go on: `cctask list` shows them."}
	}
	e := task.AsError(err)
	var file *fs.PathError
	if errors.As(err, &file) && file.Path == os.Stdout.Name() {
		if errors.Is(err, syscall.EPIPE) {
			return // who read it has seen enough
		}
		e.Hint = "Send stdout to a place that takes more; what is recorded is recorded: see `cctask list --all`."
	}
	fmt.Fprintf(a.Stderr, "cctask: %s\n", claude.Visible(e.Message))
	if e.Hint != "" {
		fmt.Fprintf(a.Stderr, "hint: %s\n", claude.Visible(e.Hint))
	}
}

// outcome is nil for a completed task of which nothing more is to be said, such as
// tools that were denied, and exit code 3 with the reason for one that ended otherwise.
func outcome(t task.Task) error {
	code, message := exitEnded, fmt.Sprintf("task %s: %s", t.ID, t.Status)
	if t.Status == task.Completed {
		code = exitDone
	}
	switch {
	case show.Says(t):
		message += ": " + t.Message
	case code == exitDone:
		return nil
	}
	hint := t.Hint()
	if hint == "" {
		hint = fmt.Sprintf("See `cctask logs %s`.", t.ID)
	}
	return &stop{code, &task.Error{Code: task.CodeConflict, Message: message, Hint: hint}}
}

// gone tells of the end of a wait that somebody has deleted the task, or is about to.
func gone(t task.Task, err error) bool {
	return errors.Is(err, task.ErrNotFound) || err == nil && t.Message == task.BeingRemoved
}

// removed is the end of a task whose record somebody deleted while we waited.
func removed(id task.ID) error {
	return &stop{exitEnded, task.Errorf(task.CodeNotFound, "Nothing is left of it; `cctask list --all` shows what is recorded.", "task %s was removed while it was waited for", id)}
}
