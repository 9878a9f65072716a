package mcp

import (
	"context"
	"embed"
	"encoding/json"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

//go:embed schemas
var schemaFiles embed.FS

// tool is one row of the tool table.
type tool struct {
	name, title, description string
	input, output            string // files in schemas
	readOnly, destructive    bool
	idempotent, openWorld    bool
	asTask                   bool // may be called as an MCP task
	meta                     map[string]any
	call                     func(ctx context.Context, r *request) (any, error)
}

// What Claude Code does with a tool, by its own keys.
const (
	alwaysLoad = "anthropic/alwaysLoad"         // show the schema in the first prompt
	maxChars   = "anthropic/maxResultSizeChars" // a larger result goes into a file
)

func (s *Server) tools() []*tool {
	return []*tool{
		{
			name: "execute_cc_task", title: "Run a Claude Code task and wait for its answer",
			description: `Start a Claude Code task and wait until it ends; the answer is in "result". Use it for one task whose answer you need now. For several tasks, or one that may take long, use start_cc_task_async and check_task_status instead: calls of this tool may run one after the other.

The task is recorded before it starts and outlives this call: if the call is cut off by a time limit, list_active_tasks finds the task and check_task_status gets its answer. After max_wait_seconds (left out: no limit in Claude Code, 50 in other clients) it returns with status "running" while the task goes on. Cancelling the call cancels the task.

A task that ended badly is a normal answer with status failed, timeout, cancelled or interrupted, a failure_reason and an error. Results and output are kept (by default for 30 days after the end).`,
			input: "run.json", output: "task.out.json", destructive: true, openWorld: true, asTask: true,
			meta: map[string]any{alwaysLoad: true}, call: s.execute,
		},
		{
			name: "start_cc_task_async", title: "Start a Claude Code task",
			description: `Start a Claude Code task and return its task_id at once; the task is durably recorded when the answer comes. Use it to run tasks in parallel: call it once for each task, then wait for all of them with parallel check_task_status calls that have wait_seconds.

Tasks beyond the number that may run at once wait in a queue (status "queued"), first in, first out. Tasks that change files should have different working directories or files.

Results and output are kept (by default for 30 days after the end).`,
			input: "run.json", output: "task.out.json", destructive: true, openWorld: true,
			meta: map[string]any{alwaysLoad: true}, call: s.startAsync,
		},
		{
			name: "check_task_status", title: "Ask for, or wait for, a Claude Code task",
			description: `Get a task's status, answer and output. With wait_seconds the call waits and returns as soon as the task ends: the right way to wait, several calls in one message wait in parallel. Without it the call returns at once. Cancelling the call only stops the waiting.

A short answer is whole in "result"; a long one is cut in its middle, with a note. By default the last 8 KiB of stdout (claude's event stream) and stderr come along; output="none" leaves them out. output="full" reads a stream (stdout, stderr, result) from offset on; go on with next_offset.

Only status "completed" is success. failed, timeout, cancelled and interrupted carry failure_reason and error. "next" says what to do.`,
			input: "check.json", output: "task.out.json", readOnly: true, idempotent: true,
			meta: map[string]any{alwaysLoad: true, maxChars: 100_000}, call: s.check,
		},
		{
			name: "list_active_tasks", title: "List Claude Code tasks",
			description: `List the queued and running tasks, newest first; with include_finished also the ended ones, of earlier sessions too. Filter by status, name, label, working_dir or a text in the prompt. Use it to find a task again or for an overview; to wait for a task use check_task_status with wait_seconds. Answers and output are not in the list.`,
			input:       "list.json", output: "list.out.json", readOnly: true, idempotent: true, call: s.list,
		},
		{
			name: "cleanup_task", title: "Stop and delete a Claude Code task",
			description: `Stop a task, with every process that it started, and delete its record, answer and output. Returns when its processes are dead, which may take some seconds. With keep_record the task is only stopped (status "cancelled") and stays readable. Ended tasks need no clean-up: they go by themselves after the retention time.`,
			input:       "cleanup.json", output: "task.out.json", destructive: true, idempotent: true, call: s.cleanup,
		},
	}
}

func (t *tool) describe() mcpgo.Tool {
	d := mcpgo.NewTool(t.name,
		mcpgo.WithDescription(t.description),
		mcpgo.WithRawInputSchema(schemaText(t.input)),
		mcpgo.WithRawOutputSchema(schemaText(t.output)),
		mcpgo.WithToolAnnotation(mcpgo.ToolAnnotation{
			Title: t.title, ReadOnlyHint: &t.readOnly, DestructiveHint: &t.destructive,
			IdempotentHint: &t.idempotent, OpenWorldHint: &t.openWorld,
		}),
	)
	// NewTool presets a structured schema, and a tool may have only one.
	d.InputSchema = mcpgo.ToolInputSchema{}
	d.Title = t.title
	if t.asTask {
		d.Execution = &mcpgo.ToolExecution{TaskSupport: mcpgo.TaskSupportOptional}
	}
	if t.meta != nil {
		d.Meta = &mcpgo.Meta{AdditionalFields: t.meta}
	}
	return d
}

func schemaText(file string) json.RawMessage {
	data, err := schemaFiles.ReadFile("schemas/" + file)
	if err != nil {
		panic(err) // embedded at build time
	}
	return data
}

func inputSchema(file string) *schema {
	var s schema
	if err := json.Unmarshal(schemaText(file), &s); err != nil {
		panic(err) // embedded at build time
	}
	return &s
}

var (
	runInput     = inputSchema("run.json")
	checkInput   = inputSchema("check.json")
	listInput    = inputSchema("list.json")
	cleanupInput = inputSchema("cleanup.json")
)
