package mcpwire

import "strings"

// results are the definitions of what a request is answered with.
var results = map[string]string{
	"initialize":               "InitializeResult",
	"server/discover":          "DiscoverResult",
	"ping":                     "EmptyResult",
	"logging/setLevel":         "EmptyResult",
	"tools/list":               "ListToolsResult",
	"tools/call":               "CallToolResult",
	"resources/list":           "ListResourcesResult",
	"resources/templates/list": "ListResourceTemplatesResult",
	"resources/read":           "ReadResourceResult",
	"resources/subscribe":      "EmptyResult",
	"resources/unsubscribe":    "EmptyResult",
	"subscriptions/listen":     "SubscriptionsListenResult",
	"prompts/list":             "ListPromptsResult",
	"prompts/get":              "GetPromptResult",
	"completion/complete":      "CompleteResult",
	"tasks/get":                "GetTaskResult",
	"tasks/result":             "CallToolResult", // only tools can be tasks
	"tasks/list":               "ListTasksResult",
	"tasks/cancel":             "CancelTaskResult",
	"tasks/update":             "UpdateTaskResult",
}

// resultOf gives the schema file and the definition that a result must match.
func (c call) resultOf(result any) (file, def string) {
	def = results[c.method]
	object, _ := result.(map[string]any)
	if c.version != Modern {
		if object["task"] != nil && object["content"] == nil && c.method == "tools/call" {
			def = "CreateTaskResult"
		}
		return c.version, def
	}
	switch {
	case object["resultType"] == "task":
		return tasksExt, "CreateTaskResult"
	case object["resultType"] == "input_required":
		return Modern, "InputRequiredResult"
	case strings.HasPrefix(c.method, "tasks/"):
		return tasksExt, def
	}
	return Modern, def
}
