package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"cctask/engine/task"
)

// An MCP task is a task of ours: the same id, whoever started it, so that it
// outlives the server. Two protocols show it: that of 2025-11-25, where the
// client asks for a task by the "task" parameter, and the extension of
// 2026-07-28, where the client only says that it knows tasks.

// tasksExtension names the extension in capabilities.
const tasksExtension = "io.modelcontextprotocol/tasks"

// The one revision that has tasks in its core, and the keys of _meta there.
const (
	tasksRevision     = "2025-11-25"
	relatedTask       = "io.modelcontextprotocol/related-task"
	immediateResponse = "io.modelcontextprotocol/model-immediate-response"
)

// mcpStatuses maps a task's status. A task that failed is completed here: its
// answer is a result that says so, as execute_cc_task gives it, and the failed
// of MCP means a JSON-RPC error in place of a result.
var mcpStatuses = map[task.Status]mcpgo.TaskStatus{
	task.Queued:      mcpgo.TaskStatusWorking,
	task.Starting:    mcpgo.TaskStatusWorking,
	task.Running:     mcpgo.TaskStatusWorking,
	task.Completed:   mcpgo.TaskStatusCompleted,
	task.Failed:      mcpgo.TaskStatusCompleted,
	task.Timeout:     mcpgo.TaskStatusCompleted,
	task.Interrupted: mcpgo.TaskStatusCompleted,
	task.Cancelled:   mcpgo.TaskStatusCancelled,
}

// mcpTask shows t as the protocol of 2025-11-25 does.
func (s *Server) mcpTask(t task.Task) mcpgo.Task {
	now := time.Now()
	v := task.NewView(t, now)
	m := mcpgo.Task{
		TaskId: string(t.ID), Status: mcpStatuses[t.Status],
		CreatedAt: t.CreatedAt.Format(time.RFC3339Nano), LastUpdatedAt: t.CreatedAt.Format(time.RFC3339Nano),
		TTL: s.ttl(t),
	}
	if n := len(t.History); n > 0 {
		m.LastUpdatedAt = t.History[n-1].At.Format(time.RFC3339Nano)
	}
	switch {
	case !t.Status.Ended():
		poll := int64(v.PollAfterMS)
		m.PollInterval, m.StatusMessage = &poll, progressText(t, now)
	case t.Status == task.Completed, t.Status == task.Cancelled:
		m.StatusMessage = clip(t.Message, 500)
	default: // completed, to MCP
		m.StatusMessage = clip(string(t.Status)+": "+v.Error, 500)
	}
	return m
}

// ttl is how long after its creation t may be deleted, in milliseconds; nil
// means not yet known. The time that a task is kept begins with its end, so a
// client's wish has no say.
func (s *Server) ttl(t task.Task) *int64 {
	if s.keep == 0 || !t.Status.Ended() {
		return nil
	}
	ms := t.FinishedAt.Add(s.keep).Sub(t.CreatedAt).Milliseconds()
	return &ms
}

// extTask is a task as the extension shows it.
type extTask struct {
	mcpgo.Result
	TaskID         string           `json:"taskId"`
	Status         mcpgo.TaskStatus `json:"status"`
	StatusMessage  string           `json:"statusMessage,omitempty"`
	CreatedAt      string           `json:"createdAt"`
	LastUpdatedAt  string           `json:"lastUpdatedAt"`
	TTLMS          *int64           `json:"ttlMs"`
	PollIntervalMS *int64           `json:"pollIntervalMs,omitempty"`
	// Of tasks/get, by status.
	Outcome any                 `json:"result,omitempty"`
	Failure *responseError      `json:"error,omitempty"`
	Inputs  mcpgo.InputRequests `json:"inputRequests,omitempty"`
}

func newExtTask(m mcpgo.Task) *extTask {
	return &extTask{
		TaskID: m.TaskId, Status: m.Status, StatusMessage: m.StatusMessage, CreatedAt: m.CreatedAt, LastUpdatedAt: m.LastUpdatedAt,
		TTLMS: m.TTL, PollIntervalMS: m.PollInterval,
	}
}

// toolResult is what execute_cc_task answers about a task.
func (s *Server) toolResult(ctx context.Context, t task.Task) (*mcpgo.CallToolResult, error) {
	v, err := s.show(ctx, t, outputArgs{Output: "auto"})
	if err != nil {
		return nil, err
	}
	return success(v)
}

// declaresTasks tells whether the client of a modern request knows the extension.
func declaresTasks(ctx context.Context) bool {
	info := server.RequestProtocolInfoFromContext(ctx)
	return info != nil && info.Modern && info.ClientCapabilities.Extensions[tasksExtension] != nil
}

// asksForTask tells whether a legacy tool call asks to be answered with a task.
func (r *request) asksForTask(ctx context.Context) bool {
	return r.task && !server.IsModernRequest(ctx)
}

