// Package fakeapi is a scripted Messages API on loopback, for running the real
// claude CLI in tests and in the demo without an account. It may import the
// standard library only and must never know cctask: to it there are only
// requests of a CLI. It is never part of the cctask binary.
//
// The server keeps no conversation. The script is chosen by the newest prompt
// among the messages, and turn k of it is played, where k is the number of
// assistant messages after that prompt. So a session goes on by itself after a
// resume, a retry or a restart of the server.
//
// # Scripts in a prompt
//
// A prompt scripts its own answers by directives; all other text is ignored:
//
//	[[text WORDS]]          say the words; several in a turn are one text
//	[[lines N]]             say "line 1" to "line N", a line each
//	[[stream N PAUSE WORD]] say the word N times, a delta each, with pauses between
//	[[delay DURATION]]      wait
//	[[hold NAME]]           wait until Release(NAME) or POST /_release/NAME
//	[[hang [times=N]]]      wait for ever; ends the turn
//	[[bash COMMAND]]        run the command with the tool Bash; ends the turn
//	[[tool NAME JSON]]      call the tool with that input; ends the turn
//	[[tools JSON JSON...]]  call several tools in one turn, each
//	                        {"name":..., "input":{...}}; ends the turn
//	[[end]]                 end the turn; what follows answers a later one, such as
//	                        the turn that follows the end of a background task
//	[[status CODE [times=N] [after=DURATION] [MESSAGE]]]
//	                        an HTTP error, after=... being its retry-after; with
//	                        times=N only the first N tries get it, then the turn goes on
//	[[drop [times=N]]]      cut the connection; ends the turn
//	[[limit [times=N] [after=DURATION]]]
//	                        the usage limit of a subscription, reset after=... from
//	                        now; the CLI shows it as such if it has CLAUDE_CODE_OAUTH_TOKEN
//
// Durations are Go's (100ms, 2s). The directives of a turn are played in order;
// waits before its first content also hold back the response header. A turn
// without a tool ends the run. After its last turn, and for a prompt without
// directives, the answer is DefaultText: the prompt if it is short, its length and
// its SHA-256. Directives nest, so an inner task's prompt may stand in an outer
// tool's input. Brackets are counted in pairs: in JSON write "] ]" for two closing
// ones that have no opening pair.
//
// ${result.0} is the text of the first tool result since the prompt, and
// ${result.0.task_id} a field of its JSON (indexes of lists too). They may stand in
// texts and inputs. A script with a mistake is answered by HTTP 400 with the reason,
// which the CLI shows as its result at once.
//
// An inner prompt is written as it is, also in a shell command: brackets that are
// split to hide them no longer match in pairs.
//
// Examples:
//
//	[[text hello]]
//	[[bash echo hi]][[text it said ${result.0}]]
//	[[hold go]][[text released]]
//	[[text part]][[delay 2s]][[text whole]]
//	[[status 529 times=2]][[text third try]]
//	[[tools {"name":"mcp__cctask__start_cc_task_async","input":{"prompt":"[[text A]]"}}
//	        {"name":"mcp__cctask__start_cc_task_async","input":{"prompt":"[[text B]]"}}]]
//	[[tools {"name":"mcp__cctask__check_task_status","input":{"task_id":"${result.0.task_id}"}}
//	        {"name":"mcp__cctask__check_task_status","input":{"task_id":"${result.1.task_id}"}}]]
//	[[text ${result.2.result} and ${result.3.result}]]
//
// Scripts in Go are added with Handle.
//
// # What CLI 2.1.330 sends
//
// With DISABLE_* set, nothing but turns; else also HEAD /api/hello. The prompt is a
// text block of its own, to the byte; the CLI adds blocks that are one
// <system-reminder> each, and messages of the role system. A slash command is followed
// by a block with what it expands to, which is then the script. A subagent's turns
// carry x-claude-code-agent-id. Two prompts of one session are told apart by the
// number of messages. num_turns of a run is 1 plus the number of its tool calls.
// The tool WebFetch asks a host of the vendor first: never script it.
//
// # Other processes
//
// Main is the server as a process: POST /_release/NAME, GET /_held/NAME?n=N (answers
// when N requests block at the hold) and GET /_stats are its controls.
package fakeapi
