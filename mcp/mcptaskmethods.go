package mcp

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"cctask/engine/task"
)

// taskParams are the parameters of all methods of tasks.
type taskParams struct {
	Meta      json.RawMessage            `json:"_meta"`
	TaskID    *string                    `json:"taskId"`
	Cursor    string                     `json:"cursor"`
	Responses map[string]json.RawMessage `json:"inputResponses"`
}

type taskMethod func(s *Server, ctx context.Context, r *request, p taskParams) (any, error)

// The methods of each protocol. mcp-go's own know only tasks that it ran itself.
var (
	legacyTaskMethods = map[string]taskMethod{
		"tasks/get": (*Server).taskGet, "tasks/result": (*Server).taskResult, "tasks/list": (*Server).taskList, "tasks/cancel": (*Server).taskCancel,
	}
	extTaskMethods = map[string]taskMethod{
		"tasks/get": (*Server).extGet, "tasks/update": (*Server).extUpdate, "tasks/cancel": (*Server).extCancel,
	}
)

// taskCall answers a method of tasks; ok is false for any other method.
func (s *Server) taskCall(ctx context.Context, r *request, params json.RawMessage) (answer response, ok bool) {
	if legacyTaskMethods[r.method] == nil && extTaskMethods[r.method] == nil {
		return response{}, false
	}
	var p taskParams
	if len(params) > 0 && json.Unmarshal(params, &p) != nil {
		return failure(mcpgo.INVALID_PARAMS, "%s: the params are malformed", r.method), true
	}
	info, refusal := protocolOf(p.Meta)
	if refusal != nil {
		return response{Error: refusal}, true
	}
	ctx = server.WithRequestProtocolInfo(ctx, info)
	method := legacyTaskMethods[r.method]
	if info.Modern {
		method = extTaskMethods[r.method]
	}
	switch {
	case method == nil:
		return failure(mcpgo.METHOD_NOT_FOUND, "%s is not a method of protocol version %s", r.method, cmp.Or(info.ProtocolVersion, tasksRevision)), true
	case info.Modern && !declaresTasks(ctx):
		return response{Error: errNoExtension}, true
	case p.TaskID == nil && r.method != "tasks/list":
		return failure(mcpgo.INVALID_PARAMS, "%s: taskId is missing", r.method), true
	}
	r.token = progressToken(p.Meta)
	result, err := method(s, ctx, r, p)
	if err != nil {
		return response{Error: r.taskFault(ctx, err)}, true
	}
	return response{Result: result}, true
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

// taskFault turns err into the error of a method of tasks, or of a tool call
// that was to become a task: both have no result that could carry it.
func (r *request) taskFault(ctx context.Context, err error) *responseError {
	_ = r.fail(ctx, err, nil)
	if r.fault.Code == mcpgo.RESOURCE_NOT_FOUND {
		r.fault.Code = mcpgo.INVALID_PARAMS
	}
	return r.fault
}

func (s *Server) taskGet(ctx context.Context, _ *request, p taskParams) (any, error) {
	t, err := ownTasks{s}.find(ctx, *p.TaskID)
	if err != nil {
		return nil, err
	}
	return mcpgo.GetTaskResult{Task: s.mcpTask(t)}, nil
}

// taskResult waits for the task's end. A client that cancels the request only
// stops waiting.
func (s *Server) taskResult(ctx context.Context, r *request, p taskParams) (any, error) {
	t, err := ownTasks{s}.find(ctx, *p.TaskID)
	if err == nil {
		r.taken()
		t, err = s.watch(ctx, r, t, 0)
	}
	if err != nil {
		return nil, err
	}
	if !t.Status.Ended() { // the server ends, and only a final result may be given
		return nil, errLeft
	}
	result, err := s.toolResult(ctx, t)
	if err != nil {
		return nil, err
	}
	result.Meta = &mcpgo.Meta{AdditionalFields: map[string]any{relatedTask: map[string]any{"taskId": *p.TaskID}}}
	return result, nil
}

// taskPage is the number of tasks in an answer to tasks/list.
const taskPage = 100

func (s *Server) taskList(ctx context.Context, _ *request, p taskParams) (any, error) {
	page, err := s.svc.List(ctx, task.Filter{Limit: taskPage, Cursor: p.Cursor})
	if err != nil {
		return nil, fmt.Errorf("list the tasks: %w", err)
	}
	list := mcpgo.ListTasksResult{Tasks: make([]mcpgo.Task, 0, len(page.Tasks))}
	list.NextCursor = mcpgo.Cursor(page.NextCursor)
	for _, t := range page.Tasks {
		list.Tasks = append(list.Tasks, s.mcpTask(t))
	}
	return list, nil
}

func (s *Server) taskCancel(ctx context.Context, _ *request, p taskParams) (any, error) {
	t, err := ownTasks{s}.find(ctx, *p.TaskID)
	if err == nil && !t.Status.Ended() {
		t, err = s.svc.Cancel(ctx, *p.TaskID)
		if err == nil && t.Status == task.Cancelled {
			return mcpgo.CancelTaskResult{Task: s.mcpTask(t)}, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stop task %s: %w", *p.TaskID, err)
	}
	// It had ended, or ended by itself before the cancel reached it.
	return nil, &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("task %s has ended (%s) and cannot be cancelled", t.ID, t.Status)}
}

func (s *Server) extGet(ctx context.Context, _ *request, p taskParams) (any, error) {
	e, err := s.tasks.get(ctx, *p.TaskID)
	if err != nil {
		return nil, err
	}
	return s.signed(e), nil
}

func (s *Server) extUpdate(ctx context.Context, _ *request, p taskParams) (any, error) {
	if p.Responses == nil {
		return nil, &task.Error{Code: task.CodeInvalid, Message: "inputResponses is missing"}
	}
	return s.acknowledge(s.tasks.update(ctx, *p.TaskID, p.Responses))
}

func (s *Server) extCancel(ctx context.Context, _ *request, p taskParams) (any, error) {
	return s.acknowledge(s.tasks.cancel(ctx, *p.TaskID))
}

func (s *Server) acknowledge(err error) (any, error) {
	if err != nil {
		return nil, err
	}
	ack := &mcpgo.Result{}
	ack.ResultType = mcpgo.ResultTypeComplete
	ack.EnsureResultMeta().SetServerInfo(s.identity)
	return ack, nil
}

// knownTasks gives the tasks that a subscriptions/listen can follow, by the URIs
// that stand for them at the watches.
func (r *request) knownTasks(ctx context.Context, meta json.RawMessage, ids []string) (byURI map[string]string, bad *responseError) {
	byURI = map[string]string{}
	if len(ids) == 0 {
		return byURI, nil
	}
	info, bad := protocolOf(meta)
	switch {
	case bad != nil:
		return nil, bad
	case !declaresTasks(server.WithRequestProtocolInfo(ctx, info)):
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
