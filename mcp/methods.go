package mcp

import (
	"context"
	"encoding/json"
	"errors"

	mcpgo "github.com/mark3labs/mcp-go/mcp"

	"cctask/engine/task"
)

// The eras of the protocol that a method is part of.
const (
	anyEra  = iota
	legacy  // with initialize
	modern  // from 2026-07-28 on
	ofTasks // the same, for clients that know tasks
)

type params = map[string]json.RawMessage

type method struct {
	era    int
	answer func(ctx context.Context, r *request, p params) (any, error)
}

// ownMethods are what mcp-go leaves to us: it answers initialize, discover, ping and
// the lists.
func (s *Server) ownMethods() map[string]method {
	return map[string]method{
		string(mcpgo.MethodToolsCall):            {anyEra, s.callTool},
		string(mcpgo.MethodResourcesRead):        {anyEra, s.readResource},
		string(mcpgo.MethodPromptsGet):           {anyEra, s.getPrompt},
		string(mcpgo.MethodCompletionComplete):   {anyEra, s.complete},
		string(mcpgo.MethodResourcesSubscribe):   {legacy, s.subscribe},
		string(mcpgo.MethodResourcesUnsubscribe): {legacy, s.unsubscribe},
		string(mcpgo.MethodSubscriptionsListen):  {modern, s.listen},
		"tasks/get":                              {ofTasks, s.extGet},
		"tasks/update":                           {ofTasks, s.extUpdate},
		"tasks/cancel":                           {ofTasks, s.extCancel},
	}
}

// sign says in a modern result that it is final and whose it is, as mcp-go does in its own.
func (s *Server) sign(result any) {
	m, ok := result.(mcpgo.ResultMetadata)
	if !ok {
		return
	}
	if m.GetResultType() == "" {
		m.SetResultType(mcpgo.ResultTypeComplete)
	}
	m.EnsureResultMeta().SetServerInfo(s.identity)
	if c, ok := result.(*mcpgo.ReadResourceResult); ok {
		c.SetCacheHints(0, mcpgo.CacheScopePrivate) // stale at once: a task goes on
	}
}

func (r *request) faultOf(err error) *responseError {
	if fault := (*responseError)(nil); errors.As(err, &fault) {
		return fault
	}
	if stopping(r.conn.base) && task.AsError(err).Code == task.CodeInternal {
		err = errLeft
	}
	e, text := explain(err)
	code := codeInternal
	unknown := e.Code == task.CodeNotFound || e.Code == task.CodeAmbiguous
	switch {
	case e.Code == task.CodeInvalid, unknown && r.info != nil && r.info.Modern:
		code = mcpgo.INVALID_PARAMS
	case unknown:
		code = mcpgo.RESOURCE_NOT_FOUND
	}
	return &responseError{Code: code, Message: text}
}

// text is a param that checkParams has seen to be a string, or "".
func text(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s)
	return s
}

// nothing says that there is no tool, prompt or resource of a name.
func nothing(kind, name, where string) *responseError {
	return failure(mcpgo.INVALID_PARAMS, "there is no %s %q; %s those that there are", kind, clip(name, 100), where).Error
}

func (s *Server) callTool(ctx context.Context, r *request, p params) (any, error) {
	name := text(p["name"])
	call := s.calls[name]
	if call == nil {
		return nil, nothing("tool", name, "tools/list has")
	}
	r.args = p["arguments"]
	result, err := call(ctx, r)
	// A submission learns of the end before ctx does.
	if err != nil && stopping(r.conn.base) && task.AsError(err).Code == task.CodeInternal {
		err = errLeft
	}
	if err != nil {
		return refusal(err)
	}
	if v, ok := result.(toolAnswer); ok {
		return success(v), nil
	}
	return result, nil
}
