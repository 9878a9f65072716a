package mcp

import (
	"context"
	"fmt"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// outputArgs say what of a task's output an answer carries.
type outputArgs struct {
	Output    string  `json:"output"`
	Stream    string  `json:"stream"`
	Offset    float64 `json:"offset"`
	TailBytes float64 `json:"tail_bytes"`
}

const (
	defaultTail = 8 << 10 // bytes a stream
	// pieceSize bounds a piece of a stream, as maxResult does; what is left is
	// for the rest of the task.
	pieceSize = 23_000
)

type checkArgs struct {
	TaskID      string  `json:"task_id"`
	WaitSeconds float64 `json:"wait_seconds"`
	outputArgs
}

func (s *Server) check(ctx context.Context, r *request) (any, error) {
	a := checkArgs{outputArgs: outputArgs{Output: "tail", Stream: "stdout", TailBytes: defaultTail}}
	if err := checkInput.decode(r.args, &a); err != nil {
		return nil, err
	}
	r.taken()
	t, err := s.svc.Get(ctx, a.TaskID)
	if err != nil {
		return nil, fmt.Errorf("read task %s: %w", clip(a.TaskID, 100), err)
	}
	match := t.Match
	if a.WaitSeconds > 0 {
		if t, err = s.watch(ctx, r, t, seconds(a.WaitSeconds)); err != nil {
			return nil, err
		}
		t.Match = match
	}
	return s.show(ctx, t, a.outputArgs)
}

// show makes the answer about one task.
func (s *Server) show(ctx context.Context, t task.Task, a outputArgs) (*taskResult, error) {
	v := &taskResult{View: task.NewView(t, time.Now())}
	// A server that stops answers with what it has.
	if err := s.addOutput(ctx, v, a); err != nil && !stopping(ctx) {
		return nil, err
	}
	fit(v)
	if v.Output != nil && v.Output.NextOffset != nil {
		v.Next = fmt.Sprintf(`There is, or will be, more: call check_task_status with output="full", stream=%q and offset=%d.`, v.Output.Stream, *v.Output.NextOffset)
	}
	return v, nil
}

func (s *Server) addOutput(ctx context.Context, v *taskResult, a outputArgs) (err error) {
	id := string(v.TaskID)
	started := !v.StartedAt.IsZero()
	switch {
	case a.Output == "tail" && started:
		if err = s.addTail(ctx, v.Stdout, id, task.Stdout, int64(a.TailBytes)); err == nil {
			err = s.addTail(ctx, v.Stderr, id, task.Stderr, int64(a.TailBytes))
		}
	case a.Output == "full":
		offset := int64(a.Offset)
		v.Output = &piece{Stream: task.Stream(a.Stream), Offset: offset, NextOffset: &offset}
		if started {
			v.Output, err = s.readPiece(ctx, id, v.Output.Stream, offset)
		}
		// The answer would come again with each piece.
		v.Result = nil
	}
	return err
}

func (s *Server) addTail(ctx context.Context, v *task.StreamView, id string, stream task.Stream, bytes int64) error {
	out, err := s.svc.Output(ctx, engine.OutputQuery{Ref: id, Stream: stream, Tail: bytes})
	if err != nil {
		return fmt.Errorf("read %s of task %s: %w", stream, id, err)
	}
	data := out.Data
	if out.Offset > 0 {
		data = skipPartial(data)
	}
	text, _, _ := decodeText(data, maxResult, out.Done)
	v.Tail, v.Bytes, v.Truncated = &text, out.Size, out.Offset > 0
	return nil
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
}

type listResult struct {
	Tasks      []task.View `json:"tasks"`
	NextCursor string      `json:"next_cursor,omitempty"`
	Next       string      `json:"next,omitempty"`
}

func (s *Server) list(ctx context.Context, r *request) (any, error) {
	a := listArgs{Limit: 50}
	if err := listInput.decode(r.args, &a); err != nil {
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
		if f.WorkingDir, err = client.resolve("working_dir", a.WorkingDir); err != nil {
			return nil, err
		}
	}
	return s.page(ctx, f)
}

// page gives as many of the tasks as fit into one answer.
func (s *Server) page(ctx context.Context, f task.Filter) (any, error) {
	for {
		page, err := s.svc.List(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("list the tasks: %w", err)
		}
		v := listOf(page, f)
		if jsonSize(v) <= maxResult || f.Limit == 1 {
			return v, nil
		}
		// Only the Service knows the cursor of a shorter page.
		f.Limit /= 2
	}
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

func listOf(page task.Page, f task.Filter) listResult {
	v := listResult{Tasks: make([]task.View, 0, len(page.Tasks)), NextCursor: page.NextCursor}
	now := time.Now()
	for _, t := range page.Tasks {
		v.Tasks = append(v.Tasks, brief(task.NewView(t, now)))
	}
	switch {
	case v.NextCursor != "":
		v.Next = "There are more: call list_active_tasks again with cursor set to next_cursor."
	case len(v.Tasks) > 0:
		v.Next = "check_task_status gives a task's result; with wait_seconds it waits for the end."
	case f.Statuses == nil:
		v.Next = "No task fits."
	default:
		v.Next = "No task fits. With include_finished the tasks that have ended are listed too."
	}
	return v
}

// brief leaves out of a view what a list does not need.
func brief(v task.View) task.View {
	trimView(&v)
	v.Next, v.Command, v.Usage, v.Stdout, v.Stderr, v.Result, v.StatusMessage = "", "", nil, nil, nil, nil, ""
	v.Prompt = clip(v.Prompt, 100)
	v.Error = clip(v.Error, 200)
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
	if err := cleanupInput.decode(r.args, &a); err != nil {
		return nil, err
	}
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
		return nil, &task.Error{
			Code: task.CodeConflict, Message: fmt.Sprintf("task %s was told to stop, but its end is not recorded yet", clip(a.TaskID, 100)),
			Hint: "Call cleanup_task again in a minute. If that does not help, see whether the disk is full.",
		}
	case err != nil:
		return nil, fmt.Errorf("stop task %s: %w", clip(a.TaskID, 100), err)
	}
	if !a.KeepRecord {
		if err := s.svc.Remove(ctx, string(t.ID), true); err != nil {
			return nil, fmt.Errorf("remove task %s: %w", t.ID, err)
		}
	}
	removed := !a.KeepRecord
	v := &taskResult{View: brief(task.NewView(t, time.Now())), Removed: &removed}
	v.Note, v.Next = note, "The task is stopped; its record, answer and output stay readable."
	if removed {
		v.Next = "The task and everything that was kept of it are deleted."
	}
	return v, nil
}
