package mcp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
)

// outputArgs say what of a task's output an answer carries.
type outputArgs struct {
	Output    string  `json:"output"`
	Stream    string  `json:"stream"`
	Offset    float64 `json:"offset"`
	TailBytes float64 `json:"tail_bytes"`
	Raw       bool    `json:"raw"`
	Detail    bool    `json:"detail"`
}

const (
	defaultTail = 8 << 10 // bytes a stream
	defaultList = 50      // tasks
	// What an answer about a task that ended badly has of its output.
	badEnd   = 2 << 10 // bytes of stderr
	lastWord = 2000    // UTF-16 units of what claude said last
	// pieceSize bounds a piece of a stream, as maxResult does; what is left is
	// for the rest of the task.
	pieceSize = 23_000
)

type checkArgs struct {
	TaskID      string       `json:"task_id"`
	TaskIDs     []string     `json:"task_ids"`
	Label       string       `json:"label"`
	Until       engine.Until `json:"until"`
	WaitSeconds float64      `json:"wait_seconds"`
	outputArgs
}

func (s *Server) check(ctx context.Context, r *request) (any, error) {
	a := checkArgs{outputArgs: outputArgs{Output: "auto", Stream: "stdout", TailBytes: defaultTail}}
	if _, err := checkInput().decode(r.args, &a); err != nil {
		return nil, err
	}
	if a.TaskID == "" {
		return s.checkAll(ctx, r, a)
	}
	if len(a.TaskIDs) > 0 || a.Label != "" {
		return nil, badArguments([]string{"task_id: it stands alone; for several tasks give task_ids, or a label"})
	}
	if a.WaitSeconds == 0 {
		return s.look(ctx, a.TaskID, a.outputArgs)
	}
	r.taken()
	t, err := s.latest(ctx, a.TaskID)
	if err != nil {
		return nil, err
	}
	match := t.Match
	if t, err = s.await(ctx, r, t, seconds(a.WaitSeconds)); err != nil {
		return nil, err
	}
	t.Match = match
	return s.show(ctx, t, a.outputArgs)
}

// ends says what of a task's output an answer needs beside the task.
func (a outputArgs) ends(ref string) task.Look {
	l := task.Look{Ref: ref}
	switch a.Output {
	case "auto":
		l.BadOnly, l.Stdout, l.Stderr = true, lookBack, badEnd
	case "tail":
		l.Stdout, l.Stderr = lookBack, int64(a.TailBytes)
		if a.Raw {
			l.Stdout = l.Stderr
		}
	}
	return l
}

// look answers about a task by one question to the Service.
func (s *Server) look(ctx context.Context, ref string, a outputArgs) (*taskResult, error) {
	found, err := s.svc.Show(ctx, a.ends(ref))
	var t task.Task
	if err == nil {
		t, err = found.Task()
	}
	if err != nil {
		return nil, fmt.Errorf("read task %s: %w", clip(ref, 100), err)
	}
	return s.present(ctx, &t, found.Stdout, found.Stderr, a)
}

// show makes the answer about a task that is at hand; its output is asked for.
func (s *Server) show(ctx context.Context, t *task.Task, a outputArgs) (*taskResult, error) {
	bad := t.Status.Ended() && t.Status != task.Completed
	if l := a.ends(string(t.ID)); l.Stderr == 0 || l.BadOnly && !bad {
		return s.present(ctx, t, nil, nil, a)
	}
	found, err := s.svc.Show(ctx, a.ends(string(t.ID)))
	// A server that stops answers with what it has.
	if err != nil && !stopping(ctx) {
		return nil, fmt.Errorf("read the output of task %s: %w", t.ID, err)
	}
	return s.present(ctx, t, found.Stdout, found.Stderr, a)
}

