// Package mcp is the MCP face of cctask: five tools, resources and prompts over
// engine.Service, on own transports: lines, and streamable HTTP. It serves both protocol eras at once: clients that
// initialize (2024-11-05 to 2025-11-25) and stateless ones (2026-07-28).
//
// It may import engine, engine/task, engine/claude (to show its events as text), zerolog, gjson and mcp-go, and is the only
// package that imports mcp-go: types, registry, discover, initialize and lists
// are mcp-go's, the transport and the schemas are ours. It must never know
// where tasks are kept or how they are run, and asks the Service nothing for
// the handshake and tools/list, because an owner may only be starting.
package mcp

import (
	"context"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/rs/zerolog"

	"cctask/engine"
	"cctask/engine/task"
)

// Config says whom a Server works for.
type Config struct {
	Service engine.Service // required
	Version string         // shown to clients; "" is shown as it is
	// Defaults gives what the front knows. It is called once a submission, so
	// that a claude that was installed meanwhile is found. Its error refuses
	// the submission. Required.
	Defaults func() (engine.Caller, error)
	Log      zerolog.Logger // the zero Logger writes nothing
	// KeepAge is how long after its end a task is kept; 0: for ever. It is told
	// to clients, nothing more.
	KeepAge time.Duration
	// Within are the tasks that this server was started in, for which no call
	// of its client may wait.
	Within task.Within
}

type Server struct {
	svc      engine.Service
	defaults func() (engine.Caller, error)
	log      zerolog.Logger
	mcp      *server.MCPServer
	methods  map[string]method
	calls    map[string]toolCall // by the tool's name
	identity mcpgo.Implementation
	keep     time.Duration
	within   task.Within
	tasks    extTasks
	bounds   bounds
	watches  watches
}

// instructions are what a model reads before it sees any tool.
const instructions = `cctask runs Claude Code tasks in parallel and keeps every result. A task is a separate claude that sees only its prompt and its working directory, so write prompts that stand alone.

One task: execute_cc_task starts it and waits for the answer.

Several at once:
1. Call start_cc_task_async once for each task; every call returns a task_id at once.
2. Then call check_task_status once, with all task_ids (or a label that all have) and wait_seconds (600, or 50 where a call is cut off after a minute). It returns when all have ended; with until=any or first_failure sooner. Do not poll without wait_seconds.

Tasks outlive this session and this server: a task_id stays valid, and list_active_tasks (include_finished) finds it again. Every result has a status and a "next" that says what to do. Only "completed" is success; else read failure_reason and error. cleanup_task stops a task and deletes it.`

// cacheTime is how long a client may keep the lists and the discovery, in
// milliseconds: none changes while the process lives.
const cacheTime = 3_600_000

// New makes a Server. It does not touch the Service.
func New(c Config) *Server {
	s := &Server{svc: c.Service, defaults: c.Defaults, log: c.Log, keep: c.KeepAge, within: c.Within, bounds: defaultBounds}
	s.tasks = ownTasks{s}
	s.identity = mcpgo.Implementation{
		Name: "cctask", Version: c.Version, Title: "cctask", Description: "Runs Claude Code tasks in parallel and keeps their results.",
	}
	s.mcp = server.NewMCPServer(s.identity.Name, s.identity.Version,
		server.WithTitle(s.identity.Title),
		server.WithDescription(s.identity.Description),
		server.WithInstructions(instructions),
		server.WithToolCapabilities(false),
		server.WithResourceCapabilities(true, false),
		server.WithPromptCapabilities(false),
		server.WithExtensions(map[string]any{tasksExtension: map[string]any{}}),
		server.WithHooks(hooks()),
		server.WithCompletions(),
	)
	for _, m := range []mcpgo.MCPMethod{
		mcpgo.MethodToolsList, mcpgo.MethodServerDiscover, mcpgo.MethodResourcesList, mcpgo.MethodResourcesTemplatesList, mcpgo.MethodPromptsList,
	} {
		server.WithMethodCacheHints(m, cacheTime, mcpgo.CacheScopePrivate)(s.mcp)
	}
	s.addResources()
	s.addPrompts()
	s.methods, s.calls = s.ownMethods(), map[string]toolCall{}
	for _, t := range s.tools() {
		s.mcp.AddTool(t.describe(), nil)
		s.calls[t.name] = t.call
	}
	return s
}

// hooks keep the extension, which is of the modern era, from legacy clients.
func hooks() *server.Hooks {
	h := &server.Hooks{}
	h.AddAfterInitialize(func(_ context.Context, _ any, _ *mcpgo.InitializeRequest, result *mcpgo.InitializeResult) {
		result.Capabilities.Extensions = nil
	})
	return h
}
