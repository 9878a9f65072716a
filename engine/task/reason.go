package task

// FailureReason says why a task did not complete. The list is closed: a new
// reason is a change of the wire format.
type FailureReason string

// The reasons, in the order in which an outcome is judged.
const (
	ReasonInvalidRequest   FailureReason = "invalid_request"
	ReasonAuth             FailureReason = "auth"
	ReasonBilling          FailureReason = "billing"
	ReasonUsageLimit       FailureReason = "usage_limit"
	ReasonRateLimited      FailureReason = "rate_limited"
	ReasonOverloaded       FailureReason = "overloaded"
	ReasonNetwork          FailureReason = "network"
	ReasonModelNotFound    FailureReason = "model_not_found"
	ReasonContextOverflow  FailureReason = "context_overflow"
	ReasonMaxTurns         FailureReason = "max_turns"
	ReasonMaxBudget        FailureReason = "max_budget"
	ReasonStructuredOutput FailureReason = "structured_output"
	ReasonPermissionRoot   FailureReason = "permission_denied_root"
	ReasonSpawnFailed      FailureReason = "spawn_failed"
	ReasonPolicy           FailureReason = "policy_denied"
	ReasonDeadline         FailureReason = "deadline"
	ReasonStalled          FailureReason = "stalled"
	ReasonStartupTimeout   FailureReason = "startup_timeout"
	ReasonBudget           FailureReason = "budget"
	ReasonCancelled        FailureReason = "cancelled"
	ReasonSessionLost      FailureReason = "session_lost"
	ReasonProcessFailed    FailureReason = "process_failed"
	ReasonNoResult         FailureReason = "no_result"
	ReasonOutputLimit      FailureReason = "output_limit"
	ReasonDiskFull         FailureReason = "disk_full"
	ReasonInterrupted      FailureReason = "interrupted"
	ReasonDependency       FailureReason = "dependency"
	ReasonUnknown          FailureReason = "unknown"
)

var Reasons = []FailureReason{
	ReasonInvalidRequest, ReasonAuth, ReasonBilling, ReasonUsageLimit, ReasonRateLimited, ReasonOverloaded,
	ReasonNetwork, ReasonModelNotFound, ReasonContextOverflow, ReasonMaxTurns, ReasonMaxBudget,
	ReasonStructuredOutput, ReasonPermissionRoot, ReasonSpawnFailed, ReasonPolicy, ReasonDeadline,
	ReasonStalled, ReasonStartupTimeout, ReasonBudget, ReasonCancelled,
	ReasonSessionLost, ReasonProcessFailed, ReasonNoResult, ReasonOutputLimit, ReasonDiskFull, ReasonInterrupted, ReasonDependency, ReasonUnknown,
}

