package mcp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// maxChecked bounds the tasks that one call asks for.
const maxChecked = 200

// shortError is what an answer about several tasks has of an error, in UTF-16 units.
const shortError = 200

// checkAll answers about several tasks, in the order in which they were named, or newest
// first.
func (s *Server) checkAll(ctx context.Context, r *request, a checkArgs) (any, error) {
	switch {
	case len(a.TaskIDs) > 0 && a.Label != "":
		return nil, badArguments([]string{"label: stands beside task_ids; give one of the two"})
	case len(a.TaskIDs) == 0 && a.Label == "":
		return nil, badArguments([]string{"task_id: missing, required is that, or task_ids that name a task, or label"})
	}
	if a.WaitSeconds > 0 {
		r.taken()
	}
	tasks, note, err := s.named(ctx, a)
	if err != nil {
		return nil, err
	}
	if a.WaitSeconds > 0 {
		q := engine.WaitQuery{Until: a.Until}
		for _, t := range tasks {
			if err := s.mayWait(&t); err != nil {
				return nil, err
			}
			q.Refs = append(q.Refs, string(t.ID))
		}
		if tasks, err = s.awaitAll(ctx, r, q, seconds(a.WaitSeconds)); err != nil {
			return nil, err
		}
	}
	v := several(tasks)
	v.Note = note
	return v, nil
}

func (s *Server) named(ctx context.Context, a checkArgs) (tasks []task.Task, note string, err error) {
	if a.Label == "" {
		tasks, err = s.readAll(ctx, a.TaskIDs, false)
		// One that is named twice is one task.
		seen := map[task.ID]bool{}
		tasks = slices.DeleteFunc(tasks, func(t task.Task) bool {
			twice := seen[t.ID]
			seen[t.ID] = true
			return twice
		})
		return tasks, "", err
	}
	page, err := s.svc.List(ctx, task.Filter{Labels: []string{a.Label}, Limit: maxChecked})
	if err != nil {
		return nil, "", fmt.Errorf("list the tasks of label %s: %w", clip(a.Label, 100), err)
	}
	if len(page.Tasks) == 0 {
		return nil, "", &task.Error{Code: task.CodeNotFound, Message: fmt.Sprintf("no task has the label %q", clip(a.Label, 100))}
	}
	if page.NextCursor != "" {
		note = fmt.Sprintf("These are the newest %d tasks of the label; list_active_tasks shows them all.", maxChecked)
	}
	refs := make([]string, len(page.Tasks))
	for i, t := range page.Tasks {
		refs[i] = string(t.ID)
	}
	tasks, err = s.readAll(ctx, refs, true) // with their answers
	return tasks, note, err
}

// severalResult is the structured content about several tasks.
type severalResult struct {
	Tasks []*taskResult `json:"tasks"`
	Note  string        `json:"note,omitempty"`
	Next  string        `json:"next"`
}

// several is a short object for each task, with the answers of those that have ended, as
// much of them as there is room for.
func several(tasks []task.Task) *severalResult {
	v := &severalResult{Tasks: make([]*taskResult, len(tasks))}
	answers := make([]*string, len(tasks))
	open, bad := 0, 0
	now := time.Now()
	for i, t := range tasks {
		if t.Status == "" {
			removed := true
			v.Tasks[i] = &taskResult{View: task.View{TaskID: t.ID}, Removed: &removed}
			continue
		}
		one := &taskResult{View: task.NewView(t, now)}
		switch {
		case !t.Status.Ended():
			open++
		case t.Status != task.Completed:
			bad++
		}
		trimView(&one.View)
		one.lean()
		answers[i], one.Result = one.Result, nil
		one.Next, one.PollAfterMS, one.StatusMessage, one.Error = "", 0, clip(one.StatusMessage, shortError), clip(one.Error, shortError)
		v.Tasks[i] = one
	}
	v.Next = nextOf(len(tasks), open, bad)
	v.answer(answers)
	return v
}

// started names the tasks that a call has started, or an earlier one with the same key.
func started(tasks []task.Task) *severalResult {
	v := &severalResult{Next: "check_task_status with these task_ids and wait_seconds waits for all of them, and gives their answers."}
	for _, t := range tasks {
		one := &taskResult{View: task.View{TaskID: t.ID, Name: clip(t.Spec.Name, 300)}}
		if t.Status == "" {
			removed := true
			one.Removed = &removed
		}
		v.Tasks = append(v.Tasks, one)
	}
	return v
}

func nextOf(all, open, bad int) string {
	next := fmt.Sprintf("%d of %d have ended, %d of them not completed.", all-open, all, bad)
	if open > 0 {
		next += " Call again with wait_seconds to wait for the others."
	}
	return next + " check_task_status with one task_id shows all of one: a whole answer by output=full, the end of its output by output=tail."
}

// answer puts the answers in, each cut in its middle to an equal part of what is left.
func (v *severalResult) answer(answers []*string) {
	rest := maxResult - cutSlack - jsonSize(v)
	if rest < 0 { // names and errors without end
		for i, one := range v.Tasks {
			v.Tasks[i] = &taskResult{View: task.View{TaskID: one.TaskID, Status: one.Status, FailureReason: one.FailureReason}, Removed: one.Removed}
		}
		rest = maxResult - cutSlack - jsonSize(v)
	}
	missing := 0
	for _, a := range answers {
		if a != nil {
			missing++
		}
	}
	for i, a := range answers {
		if a == nil {
			continue
		}
		one := v.Tasks[i]
		whole := max(one.ResultBytes, int64(len(*a)))
		text, partial := wholeRunes(task.View{Result: a, ResultBytes: one.ResultBytes})
		const frame = len(`"result":"",`)
		if room := rest/missing - frame; partial || size(text) > room {
			text = middle(text, max(room, noteSize), whole)
		} else {
			one.ResultBytes = 0 // it is there
		}
		if rest/missing > noteSize+frame {
			one.Result = &text
			rest -= size(text) + frame
		}
		missing--
	}
}

func (v *severalResult) text() string {
	var b strings.Builder
	for _, one := range v.Tasks {
		if one.Removed != nil {
			fmt.Fprintf(&b, "%s: deleted\n", one.TaskID)
			continue
		}
		fmt.Fprintln(&b, strings.TrimSuffix(stateOf(one.View), ": "))
		if one.Result != nil {
			fmt.Fprintln(&b, strings.TrimRight(*one.Result, "\n"))
		}
	}
	if v.Note != "" {
		fmt.Fprintln(&b, v.Note)
	}
	return b.String() + v.Next
}
