package mcp

import (
	"context"
	"embed"
	"encoding/json"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

//go:embed schemas
var schemaFiles embed.FS

type tool struct {
	name, title, description string
	input                    func() inputs
	output                   string // a file in schemas
	readOnly, destructive    bool
	idempotent, openWorld    bool
	meta                     map[string]any
	call                     toolCall
}

// toolCall gives a toolAnswer, or a result of another kind as it is.
type toolCall func(ctx context.Context, r *request) (any, error)

// What Claude Code does with a tool, by its own keys.
const (
	alwaysLoad = "anthropic/alwaysLoad"         // show the schema in the first prompt
	maxChars   = "anthropic/maxResultSizeChars" // a larger result goes into a file
)

func (s *Server) tools() []*tool {
	return []*tool{
		{
			name: "execute_cc_task", title: "Run a Claude Code task and wait for its answer",
			description: `Start a Claude Code task and wait for its end; the answer is in "result". For several tasks, or one that may take long, use start_cc_task_async and check_task_status instead: calls of this tool may run one after the other.

The task outlives this call: if the call is cut off, list_active_tasks finds it. Cancelling the call cancels the task. A task that ended badly is a normal answer with status failed, timeout, cancelled or interrupted, failure_reason and error.`,
			input: runInput, output: "task.out.json", destructive: true, openWorld: true,
			meta: map[string]any{alwaysLoad: true}, call: s.execute,
		},
		{
			name: "start_cc_task_async", title: "Start a Claude Code task",
			description: `Start a Claude Code task, or several by tasks, and return their task_ids at once. Then wait for all by one check_task_status with task_ids and wait_seconds.

More than may run at once are queued. Tasks that change files should have different working directories or files.`,
			input: startInput, output: "check.out.json", destructive: true, openWorld: true,
			meta: map[string]any{alwaysLoad: true}, call: s.startAsync,
		},
		{
			name: "check_task_status", title: "Ask for, or wait for, a Claude Code task",
			description: `Get a task's status and answer. With wait_seconds it returns as soon as the task ends: the right way to wait. task_ids or label ask for several at once. Cancelling the call only stops the waiting.

Only status completed is success; failed, timeout, cancelled and interrupted carry failure_reason and error. A long answer in "result" is cut in its middle, with a note: output=full reads the whole. "next" says what to do.`,
			input: checkInput, output: "check.out.json", readOnly: true, idempotent: true,
			meta: map[string]any{alwaysLoad: true, maxChars: 100_000}, call: s.check,
		},
		{
			name: "list_active_tasks", title: "List Claude Code tasks",
			description: `List the queued and running tasks, newest first; with include_finished also the ended ones, of earlier sessions too. Use it to find a task again or for an overview; to wait for a task use check_task_status with wait_seconds. Answers and output are not in the list.`,
			input:       listInput, output: "list.out.json", readOnly: true, idempotent: true, call: s.list,
		},
		{
			name: "cleanup_task", title: "Stop and delete a Claude Code task",
			description: `Stop a task, with every process that it started, and delete its record, answer and output. Returns when its processes are dead, which may take some seconds. With keep_record the task is only stopped (status cancelled) and stays readable. Ended tasks need no clean-up: they go by themselves after the retention time.`,
			input:       cleanupInput, output: "task.out.json", destructive: true, idempotent: true, call: s.cleanup,
		},
	}
}

func (t *tool) describe() mcpgo.Tool {
	d := mcpgo.NewTool(t.name,
		mcpgo.WithDescription(t.description),
		mcpgo.WithRawInputSchema(t.input().schema(t.name)),
		mcpgo.WithRawOutputSchema(schemaText(t.output)),
		mcpgo.WithToolAnnotation(mcpgo.ToolAnnotation{
			Title: t.title, ReadOnlyHint: &t.readOnly, DestructiveHint: &t.destructive,
			IdempotentHint: &t.idempotent, OpenWorldHint: &t.openWorld,
		}),
	)
	// NewTool presets a structured schema, and a tool may have only one.
	d.InputSchema = mcpgo.ToolInputSchema{}
	d.Title = t.title
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