// present makes the answer about a task of what was found of it.
func (s *Server) present(ctx context.Context, t *task.Task, stdout, stderr *task.Output, a outputArgs) (*taskResult, error) {
	v := &taskResult{View: task.NewView(*t, time.Now())}
	if err := s.addOutput(ctx, v, stdout, stderr, a); err != nil && !stopping(ctx) {
		return nil, err
	}
	if !a.Detail {
		v.lean()
	}
	if whole := cutToSize(v); whole && !a.Detail {
		v.ResultBytes = 0
	}
	if v.Output != nil && v.Output.NextOffset != nil {
		v.Next = fmt.Sprintf(`There is, or will be, more: call check_task_status with output="full", stream=%q and offset=%d.`, v.Output.Stream, *v.Output.NextOffset)
	}
	return v, nil
}

func (s *Server) addOutput(ctx context.Context, v *taskResult, stdout, stderr *task.Output, a outputArgs) (err error) {
	started := !v.StartedAt.IsZero()
	if started && a.Detail {
		v.Stdout = &streamText{Bytes: v.View.Stdout.Bytes, URI: v.View.Stdout.URI}
		v.Stderr = &streamText{Bytes: v.View.Stderr.Bytes, URI: v.View.Stderr.URI}
	}
	switch {
	case a.Output == "tail" && started && stderr != nil:
		v.Stdout, v.Stderr = tailOf(stdout, a), tailOf(stderr, a)
	case a.Output == "auto" && started && v.Error != "" && stderr != nil:
		addLastWords(v, *stdout, *stderr, a)
	case a.Output == "full":
		offset := int64(a.Offset)
		v.Output = &piece{Stream: task.Stream(a.Stream), Offset: offset, NextOffset: &offset}
		if started {
			v.Output, err = s.readPiece(ctx, string(v.TaskID), v.Output.Stream, offset)
		}
		// The answer would come again with each piece.
		v.Result = nil
	}
	return err
}

// addLastWords shows of a task that ended badly what claude said last, unless
// that is the answer, and the end of stderr.
func addLastWords(v *taskResult, stdout, stderr task.Output, a outputArgs) {
	if said := saidLast(stdout); v.Result == nil || said != strings.TrimSpace(*v.Result) {
		v.Said = tail(said, lastWord)
	}
	a.TailBytes = badEnd
	if end := tailOf(&stderr, a); *end.Tail != "" {
		v.Stderr = end
	}
}

// tailOf is the end of a stream as people read it, or, raw, to the byte as far
// as it is UTF-8.
func tailOf(out *task.Output, a outputArgs) *streamText {
	asked := int64(a.TailBytes)
	data := out.Data
	if out.Stream == task.Stdout && !a.Raw {
		data = []byte(rendered(*out))
	}
	cut := out.Offset > 0 || int64(len(data)) > asked
	if cut {
		data = skipPartial(data[max(0, int64(len(data))-asked):])
	}
	text, _, _ := decodeText(data, maxResult, out.Done)
	if !a.Raw {
		text = claude.Visible(text)
	}
	st := &streamText{Tail: &text, Truncated: cut}
	if cut || a.Detail {
		st.Bytes, st.URI = out.Size, task.StreamURI(out.ID, out.Stream)
	}
	return st
}

func (s *Server) readPiece(ctx context.Context, id string, stream task.Stream, offset int64) (*piece, error) {
	out, err := s.svc.Output(ctx, engine.OutputQuery{Ref: id, Stream: stream, Offset: offset, Limit: pieceSize + 4})
	if err != nil {
		return nil, fmt.Errorf("read %s of task %s: %w", stream, id, err)
	}
	more := out.Offset+int64(len(out.Data)) < out.Size
	text, used, lossy := decodeText(out.Data, pieceSize, out.Done && !more)
	p := &piece{Stream: stream, Data: text, Offset: out.Offset, Bytes: out.Size, Lossy: lossy}
	if end := out.Offset + int64(used); !out.Done || end < out.Size {
		p.NextOffset = &end
	}
	return p, nil
}

