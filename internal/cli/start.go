package cli

import (
	"github.com/spf13/cobra"

	"cctask/engine"
)

func newStart(a *app) *cobra.Command {
	var f taskFlags
	var asJSON, wait bool
	cmd := &cobra.Command{
		Use: "start [PROMPT | -]", Short: "Start a task and print its id",
		Long: `Record a task, print its id and leave. The task runs as soon as the pool has room,
also when this terminal is closed. Without PROMPT, or with -, it is read from stdin. With
one, what a pipe or a file at stdin holds follows it after a blank line, as with claude -p;
a pipe that carries nothing is given up after 3 seconds. A loop over a pipe needs
</dev/null at each call.

With --wait the command stays until the task has ended; so it does with --embedded, as
nobody else would run it. Ctrl-C leaves then, and the task goes on.

--each FILE starts a task for each line of a file, - for stdin, and prints their ids in
the order of the lines. Each line is a prompt, but a line that begins with # is a comment
(\# begins a prompt with #). In a file that is called .jsonl or begins with { each line is
a JSON object with prompt, idempotency_key and the options by their names in the MCP
tools. With a PROMPT the file is CSV with a header row, and PROMPT the template:
{{.name}} stands for the column of that name. Flags are defaults for all. Every line is checked before the first task is recorded. With --idempotency-key the same
call starts nothing twice, also after it was broken off or a task of it was removed: each
line has KEY/LINE as its own. All tasks are recorded together, or none; of a file with more
than 1000 so are each 1000. A name in after means a task of the file before any other; a
task without one is known by its position, 1 being the first.

A prompt may hold what other tasks answered: {{tasks.NAME.result}}, {{tasks.NAME.status}},
{{tasks.NAME.id}}, or of an answer that is JSON {{tasks.NAME.structured.FIELD.0}}. The
task waits for them, as with --after, and gets at most 100 KiB in one place and 1 MiB in
all. With --literal such text stays as it is.`,
		Example: `  cctask start "Fix the failing test"
  cctask start --working-dir ~/project --timeout 30m - < prompt.txt
  git diff | cctask start "Review this"
  id=$(cctask start "Write the release notes") && cctask wait "$id"
  cctask start --each prompts.txt --wait --label night
  cctask start --each files.csv "Review {{.file}} for {{.topic}}"
  jq -c '{prompt: .title, name: .id}' issues.json | cctask start --each -`,
		Annotations: exits(exitDone, exitFault, exitInput, exitEnded, exitInterrupted),
		Args:        arguments(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			b := batch{app: a, wait: wait, asJSON: asJSON, each: f.each != ""}
			if b.each {
				e, err := a.each(&f, args)
				if err != nil {
					return err
				}
				b.subs, b.key = e.subs, e.key
				return b.run(cmd.Context())
			}
			sub, err := a.submission(&f, args)
			if err != nil {
				return err
			}
			b.subs = []engine.Submission{sub}
			return b.run(cmd.Context())
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&f.each, "each", "", "start a task for each line of `FILE`")
	cmd.Flags().BoolVar(&wait, "wait", false, "stay until all have ended; exit code 3 if one did not complete")
	jsonFlag(cmd, &asJSON)
	return cmd
}
