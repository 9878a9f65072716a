package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"cctask/engine/task"
)

// fixtures are the tools that the scenarios tasks-* of the official conformance
// suite call, and their tasks. They stand on the Server itself, so that the
// suite judges our transport and our methods; five tools that start claude could
// not make it see a task that asks the client something, or one that fails.
type fixtures struct {
	srv   *Server
	mu    sync.Mutex
	tasks map[string]*fixtureTask
}

// fixtureTask is a tool call that goes on by itself.
type fixtureTask struct {
	cancel context.CancelFunc

	mu      sync.Mutex
	seen    extTask // as tasks/get shows it
	answers map[string]chan json.RawMessage
}

// fixtureWork is what a tool does; t is nil where it is called without a task.
type fixtureWork func(ctx context.Context, t *fixtureTask, args json.RawMessage) (*mcpgo.CallToolResult, *responseError)

// newFixtureServer is a Server with the suite's tools in place of ours.
func newFixtureServer() *Server {
	s := New(Config{Service: newFake(), Version: "1.2.3", Defaults: defaults})
	s.mcp.SetTools()
	f := &fixtures{srv: s, tasks: map[string]*fixtureTask{}}
	s.tasks = f
	f.register("greet", func(_ context.Context, r *request) (any, error) {
		var a struct{ Name string }
		_ = json.Unmarshal(r.args, &a)
		return mcpgo.NewToolResultText("Hello, " + a.Name + "!"), nil
	})
	f.add("slow_compute", false, slowCompute)
	f.add("failing_job", true, func(context.Context, *fixtureTask, json.RawMessage) (*mcpgo.CallToolResult, *responseError) {
		return mcpgo.NewToolResultError("the job failed"), nil
	})
	f.add("protocol_error_job", false, func(context.Context, *fixtureTask, json.RawMessage) (*mcpgo.CallToolResult, *responseError) {
		return nil, failure(codeInternal, "the job broke").Error
	})
	f.add("confirm_delete", false, func(ctx context.Context, t *fixtureTask, _ json.RawMessage) (*mcpgo.CallToolResult, *responseError) {
		return t.ask(ctx, "confirm")
	})
	f.add("multi_input", false, func(ctx context.Context, t *fixtureTask, _ json.RawMessage) (*mcpgo.CallToolResult, *responseError) {
		return t.ask(ctx, "first", "second")
	})
	f.register("test_tool_with_task", nil)
	s.methods["tools/call"] = method{anyEra, func(ctx context.Context, r *request, p params) (any, error) {
		if text(p["name"]) == "test_tool_with_task" {
			return f.askThenRun(r, p)
		}
		return s.callTool(ctx, r, p)
	}}
	return s
}

func (f *fixtures) register(name string, call toolCall) {
	f.srv.mcp.AddTool(fixtureTool(name), nil)
	f.srv.calls[name] = call
}

func fixtureTool(name string) mcpgo.Tool {
	return mcpgo.NewTool(name, mcpgo.WithDescription("A fixture of the conformance suite."))
}

// add registers a tool that runs as a task where the client knows the extension.
func (f *fixtures) add(name string, required bool, work fixtureWork) {
	f.register(name, func(ctx context.Context, r *request) (any, error) {
		switch {
		case r.declaresTasks():
			return f.start(r, work), nil
		case required:
			return nil, errNoExtension
		}
		result, fault := work(ctx, nil, r.args)
		if fault != nil {
			return nil, fault
		}
		return result, nil
	})
}

func (f *fixtures) start(r *request, work fixtureWork) *extTask {
	ctx, cancel := context.WithCancel(context.Background())
	now, poll, ttl := time.Now(), int64(200), int64(600_000)
	t := &fixtureTask{cancel: cancel, answers: map[string]chan json.RawMessage{}}
	t.seen = extTask{TaskID: string(task.NewID(now)), Status: mcpgo.TaskStatusWorking, PollIntervalMS: &poll, TTLMS: &ttl, CreatedAt: now.Format(time.RFC3339Nano)}
	t.set(func(*extTask) {})
	f.mu.Lock()
	f.tasks[t.seen.TaskID] = t
	f.mu.Unlock()
	created := t.seen
	created.ResultType = "task"
	go func() {
		result, fault := work(ctx, t, r.args)
		t.set(func(e *extTask) {
			switch {
			case ctx.Err() != nil:
				e.Status = mcpgo.TaskStatusCancelled
			case fault != nil:
				e.Status, e.Failure = mcpgo.TaskStatusFailed, fault
			default:
				result.ResultType = mcpgo.ResultTypeComplete
				e.Status, e.Outcome = mcpgo.TaskStatusCompleted, result
			}
		})
	}()
	return &created
}

