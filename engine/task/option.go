package task

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Option is an option of a task by its name in Spec, the MCP tools, [defaults]
// and the lines of --each.
type Option = Row[Spec]

const (
	mostItems, mostArgument, mostPath = 256, 1000, 4096
	mostSeconds                       = 30 * 24 * 3600 // MaxTimeout
)

// Options are the options of a task. What one is by any of its doors is said
// here and nowhere else: flag, argument of a tool, default, check, claude's
// argument, help, completion. A new one needs its row, and a field in Spec.
var Options = []Option{
	{
		Name: "working_dir", Kind: KindPath, Chars: mostPath, BlankIsNone: true, One: true,
		Arg: "DIR", Help: "directory in which claude works (default: this one)",
		Says: "Directory it works in. Default: this server's, or that of resume_task_id. Over HTTP: absolute.",
		at:   func(s *Spec) any { return &s.WorkingDir },
	},
	{
		Name: "model", Chars: 128, BlankIsNone: true, Claude: "--model", Offers: []string{"sonnet", "opus", "haiku"}, Resume: true,
		Arg: "MODEL", Help: "sonnet, opus, haiku or a full name (default: claude's own)",
		Says: "sonnet, opus, haiku or a full name. Default: claude's own.",
		at:   func(s *Spec) any { return &s.Model },
	},
	{
		Name: "skip_permissions", Kind: KindToggle, Claude: "--dangerously-skip-permissions", Usual: true,
		Help: "let claude use its tools without asking (default, unless restricted otherwise); =false denies",
		Says: "Use every tool without asking. false: what needs a permission is denied. Not true with permission_mode or allowed_tools.",
		at:   func(s *Spec) any { return &s.SkipPermissions },
	},
	{
		Name: "timeout", Kind: KindSeconds, Most: mostSeconds, Resume: true,
		Arg: "TIME", Help: "deadline of each attempt: seconds, or a time like 90s, 2h or 7d; 0 is none",
		Says: "Seconds after which it is stopped. 0: none.",
		at:   func(s *Spec) any { return &s.TimeoutSeconds },
	},
	{
		Name: "stall_timeout", Kind: KindSeconds, Most: mostSeconds, Resume: true,
		Arg: "TIME", Help: "stop it when claude says nothing for so long and no tool runs (default 10m); 0 is never",
		Rare: true,
		at:   func(s *Spec) any { return &s.StallTimeout },
	},
	{
		Name: "name", Chars: MaxName, BlankIsNone: true, One: true,
		Arg: "NAME", Help: "name by which the task can be asked for instead of its id",
		Says: "Short name; works in place of the task_id.",
		at:   func(s *Spec) any { return &s.Name },
	},
	{
		Name: "labels", Kind: KindList, Items: MaxLabels, Chars: MaxName, BlankIsNone: true,
		Flag: "label", Arg: "LABEL", Help: "label to list tasks by; may be repeated",
		Says: "Labels to list tasks by.",
		at:   func(s *Spec) any { return &s.Labels },
	},
	{
		Name: "permission_mode", Words: PermissionModes, Claude: "--permission-mode",
		Arg: "MODE", Help: "default, acceptEdits, auto, bypassPermissions, manual, dontAsk, plan",
		Says: "Nobody is asked: what would need an answer is denied.",
		at:   func(s *Spec) any { return &s.PermissionMode },
	},
	{
		Name: "allowed_tools", Kind: KindList, Items: mostItems, Chars: mostArgument, Claude: "--allowedTools",
		Arg: "TOOL", Help: "tool that needs no permission, like Read or 'Bash(git log:*)'; may be repeated",
		Says: "Tools that need no permission, such as Read or Bash(git log:*); any other that needs one is denied.",
		at:   func(s *Spec) any { return &s.AllowedTools },
	},
	{
		Name: "disallowed_tools", Kind: KindList, Items: mostItems, Chars: mostArgument, BlankIsNone: true, Claude: "--disallowedTools",
		Arg: "TOOL", Help: "tool that must not be used; may be repeated",
		Says: "Tools it must not use, such as WebFetch or Bash(rm:*).",
		at:   func(s *Spec) any { return &s.DisallowedTools },
	},
	{
		Name: "append_system_prompt", Chars: 100_000, BlankIsNone: true, Claude: "--append-system-prompt",
		Arg: "TEXT", Help: "text that is added to claude's system prompt",
		Says: "Added to the end of claude's system prompt.",
		at:   func(s *Spec) any { return &s.AppendSystemPrompt },
	},
	{
		Name: "max_turns", Kind: KindInteger, Most: 100_000, Claude: "--max-turns", Resume: true,
		Arg: "NUMBER", Help: "turns that the task may take, all attempts together; 0 is no limit",
		Says: "Turns it may take, all attempts together. 0: no limit.",
		at:   func(s *Spec) any { return &s.MaxTurns },
	},
	{
		Name: "max_budget_usd", Kind: KindNumber, Most: 1e6, Claude: "--max-budget-usd", Resume: true,
		Arg: "USD", Help: "dollars that the task may cost, all attempts together; 0 is no limit",
		Says: "Dollars it may cost, all attempts together. 0: no limit.",
		at:   func(s *Spec) any { return &s.MaxBudgetUSD },
	},
	{
		Name: "json_schema", Kind: KindObject, Claude: "--json-schema",
		Arg: "SCHEMA", Help: "JSON Schema that the answer must fit, or the file of one",
		Says: "JSON Schema for the answer: result is JSON that fits it, or the task fails.",
		at:   func(s *Spec) any { return &s.JSONSchema },
	},
	{
		Name: "add_dirs", Kind: KindPaths, Items: 64, Chars: mostPath, BlankIsNone: true, Claude: "--add-dir",
		Arg: "DIR", Help: "directory that claude may work in too; may be repeated",
		Says: "More directories it may work in.",
		at:   func(s *Spec) any { return &s.AddDirs },
	},
	{
		Name: "literal", Kind: KindToggle,
		Help: "take a prompt that begins with / as text, not as a slash command",
		Rare: true, Says: "true: a leading / is text, no slash command",
		at: func(s *Spec) any { return &s.Literal },
	},
	{
		Name: "mcp_config", Kind: KindPaths, Items: 32, Chars: 100_000, BlankIsNone: true, Claude: "--mcp-config", Secret: true,
		Arg: "FILE", Help: "MCP servers for the task, a file or inline JSON; may be repeated",
		Says: "MCP servers: files, or inline JSON.",
		at:   func(s *Spec) any { return &s.MCPConfig },
	},
	{
		Name: "strict_mcp_config", Kind: KindToggle, Claude: "--strict-mcp-config", Usual: true,
		Help: "load only the MCP servers of --mcp-config (default); =false also those of user and project",
		Rare: true, Says: "false: also the servers of user and project",
		at: func(s *Spec) any { return &s.StrictMCPConfig },
	},
	{
		Name: "max_output", Kind: KindSize, Least: 1, Most: 1 << 40, Resume: true,
		Arg: "SIZE", Help: "most bytes of stdout or stderr; beyond them the task is stopped and fails (default 1GiB)",
		Rare: true, Says: "bytes, 1 GiB",
		at: func(s *Spec) any { return &s.MaxOutput },
	},
	{
		Name: "resume_task_id", Chars: 200, One: true,
		Arg: "ID", Help: "go on with that task's session, in its directory unless --working-dir is given",
		Says: "Go on with this ended task's session (task_id, name or last): it knows that whole conversation.",
		at:   func(s *Spec) any { return &s.ResumeTaskID },
	},
	{
		Name: "fork", Kind: KindToggle, One: true,
		Help: "with --resume-task-id: go on with a copy of the session, which stays as it is",
		Says: "With resume_task_id: in a copy of the session, also of a running task.",
		at:   func(s *Spec) any { return &s.Fork },
	},
	{
		Name: "on_interrupt", Words: []string{OnInterruptResume}, BlankIsNone: true, Resume: true,
		Arg: "WHAT", Help: "resume: after a crash it goes on at once, a few times, whatever --retries says",
		Rare: true, Says: "resume: at once after a crash, whatever retries says",
		at: func(s *Spec) any { return &s.OnInterrupt },
	},
	{
		Name: "retries", Kind: KindInteger, Most: 100, Resume: true,
		Arg: "NUMBER", Help: "how often in a row it is tried again by itself after ends that may pass; 0 is never (default 3)",
		Rare: true, Says: "3, after ends that may pass",
		at: func(s *Spec) any { return &s.Retries },
	},
	{
		Name: "retry_on", Kind: KindList, Items: mostItems, Words: Retriable(), BlankIsNone: true, Resume: true,
		Arg: "REASON", Help: "failure_reason after which it is tried again, in place of the usual ones; may be repeated",
		Rare: true, Says: "failure_reasons",
		at: func(s *Spec) any { return &s.RetryOn },
	},
	{
		Name: "effort", Words: []string{"low", "medium", "high", "xhigh", "max"}, BlankIsNone: true, Claude: "--effort", Resume: true,
		Arg: "LEVEL", Help: "how hard claude thinks: low, medium, high, xhigh or max (default: claude's own)",
		Rare: true, Says: "low, medium, high, xhigh, max",
		at: func(s *Spec) any { return &s.Effort },
	},
	{
		Name: "fallback_model", Chars: mostArgument, BlankIsNone: true, Claude: "--fallback-model", Resume: true,
		Arg: "MODEL", Help: "model for when the other one is overloaded or away; several with commas, in order",
		Rare: true,
		at:   func(s *Spec) any { return &s.FallbackModel },
	},
	{
		Name: "system_prompt", Chars: 100_000, BlankIsNone: true, Claude: "--system-prompt",
		Arg: "TEXT", Help: "system prompt in place of claude's own",
		Rare: true, Says: "in place of claude's own",
		at: func(s *Spec) any { return &s.SystemPrompt },
	},
	{
		Name: "agent", Chars: MaxName, BlankIsNone: true, Claude: "--agent",
		Arg: "NAME", Help: "agent as which claude works: one of the settings or of --agents",
		Rare: true,
		at:   func(s *Spec) any { return &s.Agent },
	},
	{
		Name: "agents", Kind: KindObject, Claude: "--agents", Secret: true,
		Arg: "JSON", Help: `agents of this task by name: {"reviewer": {"description": ..., "prompt": ...}}, or a file`,
		Rare: true, Says: "object: name to {description, prompt}",
		at: func(s *Spec) any { return &s.Agents },
	},
	{
		Name: "tools", Kind: KindList, Items: mostItems, Chars: mostArgument, Claude: "--tools", Joined: true, BlankIsNone: true,
		Arg: "TOOL", Help: "built-in tool that there is at all, like Read; may be repeated; none alone for no tool",
		Rare: true, Says: "list: the only built-in ones, or none",
		at: func(s *Spec) any { return &s.Tools },
	},
	{
		Name: "settings", Kind: KindPath, Chars: 100_000, BlankIsNone: true, Claude: "--settings", Secret: true,
		Arg: "FILE", Help: "further settings of Claude Code, a file or inline JSON",
		Rare: true, Says: "file or JSON",
		at: func(s *Spec) any { return &s.Settings },
	},
	{
		Name: "setting_sources", Kind: KindList, Items: 3, Words: []string{"user", "project", "local", NoneOfThem}, Claude: "--setting-sources", Joined: true, BlankIsNone: true,
		Arg: "SOURCE", Help: "settings that claude reads: user, project or local; may be repeated; none alone for none",
		Rare: true, Says: "list of user, project, local, or none",
		at: func(s *Spec) any { return &s.SettingSources },
	},
	{
		Name: "plugin_dirs", Kind: KindPaths, Items: 32, Chars: mostPath, BlankIsNone: true, Claude: "--plugin-dir",
		Arg: "DIR", Help: "plugin for this task, a directory or a .zip; may be repeated",
		Rare: true, Says: "list",
		at: func(s *Spec) any { return &s.PluginDirs },
	},
	{
		Name: "betas", Kind: KindList, Items: 32, Chars: mostArgument, BlankIsNone: true, Claude: "--betas",
		Arg: "NAME", Help: "beta of the API, for those with an API key; may be repeated",
		Rare: true, Says: "list",
		at: func(s *Spec) any { return &s.Betas },
	},
	{
		Name: "env", Kind: KindVars, Items: mostItems, Chars: 100_000, BlankIsNone: true, Resume: true,
		Arg: "NAME=VALUE", Help: "variable of the task's own, over those of this command; may be repeated",
		Rare: true, Says: "object",
		at: func(s *Spec) any { return &s.Env },
	},
	{
		Name: "priority", Kind: KindInteger, Least: -100, Most: 100, Resume: true,
		Arg: "NUMBER", Help: "the higher one of the queue starts first: -100 to 100, 0 by default",
		Rare: true, Says: "-100 to 100, higher first",
		at: func(s *Spec) any { return &s.Priority },
	},
	{
		Name: "group", Chars: MaxName, BlankIsNone: true, Resume: true,
		Arg: "NAME", Help: "group whose tasks share a number of slots and can be paused together (default: default)",
		Rare: true,
		at:   func(s *Spec) any { return &s.Group },
	},
	{
		Name: "hold", Kind: KindToggle, Resume: true,
		Help: "do not start it before 'cctask release'",
		Rare: true, Says: "until released",
		at: func(s *Spec) any { return &s.Hold },
	},
	{
		Name: "start_at", Chars: 40, BlankIsNone: true, Resume: true,
		Arg: "TIME", Help: "not before this time: 2h (from now), 23:30 (the next one), '2026-11-01 06:00' or RFC 3339",
		Rare: true, Says: "2h, 23:30 or RFC 3339",
		at: func(s *Spec) any { return &s.StartAt },
	},
	{
		Name: "after", Kind: KindList, Items: 64, Chars: MaxName + 10, BlankIsNone: true, One: true, Resume: true,
		Arg: "REF", Help: "start when that task has completed; REF:any whatever its end, REF:failed if it fails; may be repeated",
		Rare: true, Says: "task_ids or names that must complete first; REF:any, REF:failed",
		at: func(s *Spec) any { return &s.After },
	},
	{
		Name: "workdir_mode", Words: []string{string(DirShared), string(DirExclusive), string(DirWorktree)}, BlankIsNone: true,
		Arg: "MODE", Help: "shared, exclusive (one such task at a time in a directory tree) or worktree (a git worktree of its own)",
		Rare: true, Says: "shared, exclusive, worktree",
		at: func(s *Spec) any { return (*string)(&s.WorkdirMode) },
	},
	{
		Name: "site", Chars: MaxName, BlankIsNone: true,
		Arg: "NAME", Help: "where it runs: a [sites.NAME] of the settings file (default: this machine)",
		Rare: true,
		at:   func(s *Spec) any { return &s.Site },
	},
	{
		Name: "with_cctask", Kind: KindToggle, Resume: true,
		Help: "give it this MCP server, so that it can start tasks of its own",
		Rare: true, Says: "it has this server",
		at: func(s *Spec) any { return &s.WithCCTask },
	},
	{
		Name: "notify", Chars: mostPath, BlankIsNone: true, Resume: true,
		Arg: "COMMAND", Help: "shell command that is told of the end: it gets the task as JSON on stdin",
		Rare: true, Says: "command told of the end",
		at: func(s *Spec) any { return &s.Notify },
	},
}

