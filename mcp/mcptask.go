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
// outlives the server. It is part of an extension of 2026-07-28: the client says in
// a request that it knows tasks.

// tasksExtension names the extension in capabilities.
const tasksExtension = "io.modelcontextprotocol/tasks"

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
	task.Skipped:     mcpgo.TaskStatusCancelled,
}

func (s *Server) extTaskOf(t task.Task) *extTask {
	now := time.Now()
	v := task.NewView(t, now)
	e := &extTask{
		TaskID: string(t.ID), Status: mcpStatuses[t.Status],
		CreatedAt: t.CreatedAt.Format(time.RFC3339Nano), LastUpdatedAt: t.CreatedAt.Format(time.RFC3339Nano),
		TTLMS: s.ttl(t),
	}
	if n := len(t.History); n > 0 {
		e.LastUpdatedAt = t.History[n-1].At.Format(time.RFC3339Nano)
	}
	switch {
	case !t.Status.Ended():
		poll := int64(v.PollAfterMS)
		e.PollIntervalMS, e.StatusMessage = &poll, progressText(t, now)
	case t.Status == task.Completed, t.Status == task.Cancelled:
		e.StatusMessage = clip(t.Message, 500)
	default: // completed, to MCP
		e.StatusMessage = clip(string(t.Status)+": "+v.Error, 500)
	}
	return e
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

// declaresTasks tells whether the client of a modern request knows the extension.
func (r *request) declaresTasks() bool {
	return r.info.Modern && r.info.ClientCapabilities.Extensions[tasksExtension] != nil
}

// answersWithTask decides whether execute_cc_task answers at once, with an MCP
// task, and does not wait. A client that knows the extension gets one, because
// whatever happens to a handle, nothing is lost, but not where max_wait_seconds says
// how long the caller itself means to wait, nor where the task has already ended.
func (r *request) answersWithTask(st task.Status, a runArgs) bool {
	return r.declaresTasks() && a.MaxWaitSeconds == nil && !st.Ended()
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
	e := o.extTaskOf(t)
	if e.Status == mcpgo.TaskStatusCompleted {
		v, err := o.show(ctx, &t, outputArgs{Output: "auto"}) // as execute_cc_task answers
		if err != nil {
			return nil, err
		}
		result := success(v)
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

// errNoExtension answers a modern client that did not say that it knows tasks.
var errNoExtension = &responseError{
	Code: mcpgo.MISSING_REQUIRED_CLIENT_CAPABILITY, Message: "missing required client capability: declare the extension " + tasksExtension + " in this request",
	Data: map[string]any{"requiredCapabilities": map[string]any{"extensions": map[string]any{tasksExtension: map[string]any{}}}},
}

// protocolOf reads a request's era from its _meta, as mcp-go does for the
// methods that it knows.
func protocolOf(raw json.RawMessage) (*server.RequestProtocolInfo, *responseError) {
	var meta *mcpgo.Meta
	if len(raw) > 0 && json.Unmarshal(raw, &meta) != nil {
		return nil, failure(mcpgo.INVALID_PARAMS, "_meta is malformed").Error
	}
	info := &server.RequestProtocolInfo{ProtocolVersion: meta.ProtocolVersion(), ClientInfo: meta.ClientInfo(), ClientCapabilities: meta.ClientCapabilities()}
	info.Modern = mcpgo.IsModernProtocol(info.ProtocolVersion)
	switch {
	case !info.Modern:
	case !mcpgo.IsValidProtocolVersion(info.ProtocolVersion):
		e := mcpgo.UnsupportedProtocolVersionError{Version: info.ProtocolVersion, Supported: mcpgo.ValidProtocolVersions}.JSONRPCError().Error
		return nil, &responseError{Code: e.Code, Message: e.Message, Data: e.Data}
	case info.ClientCapabilities == nil:
		return nil, failure(mcpgo.INVALID_PARAMS, "missing or invalid _meta field %s", mcpgo.MetaKeyClientCapabilities).Error
	}
	return info, nil
}

func (s *Server) extGet(ctx context.Context, _ *request, p params) (any, error) {
	return s.tasks.get(ctx, text(p["taskId"]))
}

func (s *Server) extUpdate(ctx context.Context, _ *request, p params) (any, error) {
	if p["inputResponses"] == nil {
		return nil, failure(mcpgo.INVALID_PARAMS, "tasks/update: inputResponses: missing, required is %s", anObject.Allowed()).Error
	}
	return &mcpgo.Result{}, s.tasks.update(ctx, text(p["taskId"]), members(p["inputResponses"]))
}

func (s *Server) extCancel(ctx context.Context, r *request, p params) (any, error) {
	r.waits()
	return &mcpgo.Result{}, s.tasks.cancel(ctx, text(p["taskId"]))
}

// knownTasks gives the tasks that a subscriptions/listen can follow, by the URIs
// that stand for them at the watches.
func (r *request) knownTasks(ctx context.Context, ids []string) (byURI map[string]string, bad *responseError) {
	byURI = map[string]string{}
	if len(ids) == 0 {
		return byURI, nil
	}
	switch {
	case !r.declaresTasks():
		return nil, errNoExtension
	case len(ids) > maxSubscriptions:
		return nil, failure(mcpgo.INVALID_PARAMS, "taskIds: %d given, at most %d are allowed", len(ids), maxSubscriptions).Error
	}
	for _, id := range ids {
		if _, err := (ownTasks{r.conn.srv}).find(ctx, id); err == nil {
			byURI[uriScheme+id+"?mcp-task"] = id
		}
	}
	return byURI, nil
}

// tellTask sends what tasks/get would answer now.
func (r *request) tellTask(ctx context.Context, id string) {
	e, err := r.conn.srv.tasks.get(ctx, id)
	if err != nil {
		return // removed, and then there is nothing to tell
	}
	e.Meta = &mcpgo.Meta{AdditionalFields: map[string]any{mcpgo.MetaKeySubscriptionID: r.id}}
	r.notify("notifications/tasks", e)
}