type listArgs struct {
	IncludeFinished bool          `json:"include_finished"`
	Status          []task.Status `json:"status"`
	Name            string        `json:"name"`
	Label           string        `json:"label"`
	Search          string        `json:"search"`
	WorkingDir      string        `json:"working_dir"`
	Limit           float64       `json:"limit"`
	Cursor          string        `json:"cursor"`
	Detail          bool          `json:"detail"`
}

type listResult struct {
	Tasks      []task.View `json:"tasks"`
	NextCursor string      `json:"next_cursor,omitempty"`
	Next       string      `json:"next,omitempty"`
}

func (s *Server) list(ctx context.Context, r *request) (any, error) {
	a := listArgs{Limit: defaultList}
	if _, err := listInput().decode(r.args, &a); err != nil {
		return nil, err
	}
	f := task.Filter{Statuses: a.statuses(), Name: a.Name, Search: a.Search, Limit: int(a.Limit), Cursor: a.Cursor}
	if a.Label != "" {
		f.Labels = []string{a.Label}
	}
	if a.WorkingDir != "" {
		client, err := s.defaults()
		if err != nil {
			return nil, err
		}
		if f.WorkingDir, err = client.Resolve("working_dir", a.WorkingDir); err != nil {
			return nil, err
		}
	}
	if f.Cursor != "" {
		return s.page(ctx, f, a.Detail, "There are no more: the page before was the last one.")
	}
	if len(a.Status) > 0 || a.IncludeFinished {
		return s.page(ctx, f, a.Detail, "No task fits.")
	}
	return s.page(ctx, f, a.Detail, "No task fits. With include_finished the tasks that have ended are listed too.")
}

// page gives as many of the tasks as fit into one answer; empty is what is said
// of none.
func (s *Server) page(ctx context.Context, f task.Filter, detail bool, empty string) (toolAnswer, error) {
	for {
		page, err := s.svc.List(ctx, f)
		if err == nil {
			err = s.ownFirst(ctx, f, &page)
		}
		if err != nil {
			return nil, fmt.Errorf("list the tasks: %w", err)
		}
		v := listOf(page, detail, empty)
		if jsonSize(v) <= maxResult || f.Limit == 1 {
			return v, nil
		}
		// Only the Service knows the cursor of a shorter page.
		f.Limit /= 2
	}
}

// ownFirst puts the tasks below the one in which this server runs before all others, on
// the first page.
func (s *Server) ownFirst(ctx context.Context, f task.Filter, page *task.Page) error {
	if len(s.within) == 0 {
		return nil
	}
	cursor := f.Cursor
	f.Cursor, f.Below = "", task.ID(s.within[len(s.within)-1])
	own, err := s.svc.List(ctx, f)
	if errors.Is(err, task.ErrNotFound) {
		return nil // it is a task of another state directory
	}
	if err != nil {
		return err
	}
	page.Tasks = slices.DeleteFunc(page.Tasks, func(t task.Task) bool {
		return slices.ContainsFunc(own.Tasks, func(o task.Task) bool { return o.ID == t.ID })
	})
	if cursor == "" {
		page.Tasks = append(own.Tasks, page.Tasks...)
	}
	return nil
}

// statuses gives the inward statuses to list. Running is starting too.
func (a listArgs) statuses() []task.Status {
	want := a.Status
	if len(want) == 0 {
		if a.IncludeFinished {
			return nil
		}
		want = []task.Status{task.Queued, task.Running}
	}
	var in []task.Status
	for _, st := range task.Statuses {
		for _, w := range want {
			if st.Public() == w {
				in = append(in, st)
				break
			}
		}
	}
	return in
}

