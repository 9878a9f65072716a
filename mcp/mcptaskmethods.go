package mcp

import (
	"context"
	"encoding/json"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

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
