package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/show"
	"cctask/internal/summary"
)

const summaryLong = `Say in a few lines what became of tasks: how many ended how, what they cost, how long they
were queued and for what some still wait, what was tried again and why, which limits of the
API were met, and what did not complete, by its causes, with the next step for each. With
--json the same for programs, with the ids of all tasks that are counted by a cause.`

func newSummary(a *app) *cobra.Command {
	var f filterFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "summary", Short: "Sum up what became of tasks", Long: summaryLong,
		Example:     "  cctask summary --since yesterday\n  cctask summary --label nightly\n  cctask summary --since 12h --json | jq -r '.failures[] | .failure_reason, .task_ids[]'",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 0, ""),
		RunE: a.chosen(&f, func(ctx context.Context, svc engine.Service, f task.Filter) error {
			return a.summarize(ctx, svc, f, asJSON)
		}),
	}
	f.register(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) summarize(ctx context.Context, svc engine.Service, f task.Filter, asJSON bool) error {
	now := time.Now()
	tasks, err := summary.Read(ctx, svc, f)
	if err != nil {
		return err
	}
	s := summary.Of(tasks, now)
	if asJSON {
		return a.printJSON(s)
	}
	titles := map[task.ID]string{}
	for _, t := range tasks {
		titles[t.ID] = show.Row{Task: t}.Title()
	}
	if _, err := io.WriteString(a.Stdout, show.Summary(s, titles, show.Columns(a.Stdout), a.coloured(a.Stdout))); err != nil {
		return fmt.Errorf("print the summary: %w", err)
	}
	return nil
}
