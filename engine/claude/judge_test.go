package claude

import (
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
)

// failure is a result event of an error.
func failure(text string, fields string) string {
	return `{"type":"result","subtype":"success","is_error":true,"result":"` + text + `"` + fields + "}\n"
}

const interruptLine = `{"type":"user","message":{"role":"user","content":[{"type":"text","text":"[Request interrupted by user]"}]}}` + "\n"

// agentNote is what 2.1.330 writes as it stops a subagent, and stoppedLine what comes before.
var agentNote = strings.Replace(interruptLine, `"message"`, `"parent_tool_use_id":"toolu_1","message"`, 1)

const stoppedLine = `{"type":"system","subtype":"task_notification","task_id":"a1","tool_use_id":"toolu_1","status":"stopped","summary":"count the files"}` + "\n"

// What no recording shows: combinations of the witnesses.
func TestWitnesses(t *testing.T) {
	t.Parallel()
	retry := `{"type":"system","subtype":"api_retry","attempt":2,"max_retries":10,"error_status":529,"error":"overloaded"}` + "\n"
	answered := initLine + say("1", "Yes.") + resultLine
	for _, c := range []struct {
		name, stream    string
		end             End
		status          task.Status
		reason          task.FailureReason
		message, answer string
	}{
		// Our own intent comes before everything.
		{"cancelled", initLine, End{Stopped: "cancel", Signal: "SIGKILL"}, cancelled, "cancelled", "cancelled", noAnswer},
		{"cancelled, no record", initLine, End{Stopped: "cancel", NoRecord: true}, cancelled, "cancelled", "cancelled", noAnswer},
		{"cancelled after the answer", answered, End{Stopped: "cancel", ExitCode: 143}, cancelled, "cancelled", "cancelled; the answer that it had given is kept", "Yes."},
		{"cancelled as it failed", initLine + failure("x", ""), End{Stopped: "cancel", ExitCode: 1}, cancelled, "cancelled", "cancelled", noAnswer},
		{"deadline", initLine + retry, End{Stopped: "deadline", ExitCode: 143, Deadline: 90 * time.Second}, timeout, "deadline", "stopped at the deadline of 1m30s, while it retried the API (attempt 2 of 10: overloaded (529))", noAnswer},
		{"deadline, exit 0", answered, End{Stopped: "deadline"}, timeout, "deadline", "stopped at the deadline; the answer that it had given is kept", "Yes."},
		{"output limit", initLine, End{Stopped: "output_limit", ExitCode: 143}, failed, "output_limit", "it wrote more than max_output allows", noAnswer},
		{"stalled", initLine, End{Stopped: "stall", ExitCode: 143, Stall: 10 * time.Minute}, failed, "stalled", "stopped because claude did nothing for 10m0s", noAnswer},
		{"stalled after an answer", answered, End{Stopped: "stall"}, failed, "stalled", "stopped because claude did nothing; the answer that it had given is kept", "Yes."},
		{"no start-up", "", End{Stopped: "startup", Signal: "SIGTERM"}, failed, "startup_timeout", "stopped because claude did not begin", noAnswer},
		{"budget spent", initLine, End{Stopped: "budget", ExitCode: 143}, failed, "budget", "stopped because its budget is spent", noAnswer},
		{"answered, and did not end", answered, End{Stopped: "answered", ExitCode: 143, Signal: "SIGKILL"}, completed, "", "", "Yes."},
		{"failed, and did not end", initLine + failure("API Error: 529", `,"api_error_status":529`), End{Stopped: "answered", ExitCode: 143}, failed, "overloaded", "API Error: 529", noAnswer},
		{"a reason of a later version", initLine, End{Stopped: "later", ExitCode: 143}, interrupted, "interrupted", "stopped because its runner was asked to end", noAnswer},
		{"runner asked to end", initLine, End{Stopped: "terminated", ExitCode: 143}, interrupted, "interrupted", "stopped because its runner was asked to end", noAnswer},

		{"no record", initLine, End{NoRecord: true}, interrupted, "interrupted", "the runner died, so how claude ended is unknown", noAnswer},
		{"no record, runner killed", initLine, End{NoRecord: true, RunnerSignal: "SIGKILL"}, interrupted, "interrupted", "the runner was killed by signal 9 (SIGKILL), so how claude ended is unknown", noAnswer},
		{"no record, answered", answered, End{NoRecord: true}, interrupted, "interrupted", "the runner died, so how claude ended is unknown; the answer that it had given is kept", "Yes."},

		// The last result counts.
		{"an error after an answer", answered + failure("API Error: 529", `,"api_error_status":529`), End{ExitCode: 1}, failed, "overloaded", "API Error: 529", noAnswer},
		{"an answer after an error", initLine + failure("x", "") + resultLine, End{}, completed, "", "", "Yes."},
		{"an error, exit 0", initLine + failure("x", ""), End{}, failed, "unknown", "x", noAnswer},
		{"an error, then killed", initLine + failure("x", `,"api_error_status":401`), End{Signal: "SIGKILL"}, failed, "auth", "x", noAnswer},
		{"an error without words", initLine + `{"type":"result","subtype":"error_during_execution","is_error":true}`, End{}, failed, "unknown", "error during execution", noAnswer},
		{"turns", initLine + `{"type":"result","subtype":"error_max_turns","is_error":true}`, End{ExitCode: 1, MaxTurns: 7}, failed, "max_turns", "reached the limit of 7 turns", noAnswer},
		{"denied and silent", initLine + strings.Replace(strings.Replace(resultLine, "Yes.", " \\n", 1), `"num_turns":1`, `"num_turns":0,"permission_denials":[{"tool_name":"Bash"},{"tool_name":"Bash"},{"tool_name":"Write"}]`, 1), End{}, completed, "", "nothing was answered (0 turns); tool calls that were denied: 3 (Bash, Write)", " \n"},
		{"budget", initLine + `{"type":"result","subtype":"error_max_budget_usd","is_error":true,"errors":["Reached maximum budget ($0.0014)"]}`, End{ExitCode: 1, MaxBudgetUSD: 0.003}, failed, "max_budget", "reached the budget of $0.003", noAnswer},
		{"an error subtype that is not marked as one", initLine + `{"type":"result","subtype":"error_max_budget_usd"}`, End{}, failed, "max_budget", "error max budget usd", noAnswer},

		// Signals.
		{"out of memory", initLine, End{Signal: "SIGKILL"}, interrupted, "interrupted", "killed by signal 9 (SIGKILL), perhaps out of memory", noAnswer},
		{"code 137", initLine + retry, End{ExitCode: 137}, interrupted, "interrupted", "killed by signal 9 (SIGKILL), perhaps out of memory, while it retried the API (attempt 2 of 10: overloaded (529))", noAnswer},
		{"code 130", "", End{ExitCode: 130}, interrupted, "interrupted", "killed by signal 2 (SIGINT)", noAnswer},
		{"crash", initLine, End{Signal: "SIGSEGV"}, failed, "process_failed", "claude crashed: killed by signal 11 (SIGSEGV)", noAnswer},
		{"a signal of another system", initLine, End{Signal: "SIGSTKFLT"}, interrupted, "interrupted", "killed by signal SIGSTKFLT", noAnswer},
		{"aborted by SIGTERM", initLine + `{"type":"result","subtype":"error_during_execution","is_error":true,"terminal_reason":"aborted_tools"}`, End{ExitCode: 143}, interrupted, "interrupted", "killed by signal 15 (SIGTERM)", noAnswer},
		{"SIGINT in the turn after an answer", answered + say("2", "Now") + interruptLine, End{}, interrupted, "interrupted", "claude was interrupted (SIGINT); the answer that it had given is kept", "Yes."},
		{"a subagent's note", answered + agentNote, End{}, completed, "", "", "Yes."},
		{"a subagent that claude stopped", initLine + say("1", "Yes.") + stoppedLine + resultLine + agentNote, End{}, completed, "", "background tasks that were stopped before they ended: 1 (count the files)", "Yes."},
		{"the same, and claude goes on", initLine + stoppedLine + agentNote + say("1", "Yes.") + resultLine, End{}, completed, "", "", "Yes."},
		{"the same, told by numbers alone", initLine + say("1", "Yes.") + strings.Replace(resultLine, "{", `{"subagent_stats":{"killed":{"parent":1,"user":0,"system":2}},`, 1), End{}, completed, "", "background tasks that were stopped before they ended: 2", "Yes."},
		{"the same, told by one number", initLine + say("1", "Yes.") + strings.Replace(resultLine, "{", `{"subagent_stats":{"killed":2},`, 1), End{}, completed, "", "background tasks that were stopped before they ended: 2", "Yes."},
		{"the same, told in a way that is new", initLine + say("1", "Yes.") + strings.Replace(resultLine, "{", `{"subagent_stats":{"killed":["x"]},`, 1), End{}, completed, "", "", "Yes."},
		{"a note about a SIGINT that was not the end", initLine + interruptLine + resultLine, End{}, completed, "", "", "Yes."},
		{"a tool that prints the note", initLine + strings.Replace(strings.Replace(interruptLine, `"type":"text"`, `"type":"tool_result"`, 1), `"text":`, `"content":`, 1), End{}, failed, "no_result", "claude ended with exit code 0 but gave no result", noAnswer},

		// A full disk.
		{"no room for its output", initLine + say("1", "a")[:20], End{ExitCode: 1, DiskFull: true}, failed, "disk_full", "the disk was full, and claude ended with exit code 1 before it answered", noAnswer},
		{"no room, said by claude", initLine, End{ExitCode: 1, Stderr: []byte("Error: ENOSPC: no space left on device, write\n")}, failed, "disk_full", "the disk was full, and claude ended with exit code 1: Error: ENOSPC: no space left on device, write before it answered", noAnswer},
		{"no room, in a result", initLine + failure("EDQUOT: disk quota exceeded", ""), End{ExitCode: 1}, failed, "disk_full", "EDQUOT: disk quota exceeded", noAnswer},
		{"answered on a full disk", answered, End{DiskFull: true}, completed, "", "", "Yes."},

		// The exit status alone.
		{"nothing at all", "", End{}, failed, "no_result", "claude ended with exit code 0 but gave no result", noAnswer},
		{"plain words", "Hello\n", End{}, failed, "no_result", "claude ended with exit code 0 but gave no result; lines of its output that were no events: 1", noAnswer},
		{"exit 7", initLine, End{ExitCode: 7}, failed, "process_failed", "claude ended with exit code 7", noAnswer},
		{"stderr", "", End{ExitCode: 1, Stderr: []byte("a\n\x1b[31mError: b\x1b[0m\r\n\n")}, failed, "process_failed", `claude ended with exit code 1: \x1b[31mError: b\x1b[0m`, noAnswer},
		{"an answer, exit 1", answered, End{ExitCode: 1, Stderr: []byte("hook failed\n")}, failed, "process_failed", "claude answered, but ended with exit code 1: hook failed", "Yes."},
		{"root, other words", "", End{ExitCode: 1, Root: true, Stderr: []byte("no --dangerously-skip-permissions here\n")}, failed, "permission_denied_root", "claude refuses to skip permissions as root", noAnswer},
		{"not root", "", End{ExitCode: 1, Stderr: []byte("no --dangerously-skip-permissions here\n")}, failed, "process_failed", "claude ended with exit code 1: no --dangerously-skip-permissions here", noAnswer},
		{"lost, told on stderr only", "", End{ExitCode: 1, Stderr: []byte("No conversation found with session ID: x\n")}, failed, "session_lost", "claude has no conversation with this session id", noAnswer},
		{"an API error without a result", initLine + `{"type":"assistant","error":"rate_limit","message":{"model":"<synthetic>","content":[{"type":"text","text":"Slow down"}]}}`, End{ExitCode: 1}, failed, "rate_limited", "Slow down", noAnswer},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := parse([]byte(c.stream)).Judge(c.end)
			answer := noAnswer
			if o.HasResult {
				answer = string(o.Result)
			}
			if o.Status != c.status || o.Reason != c.reason || o.Message != c.message || answer != c.answer {
				t.Errorf("%s, %s, %q, answer %q\nwant %s, %s, %q, answer %q", o.Status, o.Reason, o.Message, answer, c.status, c.reason, c.message, c.answer)
			}
			checkShape(t, o)
			if o.SessionLost != (c.reason == "session_lost") {
				t.Errorf("SessionLost is %v", o.SessionLost)
			}
		})
	}
}

