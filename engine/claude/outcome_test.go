package claude

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"cctask/engine/task"
)

const streams = "../../testdata/streams"

// record reads a recorded stream and what claude wrote to stderr with it.
func record(t testing.TB, name string) (stdout, stderr []byte) {
	t.Helper()
	stdout, err := os.ReadFile(filepath.Join(streams, name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	stderr, err = os.ReadFile(filepath.Join(streams, name+".stderr"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return stdout, stderr
}

// parse reads a whole stream.
func parse(b []byte) *Parser {
	p := NewParser()
	_, _ = p.Write(b)
	p.Flush()
	return p
}

const (
	noAnswer = "\x00none" // Outcome.HasResult is false
	unknown  = -1         // Outcome.CostKnown is false
)

const (
	completed, failed, timeout = task.Completed, task.Failed, task.Timeout
	cancelled, interrupted     = task.Cancelled, task.Interrupted
)

// recordings are streams that claude 2.1.330 wrote against a scripted API, and
// what is to be made of them.
var recordings = []struct {
	name                string
	end                 End
	status              task.Status
	reason              task.FailureReason
	message, answer     string
	turns, requests, ms int // each request of the script costs the same tokens
	microUSD            float64
}{
	{"auth_401", End{ExitCode: 1}, failed, "auth", "Invalid API key · Fix external API key", noAnswer, 1, 0, 109, 0},
	{"auth_403", End{ExitCode: 1}, failed, "auth", "Failed to authenticate. API Error: 403 Your account does not have access to this model.", noAnswer, 1, 0, 109, 0},
	{"background", End{}, completed, "", "", "It has ended.", 3, 3, 212, 2238},
	{"bad_flag", End{ExitCode: 1}, failed, "process_failed", "claude ended with exit code 1: error: unknown option '--no-such-flag'", noAnswer, 0, 0, 0, unknown},
	{"bad_mcp_config", End{ExitCode: 1}, failed, "process_failed", "claude ended with exit code 1: MCP config file not found: /nonexistent.json", noAnswer, 0, 0, 0, unknown},
	{"billing_402", End{ExitCode: 1}, failed, "billing", "API Error: 402 There is an issue with your payment.", noAnswer, 1, 0, 112, 0},
	{"denied", End{}, completed, "", "tool calls that were denied: 1 (Write)", "I was not allowed.", 2, 2, 159, 1492},
	{"denied_dontask", End{}, completed, "", "tool calls that were denied: 1 (Write)", "I was not allowed.", 2, 2, 157, 1492},
	{"dropped", End{ExitCode: 1}, failed, "network", "API Error: Connection dropped (ECONNRESET). Check the gateway set in ANTHROPIC_BASE_URL, then try again.", noAnswer, 1, 0, 117, 0},
	{"edit", End{}, completed, "", "", "Written.", 4, 4, 219, 2984},
	{"empty_answer", End{}, completed, "", "nothing was answered (2 turns)", "", 2, 2, 133, 1492},
	{"invalid_400", End{ExitCode: 1}, failed, "invalid_request", "API Error: 400 messages.0: something is wrong", noAnswer, 1, 0, 372, 0},
	{"low_credit", End{ExitCode: 1}, failed, "billing", "Credit balance is too low", noAnswer, 1, 0, 115, 0},
	{"max_budget", End{ExitCode: 1}, failed, "max_budget", "Reached maximum budget ($0.001)", noAnswer, 2, 1, 181, 1492},
	{"max_output_tokens", End{ExitCode: 1}, failed, "unknown", "API Error: Claude's response exceeded the 128000 output token maximum. To configure this behavior, set the CLAUDE_CODE_MAX_OUTPUT_TOKENS environment variable.", noAnswer, 4, 4, 148, 2984},
	{"max_turns", End{ExitCode: 1}, failed, "max_turns", "Reached maximum number of turns (2)", noAnswer, 3, 2, 193, 1492},
	{"model_404", End{ExitCode: 1}, failed, "model_not_found", "There's an issue with the selected model (claude-opus-5-5). It may not exist or you may not have access to it. Run --model to pick a different model.", noAnswer, 1, 0, 159, 0},
	{"no_key", End{ExitCode: 1}, failed, "auth", "Not logged in · Please run /login", noAnswer, 1, 0, 103, 0},
	{"overloaded_529", End{ExitCode: 1}, failed, "overloaded", "API Error: 529 Overloaded. This is a server-side issue, usually temporary — try again in a moment. If it persists, check your inference gateway (127.0.0.1:8080).", noAnswer, 1, 0, 110, 0},
	{"prompt_too_long", End{ExitCode: 1}, failed, "context_overflow", "Prompt is too long · the request is ~250000 tokens (limit 200000) but this conversation is only ~2633 tokens — the rest is system prompt, tool definitions, and attachment content. A single-exchange conversation cannot be compacted; reduce attached files/tools or start with less context.", noAnswer, 1, 0, 112, 0},
	{"rate_429", End{ExitCode: 1}, failed, "rate_limited", "API Error: Request rejected (429) · Number of requests has exceeded your rate limit", noAnswer, 1, 0, 110, 0},
	{"refusal", End{ExitCode: 1}, failed, "invalid_request", "API Error: Opus 5.5's safeguards flagged this message (https://www.anthropic.com/legal/aup). This sometimes happens with safe, normal conversations. Claude Code can't respond to this message with Opus 5.5. Try rephrasing the request in a new session or change your model. Learn more: https://support.claude.com/en/articles/8106465 Message ID: msg_refuse1", noAnswer, 2, 2, 124, 1492},
	{"refused", End{ExitCode: 1}, failed, "network", "API Error: Connection refused — a firewall or proxy may be blocking it (ECONNREFUSED)", noAnswer, 1, 0, 1675, 0},
	{"resume_unknown", End{ExitCode: 1}, failed, "session_lost", "claude has no conversation with this session id", noAnswer, 0, 0, 0, unknown},
	{"resumed", End{}, completed, "", "", "Three lines.", 2, 2, 179, 2238},
	{"retry_401", End{ExitCode: 1}, failed, "auth", "Invalid API key · Fix external API key", noAnswer, 1, 0, 1898, 0},
	{"retry_529", End{ExitCode: 1}, failed, "overloaded", "API Error: 529 Overloaded. This is a server-side issue, usually temporary — try again in a moment. If it persists, check your inference gateway (127.0.0.1:8080).", noAnswer, 1, 0, 1849, 0},
	{"root", End{ExitCode: 1}, failed, "permission_denied_root", "claude refuses to skip permissions as root", noAnswer, 0, 0, 0, unknown},
	{"server_500", End{ExitCode: 1}, failed, "overloaded", "API Error: 500 Internal server error. This is a server-side issue, usually temporary — try again in a moment. If it persists, check your inference gateway (127.0.0.1:8080).", noAnswer, 1, 0, 108, 0},
	{"session_in_use", End{ExitCode: 1}, failed, "process_failed", "claude ended with exit code 1: Error: Session ID 00000000-0000-4000-8000-000000000001 is already in use.", noAnswer, 0, 0, 0, unknown},
	{"sighup_waiting", End{ExitCode: 129}, interrupted, "interrupted", "killed by signal 1 (SIGHUP)", noAnswer, 0, 0, 0, unknown},
	{"sigint_lingering", End{}, completed, "", "background tasks that were stopped before they ended: 1 (Run it)", "Started it.", 2, 2, 178, 1492},
	{"sigint_tool", End{}, interrupted, "interrupted", "claude was interrupted (SIGINT)", noAnswer, 3, 1, 874, 746},
	{"sigint_waiting", End{}, interrupted, "interrupted", "claude was interrupted (SIGINT)", noAnswer, 0, 0, 0, unknown},
	{"sigkill_lingering", End{Signal: "SIGKILL"}, interrupted, "interrupted", "killed by signal 9 (SIGKILL), perhaps out of memory; the answer that it had given is kept", "Started it.", 2, 2, 179, 1492},
	{"sigkill_tool", End{Signal: "SIGKILL"}, interrupted, "interrupted", "killed by signal 9 (SIGKILL), perhaps out of memory", noAnswer, 1, 0, 0, unknown},
	{"sigterm_lingering", End{ExitCode: 143}, interrupted, "interrupted", "killed by signal 15 (SIGTERM); the answer that it had given is kept", "Started it.", 2, 2, 176, 1492},
	{"sigterm_tool", End{ExitCode: 143}, interrupted, "interrupted", "killed by signal 15 (SIGTERM)", noAnswer, 1, 0, 0, unknown},
	{"sigterm_waiting", End{ExitCode: 143}, interrupted, "interrupted", "killed by signal 15 (SIGTERM)", noAnswer, 0, 0, 0, unknown},
	{"slash_command", End{}, completed, "", "the model was not asked (0 turns)", "/help isn't available in this environment.", 0, 0, 44, 0},
	{"stderr_noise", End{}, completed, "", "", "Hello from the script.", 1, 1, 106, 746},
	{"structured", End{WantStructured: true}, completed, "", "", `{"name":"Ada","age":36}`, 2, 1, 122, 746},
	{"structured_exhausted", End{ExitCode: 1, WantStructured: true}, failed, "structured_output", "Failed to provide valid structured output after 5 attempts — last StructuredOutput error: Output does not match required schema: /age: must be integer", noAnswer, 6, 4, 231, 3730},
	{"structured_missed", End{WantStructured: true}, failed, "structured_output", "claude's last answer has no structured output", "I will not.", 2, 2, 130, 1492},
	{"structured_then_plain", End{WantStructured: true}, failed, "structured_output", "claude's last answer has no structured output; the one that it gave before is kept", `{"name":"Ada","age":36}`, 5, 3, 232, 2238},
	{"subagent", End{}, completed, "", "", "More.", 3, 3, 249, 2984},
	{"success", End{}, completed, "", "", "Hello from the script.", 1, 1, 117, 746},
	{"thinking", End{}, completed, "", "", "Thought.", 1, 1, 109, 746},
	{"too_large_413", End{ExitCode: 1}, failed, "context_overflow", "Request too large (max 32MB). Accumulated images and attachments in the conversation pushed the request over the limit. Remove older images or compact the conversation.", noAnswer, 1, 0, 114, 0},
	{"tool", End{}, completed, "", "", "Three lines.", 2, 2, 197, 1492},
	{"tool_failed", End{}, completed, "", "", "It failed with 3.", 2, 2, 191, 1492},
	{"two_tools", End{}, completed, "", "", "Both done.", 3, 2, 199, 1492},
	{"usage_limit", End{ExitCode: 1}, failed, "usage_limit", "You've hit your 5-hour limit · resets 2:13am (UTC)", noAnswer, 1, 0, 113, 0},
}

func TestRecordings(t *testing.T) {
	t.Parallel()
	for _, r := range recordings {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr := record(t, r.name)
			r.end.Stderr = stderr
			n := int64(r.requests)
			want := Outcome{
				Status: r.status, Reason: r.reason, Message: r.message,
				Requests: r.requests, Turns: r.turns, DurationMS: int64(r.ms),
				Usage:       task.Usage{InputTokens: 100 * n, OutputTokens: 12 * n, CacheCreationTokens: 20 * n, CacheReadTokens: 30 * n},
				SessionLost: r.reason == "session_lost",
			}
			p := parse(stdout)
			if p.Progress().SawInit {
				want.SessionID, want.Version, want.Model = "01939f5e-0000-4000-8000-000000000001", "2.1.330", "claude-opus-5-5"
			}
			switch r.name {
			case "structured_exhausted", "max_budget", "sigkill_tool", "sigterm_tool":
				want.Requests++ // the usage of the last one came too late for the result
			case "bad_flag", "bad_mcp_config", "root", "session_in_use", "sighup_waiting", "sigterm_waiting":
				want.OnlyInit = true
			case "empty_answer":
				want.Requests = 0 // claude shows no event of a message without content
			case "usage_limit":
				want.Model, want.RetryAt = "claude-sonnet-5-5", time.Unix(1795400000, 0).UTC()
			case "stderr_noise":
				want.Model = "nosuch"
			}
			if want.CostKnown = r.microUSD != unknown; want.CostKnown {
				want.TotalCost = r.microUSD / 1e6
			}
			if want.HasResult = r.answer != noAnswer; want.HasResult {
				want.Result = []byte(r.answer)
			}
			checkOutcome(t, p.Judge(r.end), want)
		})
	}
}

func checkOutcome(t *testing.T, got, want Outcome) {
	t.Helper()
	if math.Abs(got.TotalCost-want.TotalCost) < 1e-9 {
		got.TotalCost = want.TotalCost
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Every recording has its row, so that a new one cannot go unjudged.
func TestEveryRecordingIsJudged(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(streams, "*.jsonl"))
	if err != nil || len(files) != len(recordings) {
		t.Errorf("%d recordings, %d rows (%v)", len(files), len(recordings), err)
	}
}