// hints are the next steps that a person or a model can take.
var hints = map[FailureReason]string{
	ReasonInvalidRequest:   "The API refused the request: read the message, change the prompt or the options, then retry.",
	ReasonAuth:             "Log in (run `claude` once and use /login) or set ANTHROPIC_API_KEY, then retry.",
	ReasonBilling:          "Check the account's credit and plan, then retry.",
	ReasonUsageLimit:       "The subscription's usage limit is reached: resume after the reset time (retry_at, where claude named it).",
	ReasonRateLimited:      "The API limits the rate: wait a minute, run fewer tasks at once (--jobs), then resume.",
	ReasonOverloaded:       "The API is overloaded: resume in a few minutes.",
	ReasonNetwork:          "The API was not reached: check the network and the proxy settings, then resume.",
	ReasonModelNotFound:    "Choose another model (sonnet, opus, haiku or a full model name) and start a new task.",
	ReasonContextOverflow:  "The conversation is too long for the model: start a new task with a shorter prompt.",
	ReasonMaxTurns:         "The task has used up its max_turns: a new task with resume_task_id goes on in its session, with a bound of its own; in a shell `cctask resume --max-turns MORE ID` raises this one's.",
	ReasonMaxBudget:        "The task has used up its max_budget_usd: a new task with resume_task_id goes on in its session, with a bound of its own; in a shell `cctask resume --max-budget-usd MORE ID` raises this one's.",
	ReasonStructuredOutput: "The answer did not fit the JSON schema: loosen the schema or say the format in the prompt, then retry.",
	ReasonPermissionRoot:   "Run as another user, start with skip_permissions false (in a shell: --skip-permissions=false), or set IS_SANDBOX=1 if this is a sandbox.",
	ReasonSpawnFailed:      "claude could not be started: check that its path and the working directory still exist, then retry.",
	ReasonPolicy:           "The policy of this machine forbids it by now: start a new task within the rule that the message names.",
	ReasonDeadline:         "The deadline passed: resume to go on in the same session, or start a new task with a longer timeout.",
	ReasonStalled:          "claude did nothing for too long: resume to go on in the same session; a longer stall_timeout (0: never) lets it think for longer.",
	ReasonStartupTimeout:   "claude did not begin: read its stderr (in a shell: `cctask logs --stderr ID`), run fewer tasks at once (--jobs), then retry.",
	ReasonBudget:           "A budget is spent: raise it, then resume to go on in the same session.",
	ReasonCancelled:        "Resume to go on in the same session, or retry from the start.",
	ReasonSessionLost:      "claude no longer has this session: retry from the start, or say in a new task's prompt what it needs to know.",
	ReasonProcessFailed:    "claude ended with an error: read its stderr (in a shell: `cctask logs --stderr ID`).",
	ReasonNoResult:         "claude ended without a result: read the logs, then resume or retry.",
	ReasonOutputLimit:      "The output limit was reached: start a new task with a higher max_output, or ask for less output.",
	ReasonDiskFull:         "Free some space on the disks of the state directory and of the task, then resume to go on in the same session.",
	ReasonInterrupted:      "Resume to go on in the same session; verify first what the last tool did.",
	ReasonDependency:       "Mend the task that it waited for; in a shell `cctask retry --with-dependants` of that one brings this one back too.",
	ReasonUnknown:          "Read the logs, then resume or retry.",
}

// noSession has the reasons after which no session goes on, because there is none, or
// it is full, or this task may not go on in it; true: a retry helps.
var noSession = map[FailureReason]bool{
	ReasonSpawnFailed: true, ReasonSessionLost: true, ReasonPermissionRoot: true,
	ReasonContextOverflow: false, ReasonPolicy: false, ReasonModelNotFound: false, ReasonMaxTurns: false, ReasonMaxBudget: false,
}

// Hint says what to do next about a failure.
func (r FailureReason) Hint() string { return hints[r] }

// Hint says what to do next about a task that has failed: where another task's
// session is gone, a retry would begin in that one too.
func (t Task) Hint() string {
	if t.Reason == ReasonSessionLost && t.Spec.ResumeTaskID != "" {
		return "claude no longer has this session: say in a new task's prompt what it needs to know."
	}
	return t.Reason.Hint()
}

// StopReason says why we stopped an attempt: whoever decides it tells the runner,
// which writes it down before it signals claude. The names are the format in run
// directories, on disk and on the wire.
type StopReason string

const (
	StopCancel      StopReason = "cancel"       // somebody asked
	StopDeadline    StopReason = "deadline"     // Spec.TimeoutSeconds
	StopOutputLimit StopReason = "output_limit" // Spec.MaxOutput
	StopTerminated  StopReason = "terminated"   // the runner itself was asked to end
	StopStall       StopReason = "stall"        // claude did nothing for Spec.Stall
	StopStartup     StopReason = "startup"      // claude did not come to its first event
	StopAnswered    StopReason = "answered"     // claude had answered and did not end; the answer counts
	StopBudget      StopReason = "budget"       // what it may cost is spent
)

var StopReasons = []StopReason{
	StopCancel, StopDeadline, StopOutputLimit, StopTerminated, StopStall, StopStartup, StopAnswered, StopBudget,
}