func listOf(page task.Page, detail bool, empty string) listResult {
	v := listResult{Tasks: make([]task.View, 0, len(page.Tasks)), NextCursor: page.NextCursor}
	now := time.Now()
	for _, t := range page.Tasks {
		v.Tasks = append(v.Tasks, brief(task.NewView(t, now), detail))
	}
	switch {
	case v.NextCursor != "":
		v.Next = "There are more: call list_active_tasks again with cursor set to next_cursor."
	case len(v.Tasks) > 0:
		v.Next = "check_task_status gives a task's result; with wait_seconds it waits for the end."
	default:
		v.Next = empty
	}
	return v
}

// brief leaves out of a view what a list does not need. It keeps the beginning
// of the prompt: a caller who lists tasks does not know it.
func brief(v task.View, detail bool) task.View {
	trimView(&v)
	v.Next, v.Stdout, v.Stderr, v.Result = "", nil, nil, nil
	if v.StatusMessage = clip(v.StatusMessage, 200); v.Status != task.Queued {
		v.StatusMessage = "" // of what waits it says why
	}
	v.Prompt = clip(v.Prompt, 100)
	v.Error = clip(v.Error, 200)
	if !detail {
		prompt, labels := v.Prompt, v.Labels
		r := taskResult{View: v}
		r.lean()
		v = r.View
		v.Prompt, v.Labels, v.ExitCode, v.ResultBytes, v.PollAfterMS = prompt, labels, nil, 0, 0
	}
	return v
}

// choose gives the id of the task that a call is to change. A call that is
// repeated, because its answer was lost, must not meet another one.
func (s *Server) choose(ctx context.Context, ref string, use task.Use) (id task.ID, note string, err error) {
	if ref == task.NewestRef {
		return "", "", &task.Error{Code: task.CodeAmbiguous, Message: "last may be another task when this call is repeated", Hint: "Give the task_id; list_active_tasks with include_finished shows it."}
	}
	if id, err = task.ParseID(ref); err == nil {
		return id, "", nil
	}
	t, err := s.svc.Get(ctx, ref)
	if err == nil {
		id, note, err = t.Fits().Choose(use, time.Now())
	}
	if err != nil {
		return "", "", fmt.Errorf("find task %s: %w", clip(ref, 100), err)
	}
	return id, note, nil
}

type cleanupArgs struct {
	TaskID     string `json:"task_id"`
	KeepRecord bool   `json:"keep_record"`
}

func (s *Server) cleanup(ctx context.Context, r *request) (any, error) {
	var a cleanupArgs
	if _, err := cleanupInput().decode(r.args, &a); err != nil {
		return nil, err
	}
	r.waits()
	use := task.ToChange
	if a.KeepRecord {
		use = task.ToCancel
	}
	id, note, err := s.choose(ctx, a.TaskID, use)
	if err != nil {
		return nil, err
	}
	r.progress("stopping")
	wait, cancel := context.WithTimeout(ctx, usualPatience)
	defer cancel()
	t, err := s.svc.Cancel(wait, string(id))
	switch {
	case err != nil && wait.Err() != nil && ctx.Err() == nil:
		// A full disk can keep an end from being recorded for any time.
		return nil, task.Errorf(task.CodeConflict, "Call cleanup_task again in a minute. If that does not help, see whether the disk is full.",
			"task %s was told to stop, but its end is not recorded yet", clip(a.TaskID, 100))
	case err != nil:
		return nil, fmt.Errorf("stop task %s: %w", clip(a.TaskID, 100), err)
	}
	if !a.KeepRecord {
		if err := s.svc.Remove(ctx, string(t.ID), true); err != nil {
			return nil, fmt.Errorf("remove task %s: %w", t.ID, err)
		}
	}
	removed := !a.KeepRecord
	v := &taskResult{View: brief(task.NewView(t, time.Now()), false), Removed: &removed}
	v.Prompt, v.Labels = "", nil
	v.Note, v.Next = note, "The task is stopped; its record, answer and output stay readable."
	if removed {
		v.Next = "The task and everything that was kept of it are deleted."
	}
	return v, nil
}
