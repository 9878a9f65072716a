package mcp

import (
	"slices"
	"sync"

	"cctask/engine"
	"cctask/engine/task"
)

// outputWords say how much of its output an answer about a task carries.
var outputWords = []string{"auto", "none", "tail", "full"}

const (
	detailSays = "Also command, prompt, working_dir, usage, session and times."
	idSays     = "The task_id, its first or last characters (4 or more), the task's name, or last, the newest."
)

// runArguments are the arguments of the tools that start a task, those of the
// original server first.
func runArguments() inputs {
	const execute = "execute_cc_task"
	as := inputs{{
		Option: task.Option{Name: "prompt", Says: "What it is to do, self-contained: it does not see this conversation."}, required: true,
	}}
	for _, o := range task.Options {
		as = append(as, input{Option: o, as: execute})
	}
	return append(
		as,
		input{Option: task.Option{Name: rareName, Kind: task.KindObject, Says: "More, by name: "}, as: execute},
		input{Option: task.KeyOption, as: execute},
		input{
			Option: task.Option{Name: "max_wait_seconds", Kind: task.KindNumber, Most: 86_400, Says: "Answer after so many seconds with status running; the task goes on. 0: wait for the end. Default: 0 in Claude Code, else 50."}, only: execute,
		},
		input{Option: task.Option{Name: "output", Words: outputWords[:3], BlankIsNone: true, Says: "As in check_task_status.", Usual: "auto"}, only: execute},
		input{Option: task.Option{Name: "detail", Kind: task.KindToggle, Says: detailSays}, only: execute},
	)
}

// manyName is the argument that holds several tasks, maxTasks how many.
const (
	manyName = "tasks"
	maxTasks = 200
)

func startArguments() inputs {
	as := slices.Clone(runInput())
	as[0].required = false // or tasks
	return slices.Insert(as, 1, input{Option: task.Option{
		Name: manyName, Kind: task.KindObjects, Items: maxTasks,
		Says: "Up to 200 tasks in place of prompt, each with its own of these arguments; all start, or none. after, and {{tasks.NAME.result}} in a prompt, may name others.",
	}})
}

func memberArguments() inputs {
	return slices.DeleteFunc(slices.Clone(runInput()), func(a input) bool {
		return a.only != "" || a.Name == task.KeyOption.Name || a.Name == "output" || a.Name == "detail"
	})
}

// The arguments of each tool; made once.
var (
	startInput   = sync.OnceValue(startArguments)
	memberInput  = sync.OnceValue(memberArguments)
	runInput     = sync.OnceValue(runArguments)
	checkInput   = sync.OnceValue(checkArguments)
	listInput    = sync.OnceValue(listArguments)
	cleanupInput = sync.OnceValue(cleanupArguments)
)

var (
	taskID = input{Option: task.Option{Name: "task_id", Chars: 200, Says: idSays}, required: true}
	detail = input{Option: task.Option{Name: "detail", Kind: task.KindToggle, Says: detailSays}}
)

func checkArguments() inputs {
	one := taskID
	one.required = false // or task_ids, or label
	return inputs{
		one,
		{Option: task.Option{Name: "task_ids", Kind: task.KindList, Chars: 200, Items: maxChecked, BlankIsNone: true, Says: "Several tasks, in place of task_id; the answer is {tasks: [...]}."}},
		{Option: task.Option{Name: "label", Chars: task.MaxName, BlankIsNone: true, Says: "All tasks with this label, likewise."}},
		{Option: task.Option{Name: "wait_seconds", Kind: task.KindNumber, Most: 3600, Says: "Wait up to so many seconds (3600) for the end. 0: answer at once."}},
		{Option: task.Option{Name: "until", Words: []string{string(engine.All), string(engine.Any), string(engine.FirstFailure)}, BlankIsNone: true, Says: "Of several: whose end wait_seconds waits for.", Usual: string(engine.All)}},
		{
			Option: task.Option{Name: "output", Words: outputWords, BlankIsNone: true, Says: "auto: the answer; while it runs its progress; after a bad end what claude said last and the end of stderr. tail: also the end of stdout and stderr. full: a stream piece by piece, from offset on.", Usual: "auto"},
		},
		{Option: task.Option{Name: "stream", Words: []string{"stdout", "stderr", "result"}, BlankIsNone: true, Says: "With full: which one.", Usual: "stdout"}},
		{Option: task.Option{Name: "offset", Kind: task.KindInteger, Most: 1<<53 - 1, Says: "With full: the byte to start at; the next_offset of the answer before."}},
		{Option: task.Option{Name: "tail_bytes", Kind: task.KindInteger, Least: 1, Most: 32_768, Says: "With tail: at most so many of each stream.", Usual: defaultTail}},
		{Option: task.Option{Name: "raw", Kind: task.KindToggle, Says: "With tail: stdout as claude's JSON events, not as text."}},
		detail,
	}
}

func listArguments() inputs {
	filter := func(name string, chars int, says string) input {
		return input{Option: task.Option{Name: name, Chars: chars, BlankIsNone: true, Says: says}}
	}
	return inputs{
		{Option: task.Option{Name: "include_finished", Kind: task.KindToggle, Says: "List the tasks that have ended too."}},
		{
			Option: task.Option{Name: "status", Kind: task.KindList, Words: task.PublicStatuses(), Items: 7, BlankIsNone: true, Says: "Only tasks with one of these statuses; include_finished then does not matter."},
		},
		filter("name", task.MaxName, "Only tasks with this in their name, in any case; with * or ? a pattern for the whole name."),
		filter("label", task.MaxName, "Only tasks with this label."),
		filter("search", 1000, "Only tasks with this text in their prompt, in any case."),
		filter("working_dir", 4096, "Only tasks of this directory and of those below it. Relative paths count from this server's directory; over HTTP only absolute ones."),
		{Option: task.Option{Name: "limit", Kind: task.KindInteger, Least: 1, Most: 1000, Says: "At most this many (1000); fewer come if they would not fit into one answer.", Usual: defaultList}},
		filter("cursor", 1000, "The next_cursor of the page before."),
		detail,
	}
}

func cleanupArguments() inputs {
	one := taskID
	one.Says = "The task_id, a unique beginning or end of it (4 characters or more), or a name that no other task has."
	return inputs{one, {Option: task.Option{Name: "keep_record", Kind: task.KindToggle, Says: "Only stop the task; keep its record, result and output."}}}
}
