// Package claude knows the command line of Claude Code and nothing else: what
// its arguments and environment are, what it writes to stdout with
// --output-format=stream-json, and how its end is to be judged.
//
// Everything here is pure: bytes in, values out. It may import the standard
// library and engine/task, whose words it speaks. It must never know how a process
// is started, or where output is kept.
//
// Claude moves fast: every field of its events is optional here, unknown events
// are counted and passed over, and the order of keys means nothing.
//
// # Releases
//
// Oldest is the oldest that is supported; the tests on the real CLI pass on 2.1.330
// and 2.1.332. Statuses, reasons, exit codes and turns are the same there. What
// differs, measured against a scripted API:
//
//   - As 2.1.330 stops a background subagent that it no longer waits for, it writes
//     "[Request interrupted by user]" with parent_tool_use_id after the last result;
//     2.1.332 writes that only where the model stopped it (TaskStop).
//   - Their command lines are the same: --help of 2.1.330 is that of 2.1.332 to the byte.
//   - Of an answer that is cut off in the middle 2.1.330 counts nothing into
//     total_cost_usd, 2.1.332 what had come.
//
// # Lists
//
// Most options repeat for each item (measured with 2.1.332: --betas=a,b is one
// beta of that name, which is refused on stderr and passed over). --tools and
// --setting-sources want commas; with nothing behind = they mean none at all.
//
// # Several results in one run
//
// A run that waits for background commands or subagents writes one result
// event a turn (measured with 2.1.330). num_turns, duration_ms and usage count
// from the result before, so they are summed; total_cost_usd is cumulative over
// the session, so the last one stands. The last result decides the status.
//
// # The witnesses of an end
//
// Judge asks, in this order:
//
//  1. Our own intent (End.Stopped): whatever claude managed to write before it
//     died, it ended because we said so.
//  2. The runner's record. Without one (End.NoRecord) the end is interrupted.
//  3. The last result event, if it is an error.
//  4. A signal that we did not send, also as 128+n, which claude reports after it
//     caught one: interrupted. That holds after a successful result too:
//     claude lingers after a result only while background work goes on, and
//     then the answer ("I started it") is not the last word. It is kept.
//  5. "[Request interrupted by user]" after the last result: SIGINT makes
//     claude exit 0, so the exit code cannot tell. The same note to a subagent
//     (parent_tool_use_id) says only that this one was stopped, by the model or
//     because claude no longer waited for it.
//  6. No result: session_lost, permission_denied_root, process_failed or, with
//     exit 0, no_result.
//  7. A successful result: completed, if the exit code is 0 and a structured
//     output is there where one was asked for.
package claude
