package mcp

import (
	"sync"

	"cctask/engine/task"
)

// What a model is told of each option of a task.
var optionSays = map[string]struct {
	says  string
	usual any
}{
	"working_dir":          {"Directory it works in. Default: this server's, or that of resume_task_id. Over HTTP: absolute.", nil},
	"model":                {"sonnet, opus, haiku or a full name. Default: claude's own.", nil},
	"skip_permissions":     {"Use every tool without asking. false: what needs a permission is denied. Not true with permission_mode or allowed_tools.", true},
	"timeout":              {"Seconds after which it is stopped. 0: none.", nil},
	"name":                 {"Short name; works in place of the task_id.", nil},
	"labels":               {"Labels to list tasks by.", nil},
	"permission_mode":      {"Nobody is asked: what would need an answer is denied.", nil},
	"allowed_tools":        {"Tools that need no permission, such as Read or Bash(git log:*); any other that needs one is denied.", nil},
	"disallowed_tools":     {"Tools it must not use, such as WebFetch or Bash(rm:*).", nil},
	"append_system_prompt": {"Added to the end of claude's system prompt.", nil},
	"max_turns":            {"Turns it may take, all attempts together. 0: no limit.", nil},
	"max_budget_usd":       {"Dollars it may cost, likewise. 0: no limit.", nil},
	"json_schema":          {"JSON Schema for the answer: result is JSON that fits it, or the task fails.", nil},
	"add_dirs":             {"More directories it may work in.", nil},
	"literal":              {"Take a leading / of the prompt as text, not as a slash command.", nil},
	"mcp_config":           {"MCP servers: files, or inline JSON.", nil},
	"strict_mcp_config":    {"Only the servers of mcp_config. false: also the user's and the project's.", true},
	"max_output":           {"Most bytes of stdout or stderr; default 1 GiB.", nil},
	"resume_task_id":       {"Go on with this ended task's session (task_id, name or last): it knows that whole conversation.", nil},
	"fork":                 {"With resume_task_id: in a copy of the session, also of a running task.", nil},
	"on_interrupt":         {"resume: killed by a crash or a reboot it goes on in its session, at most 3 times.", nil},
}

// outputWords say how much of its output an answer about a task carries.
var outputWords = []string{"auto", "none", "tail", "full"}

const (
	detailSays = "Also command, prompt, working_dir, usage, session and times."
	idSays     = "The task_id, a unique part of it (its first or last 4 characters or more), the task's name, or last, the newest."
)

// runArguments are the arguments of the tools that start a task, those of the
// original server first.
func runArguments() inputs {
	const execute = "execute_cc_task"
	as := inputs{{
		Option: task.Option{Name: "prompt"}, required: true,
		says: "What it is to do, self-contained: it does not see this conversation.",
	}}
	for _, o := range task.Options {
		as = append(as, input{Option: o, says: optionSays[o.Name].says, usual: optionSays[o.Name].usual})
	}
	return append(
		as,
		input{Option: task.KeyOption, says: "Again with the same key and arguments: gives the first call's task (for a day)."},
		input{
			Option: task.Option{Name: "max_wait_seconds", Kind: task.KindNumber, Most: 86_400}, only: execute,
			says: "Answer after so many seconds with status running; the task goes on. 0: wait for the end. Default: 0 in Claude Code, else 50.",
		},
		input{Option: task.Option{Name: "output", Words: outputWords[:3], BlankIsNone: true}, only: execute, usual: "auto", says: "As in check_task_status."},
		input{Option: task.Option{Name: "detail", Kind: task.KindToggle}, only: execute, says: detailSays},
	)
}

// The arguments of each tool; made once.
var (
	runInput     = sync.OnceValue(runArguments)
	checkInput   = sync.OnceValue(checkArguments)
	listInput    = sync.OnceValue(listArguments)
	cleanupInput = sync.OnceValue(cleanupArguments)
)

var (
	taskID = input{Option: task.Option{Name: "task_id", Chars: 200}, says: idSays, required: true}
	detail = input{Option: task.Option{Name: "detail", Kind: task.KindToggle}, says: detailSays}
)

func checkArguments() inputs {
	return inputs{
		taskID,
		{Option: task.Option{Name: "wait_seconds", Kind: task.KindNumber, Most: 3600}, says: "Wait up to so many seconds (3600) for the end. 0: answer at once."},
		{
			Option: task.Option{Name: "output", Words: outputWords, BlankIsNone: true}, usual: "auto",
			says: "auto: the answer; while it runs its progress; after a bad end what claude said last and the end of stderr. tail: also the end of stdout and stderr. full: a stream piece by piece, from offset on.",
		},
		{Option: task.Option{Name: "stream", Words: []string{"stdout", "stderr", "result"}, BlankIsNone: true}, usual: "stdout", says: "With full: which one."},
		{Option: task.Option{Name: "offset", Kind: task.KindInteger, Most: 1<<53 - 1}, says: "With full: the byte to start at; the next_offset of the answer before."},
		{Option: task.Option{Name: "tail_bytes", Kind: task.KindInteger, Least: 1, Most: 32_768}, usual: defaultTail, says: "With tail: at most so many of each stream."},
		{Option: task.Option{Name: "raw", Kind: task.KindToggle}, says: "With tail: stdout as claude's JSON events, not as text."},
		detail,
	}
}

func listArguments() inputs {
	filter := func(name string, chars int, says string) input {
		return input{Option: task.Option{Name: name, Chars: chars, BlankIsNone: true}, says: says}
	}
	return inputs{
		{Option: task.Option{Name: "include_finished", Kind: task.KindToggle}, says: "List the tasks that have ended too."},
		{
			Option: task.Option{Name: "status", Kind: task.KindList, Words: publicStatuses(), Items: 7, BlankIsNone: true},
			says:   "Only tasks with one of these statuses; include_finished then does not matter.",
		},
		filter("name", task.MaxName, "Only tasks with this in their name, in any case; with * or ? a pattern for the whole name."),
		filter("label", task.MaxName, "Only tasks with this label."),
		filter("search", 1000, "Only tasks with this text in their prompt, in any case."),
		filter("working_dir", 4096, "Only tasks of this directory and of those below it. Relative paths count from this server's directory; over HTTP only absolute ones."),
		{Option: task.Option{Name: "limit", Kind: task.KindInteger, Least: 1, Most: 1000}, usual: defaultList, says: "At most this many (1000); fewer come if they would not fit into one answer."},
		filter("cursor", 1000, "The next_cursor of the page before."),
		detail,
	}
}

func cleanupArguments() inputs {
	one := taskID
	one.says = "The task_id, a unique beginning or end of it (4 characters or more), or a name that no other task has."
	return inputs{one, {Option: task.Option{Name: "keep_record", Kind: task.KindToggle}, says: "Only stop the task; keep its record, result and output."}}
}

func publicStatuses() (words []string) {
	for _, s := range task.Statuses {
		if s.Public() == s {
			words = append(words, string(s))
		}
	}
	return words
}