// answersWithTask decides whether execute_cc_task answers at once, with an MCP
// task, and does not wait. A legacy client asks for it. A modern client that
// knows the extension gets one, because whatever happens to a handle, nothing is
// lost, but not where max_wait_seconds says how long the caller itself means to
// wait, nor where the task has already ended.
func (r *request) answersWithTask(ctx context.Context, t task.Task, a runArgs) bool {
	return r.asksForTask(ctx) || declaresTasks(ctx) && a.MaxWaitSeconds == nil && !t.Status.Ended()
}

// promise makes an MCP task the answer of the tool call, in place of what the
// tool returns.
func (s *Server) promise(ctx context.Context, r *request, t task.Task) {
	m := s.mcpTask(t)
	if server.IsModernRequest(ctx) {
		created := newExtTask(m)
		created.ResultType = "task"
		r.instead = s.signed(created)
		return
	}
	r.instead = mcpgo.CreateTaskResult{Task: m, Result: mcpgo.Result{Meta: &mcpgo.Meta{AdditionalFields: map[string]any{
		relatedTask:       map[string]any{"taskId": m.TaskId},
		immediateResponse: fmt.Sprintf("Task %s is recorded and runs on by itself. %s", t.ID, task.NewView(t, time.Now()).Next),
	}}}}
}

// signed names the server in a modern result, as mcp-go does in its own.
func (s *Server) signed(e *extTask) *extTask {
	e.EnsureResultMeta().SetServerInfo(s.identity)
	if e.ResultType == "" {
		e.ResultType = mcpgo.ResultTypeComplete
	}
	return e
}

// taskHooks tell each era only of its own protocol for tasks.
func taskHooks() *server.Hooks {
	h := &server.Hooks{}
	h.AddAfterInitialize(func(_ context.Context, _ any, _ *mcpgo.InitializeRequest, result *mcpgo.InitializeResult) {
		result.Capabilities.Extensions = nil
		if result.ProtocolVersion != tasksRevision {
			result.Capabilities.Tasks = nil
		}
	})
	h.AddAfterDiscover(func(_ context.Context, _ any, _ *mcpgo.DiscoverRequest, result *mcpgo.DiscoverResult) {
		result.Capabilities.Tasks = nil
	})
	h.AddAfterListTools(func(ctx context.Context, _ any, _ *mcpgo.ListToolsRequest, result *mcpgo.ListToolsResult) {
		if server.IsModernRequest(ctx) {
			for i := range result.Tools { // copies, made for this answer
				result.Tools[i].Execution = nil
			}
		}
	})
	return h
}

// extTasks is where the methods of the extension find tasks: the Service, and,
// in the tests that the conformance suite drives, the suite's fixtures.
type extTasks interface {
	// get gives a task with all that it has by now.
	get(ctx context.Context, id string) (*extTask, error)
	// cancel stops a task; one that has ended stays as it is.
	cancel(ctx context.Context, id string) error
	// update brings answers to what a task asked the client.
	update(ctx context.Context, id string, answers map[string]json.RawMessage) error
}

// ownTasks are the Service's.
type ownTasks struct{ *Server }

// find gives the task of that very id: a name may mean another task tomorrow.
func (o ownTasks) find(ctx context.Context, id string) (task.Task, error) {
	if parsed, err := task.ParseID(id); err != nil || string(parsed) != id {
		return task.Task{}, &task.Error{Code: task.CodeNotFound, Message: fmt.Sprintf("no task %q", clip(id, 100))}
	}
	t, err := o.svc.Get(ctx, id)
	if err != nil {
		return task.Task{}, fmt.Errorf("read task %s: %w", id, err)
	}
	return t, nil
}

func (o ownTasks) get(ctx context.Context, id string) (*extTask, error) {
	t, err := o.find(ctx, id)
	if err != nil {
		return nil, err
	}
	e := newExtTask(o.mcpTask(t))
	if e.Status == mcpgo.TaskStatusCompleted {
		result, err := o.toolResult(ctx, t)
		if err != nil {
			return nil, err
		}
		result.ResultType = mcpgo.ResultTypeComplete
		e.Outcome = result
	}
	return e, nil
}

func (o ownTasks) cancel(ctx context.Context, id string) error {
	if _, err := o.find(ctx, id); err != nil {
		return err
	}
	if _, err := o.svc.Cancel(ctx, id); err != nil {
		return fmt.Errorf("stop task %s: %w", id, err)
	}
	return nil
}

// update has nobody to bring the answers to: our tasks ask the client nothing,
// and answers that nobody asked for are to be ignored.
func (o ownTasks) update(ctx context.Context, id string, _ map[string]json.RawMessage) error {
	_, err := o.find(ctx, id)
	return err
}