// KeyOption is the idempotency key of a submission, which is no part of its Spec.
var KeyOption = Option{
	Name: "idempotency_key", Chars: 200, One: true,
	Arg: "KEY", Help: "a `KEY`: the same command with the same one starts nothing and gives the first one's task",
	Says: "Again with the same key and arguments: gives the first call's task (for a day).",
}

func Find(name string) (Option, bool) {
	i := slices.IndexFunc(Options, func(o Option) bool { return o.Name == name })
	if i < 0 {
		return Option{}, false
	}
	return Options[i], true
}

// Changeable are the options that another attempt may be given anew.
func Changeable() []Option {
	return slices.DeleteFunc(slices.Clone(Options), func(o Option) bool { return !o.Resume })
}

// checkBounds looks at what a specification has; a zero value is one that
// nobody gave.
func (s *Spec) checkBounds() error {
	for _, o := range Options {
		v, given := o.Get(s)
		if !given {
			continue
		}
		if !o.Allows(v) {
			return o.Refuse(v)
		}
		texts, _ := o.texts(v)
		for _, text := range texts {
			if err := checkText(o.Name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkText refuses bytes that cannot stand in an argument of a process.
func checkText(field, v string) error {
	if strings.ContainsRune(v, 0) {
		return invalid(field, "contains a NUL byte", "Remove it.")
	}
	if !utf8.ValidString(v) {
		return invalid(field, fmt.Sprintf("%.200q is not valid UTF-8", v), "Convert it to UTF-8; a file or directory of such a name must be renamed.")
	}
	// Linux cuts one argument at 128 KiB.
	if len(v) > 120<<10 {
		return invalid(field, fmt.Sprintf("has an entry of %d bytes", len(v)), "Use at most 120 KiB; put longer text into a file.")
	}
	return nil
}

// Args are the arguments by which claude learns of the options, one for each
// value. A value stands in one argument with its option's name, so that one which
// begins with "-" cannot become an option. Lists repeat the option: claude reads
// each occurrence by itself, while a comma-joined list would let a comma, a space
// or an open parenthesis of one item change its neighbours.
func (s Spec) Args() []string {
	return s.args(func(_ Option, text string) string { return text })
}

// args gives each value as seen shows it.
func (s Spec) args(seen func(o Option, text string) string) (args []string) {
	skips, strict := s.SkipsPermissions(), s.Strict()
	s.SkipPermissions, s.StrictMCPConfig = &skips, &strict
	for _, o := range Options {
		v, given := o.Get(&s)
		if !given || o.Claude == "" {
			continue
		}
		texts, alone := o.texts(v)
		if alone {
			args = append(args, o.Claude)
		}
		for _, text := range texts {
			args = append(args, o.Claude+"="+seen(o, text))
		}
	}
	return args
}

// command shows how claude is called: what a person asks about when a task did
// something unexpected. Long texts are shortened, and what is written inline and
// may hold secrets is not shown.
func command(s Spec) string {
	if s.Claude == "" {
		return ""
	}
	const most = 80 // characters of a value
	words := []string{s.Claude, "-p"}
	for i, name := range s.EnvNames {
		words = slices.Insert(words, i, name+"=…")
	}
	if len(s.EnvNames) > 0 {
		words = slices.Insert(words, 0, "env")
	}
	return ShellWords(append(words, s.args(func(o Option, text string) string {
		if o.Secret && IsInline(text) {
			return "{…}"
		}
		return shorten(text, most)
	})...))
}