func (t *fixtureTask) set(change func(*extTask)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.seen)
	t.seen.LastUpdatedAt = time.Now().Format(time.RFC3339Nano)
}

// ask has the client answer all keys before the task ends.
func (t *fixtureTask) ask(ctx context.Context, keys ...string) (*mcpgo.CallToolResult, *responseError) {
	if t == nil {
		return nil, errNoExtension
	}
	answers := map[string]chan json.RawMessage{}
	for _, key := range keys {
		answers[key] = make(chan json.RawMessage, 1)
	}
	t.set(func(e *extTask) {
		t.answers = maps.Clone(answers)
		e.Status, e.Inputs = mcpgo.TaskStatusInputRequired, mcpgo.InputRequests{}
		for _, key := range keys {
			e.Inputs[key] = nameRequest()
		}
	})
	for _, key := range keys {
		select {
		case <-answers[key]:
		case <-ctx.Done():
			t.set(func(e *extTask) { e.Inputs = nil })
			return nil, nil
		}
	}
	return mcpgo.NewToolResultText("thank you"), nil
}

func nameRequest() mcpgo.InputRequest {
	return mcpgo.NewElicitationInputRequest(mcpgo.ElicitationParams{
		Mode: "form", Message: "Your name?",
		RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}},
	})
}

func slowCompute(ctx context.Context, _ *fixtureTask, args json.RawMessage) (*mcpgo.CallToolResult, *responseError) {
	var a struct{ Seconds float64 }
	_ = json.Unmarshal(args, &a)
	select {
	case <-time.After(seconds(a.Seconds)):
	case <-ctx.Done():
	}
	return mcpgo.NewToolResultText("computed"), nil
}

// askThenRun asks in a round trip of its own, before there is a task.
func (f *fixtures) askThenRun(r *request, p params) (any, error) {
	var answers mcpgo.InputResponses
	if given := p["inputResponses"]; given != nil {
		if err := json.Unmarshal(given, &answers); err != nil {
			return nil, err
		}
	}
	answer, ok := answers["user_name"]
	if !ok {
		b := server.NewInputRequestBuilder("")
		return b.Elicit("user_name", *nameRequest().Elicitation).ToolResult(), nil
	}
	if err := answer.DecodeFor(mcpgo.MethodElicitationCreate); err != nil {
		return nil, err
	}
	return f.start(r, func(context.Context, *fixtureTask, json.RawMessage) (*mcpgo.CallToolResult, *responseError) {
		return mcpgo.NewToolResultText(fmt.Sprint("Hello, ", answer.Elicitation.Content)), nil
	}), nil
}

func (f *fixtures) find(id string) (*fixtureTask, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.tasks[id]; t != nil {
		return t, nil
	}
	return nil, &task.Error{Code: task.CodeNotFound, Message: "no task " + id}
}

func (f *fixtures) get(_ context.Context, id string) (*extTask, error) {
	t, err := f.find(id)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := t.seen
	seen.Inputs = maps.Clone(t.seen.Inputs)
	return &seen, nil
}

func (f *fixtures) cancel(_ context.Context, id string) error {
	t, err := f.find(id)
	if err == nil {
		t.cancel()
	}
	return err
}

func (f *fixtures) update(_ context.Context, id string, answers map[string]json.RawMessage) error {
	t, err := f.find(id)
	if err != nil {
		return err
	}
	t.set(func(e *extTask) {
		for key, answer := range answers {
			if c := t.answers[key]; c != nil {
				c <- answer
				delete(t.answers, key)
				delete(e.Inputs, key)
			}
		}
		if e.Status == mcpgo.TaskStatusInputRequired && len(t.answers) == 0 {
			e.Status = mcpgo.TaskStatusWorking
		}
	})
	return nil
}