// A session is lost only if nothing can have run in it, and begins anew only if
// nothing can have run before.
func TestSessionIsNotLostOnceItRan(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string]bool{
		"": true, initLine + initLine: true, initLine + say("1", "a"): false, initLine + `{"type":"assis`: false, "Hello\n": false,
		initLine + `{"type":"system","subtype":"task_started"}`: false,
	} {
		if o := parse([]byte(stream)).Judge(End{Signal: "SIGKILL"}); o.OnlyInit != want {
			t.Errorf("only init: %v after %s", o.OnlyInit, stream)
		}
	}
	e := End{ExitCode: 1, Stderr: []byte("No conversation found with session ID: x\n")}
	if o := parse([]byte(initLine + say("1", "I work."))).Judge(e); o.SessionLost || o.Reason != "process_failed" {
		t.Errorf("%+v", o)
	}
}

func TestReasonsByWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, fields string
		want         task.FailureReason
	}{
		{"Prompt is too long", "", "context_overflow"},
		{"Not logged in · Please run /login", "", "auth"},
		{"Invalid API key · Fix external API key", "", "auth"},
		{"Credit balance is too low", `,"api_error_status":400`, "billing"},
		{"Claude AI usage limit reached|1795400000", "", "usage_limit"},
		{"You've hit your limit · resets 5:05pm (UTC)", "", "usage_limit"},
		{"connect ECONNREFUSED 127.0.0.1:1", "", "network"},
		{"x", `,"api_error":"connection_failed"`, "network"},
		{"x", `,"api_error_status":408`, "network"},
		{"x", `,"api_error_status":422`, "invalid_request"},
		{"x", `,"api_error_status":502`, "overloaded"},
		{"something else", "", "unknown"},
	} {
		o := parse([]byte(initLine + failure(c.text, c.fields))).Judge(End{ExitCode: 1})
		if o.Reason != c.want {
			t.Errorf("%q %s: %s, want %s", c.text, c.fields, o.Reason, c.want)
		}
		if known := strings.Contains(c.text, "|"); o.RetryAt.IsZero() == known {
			t.Errorf("%q: reset at %v", c.text, o.RetryAt)
		}
	}
}

func TestCostOfAnUnfinishedTurnIsPartial(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string]Outcome{
		initLine + say("1", "a"):                          {Turns: 1},
		initLine + resultLine:                             {Turns: 1, TotalCost: 0.5, CostKnown: true},
		initLine + resultLine + say("2", "b"):             {Turns: 2, TotalCost: 0.5, CostKnown: true, CostPartial: true},
		initLine + resultLine + say("2", "") + resultLine: {Turns: 2, TotalCost: 0.5, CostKnown: true},
		resultLine: {Turns: 1}, // without an init it is no session's
	} {
		o := parse([]byte(stream)).Judge(End{Signal: "SIGKILL"})
		if o.Turns != want.Turns || o.TotalCost != want.TotalCost || o.CostKnown != want.CostKnown || o.CostPartial != want.CostPartial {
			t.Errorf("%s\ngot %+v", stream, o)
		}
	}
}
