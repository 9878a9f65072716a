// Package fakeclaude is a claude without a model, for tests that need many
// runs, odd ends or exact bytes and cannot pay a CPU-second for each. It may
// import the standard library only, and must never know cctask. It is never part
// of the cctask binary.
//
// A test binary plays it: TestMain begins with
//
//	if fakeclaude.Called() {
//		os.Exit(fakeclaude.Main())
//	}
//
// and Binary gives a path named claude to start. It takes the options of the
// real CLI (an unknown one is an error, as there), reads the prompt from stdin, and
// prints init, assistant and result events in their real shape. The prompt says by
// directives what happens; they are done in order, other text is ignored:
//
//	[[text WORDS]]       an assistant's text; the last one is the result
//	[[tool NAME]]        an assistant's tool_use
//	[[sh LINE]]          a shell runs the line, and the assistant says what it printed
//	[[print LINE]]       the line as it is on stdout, such as an event of one's own
//	[[stderr LINE]]      the line on stderr
//	[[flood N]]          exactly N bytes of stdout: those of Flood(N)
//	[[flood-stderr N]]   the same on stderr
//	[[torn]]             half an event, without an end of line
//	[[replay FILE]]      the file's bytes as all of stdout: no events of its own
//	[[append FILE TEXT]] a line at the end of a file, which is made if need be
//	[[alone FILE]]       locks a file for a while; fails if another one has it
//	[[exec WORDS]]       runs a program and waits for it; it must succeed
//	[[gate FIFO]]        blocks until a writer of the FIFO closes it; see Gate
//	[[delay DURATION]]   waits
//	[[hang]]             waits for a signal
//	[[ignore-term]]      from here on SIGTERM does nothing
//	[[orphan KIND]]      leaves a process behind and says "orphan KIND PID"; KIND is
//	                     plain, setsid, or daemon (forked twice, with an empty
//	                     environment); it ends by itself after OrphanLife
//	[[cost USD]]         what this run costs, if not DefaultCost
//	[[turns N]]          num_turns of the results, if not 1
//	[[structured JSON]]  structured_output of the results
//	[[result WORDS]]     a result event now; several are possible
//	[[is-error WORDS]]   a result of the subtype success with is_error; exit code 1
//	[[error SUBTYPE]]    a result of that subtype, such as error_max_turns; exit code 1
//	[[no-result]]        no result event at the end
//	[[exit N]]           ends at once; without an event before it, stdout is empty
//	[[kill N]]           ends at once by that signal
//
// At the end comes a result, if there was none, and exit code 0. A prompt without
// directives is answered by those in ScriptEnv, else by DefaultText. SIGTERM ends a run with 143, SIGHUP with
// 129, SIGINT with 0, none with a result, as the real CLI does.
//
// Sessions live in $HOME/.fakeclaude. As with the real CLI total_cost_usd is
// cumulative over a session, a SIGKILL loses the run's cost and SIGTERM keeps it, a
// session begins to exist with init, and an unknown one cannot be resumed.
//
// Every start, orphan and end that it lives to see is a line of the file named by
// LogEnv: ReadLog proves that nothing ran twice.
package fakeclaude
