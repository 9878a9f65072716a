package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

// unended are the statuses of tasks that still move.
var unended = []task.Status{task.Queued, task.Starting, task.Running}

func newList(a *app) *cobra.Command {
	var all, asJSON bool
	var f task.Filter
	cmd := &cobra.Command{
		Use: "list", Short: "List queued and running tasks",
		Long:        `List the queued and running tasks, newest first; with --all the finished ones too.`,
		Example:     "  cctask list\n  cctask list --all --limit 20\n  cctask list --all --json | jq -r '.tasks[] | select(.status == \"failed\") | .task_id'",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 0, ""),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, _ []string) error {
			if f.Limit < 1 || f.Limit > maxListed {
				return badInput(fmt.Sprintf("--limit: %d is not a number from 1 to %d", f.Limit, maxListed), "Fetch further pages with --cursor.")
			}
			if !all {
				f.Statuses = unended
			}
			page, err := svc.List(ctx, f)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(listJSON{views(page.Tasks), page.NextCursor})
			}
			return a.printTable(page, all)
		}),
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "finished tasks too")
	cmd.Flags().IntVar(&f.Limit, "limit", 100, "most tasks of one page, a `NUMBER` up to 1000")
	cmd.Flags().StringVar(&f.Cursor, "cursor", "", "`CURSOR`: go on where the page before ended (its next_cursor)")
	jsonFlag(cmd, &asJSON)
	return cmd
}

const maxListed = 1000

func (a *app) printTable(page task.Page, all bool) error {
	if len(page.Tasks) == 0 {
		what := "No task is queued or running. `cctask list --all` shows the finished ones."
		if all {
			what = "No task is recorded. `cctask start PROMPT` starts one."
		}
		fmt.Fprintln(a.Stderr, what)
		return nil
	}
	if err := a.table(a.Stdout, page.Tasks, time.Now()); err != nil {
		return fmt.Errorf("print the list: %w", err)
	}
	if page.NextCursor != "" {
		fmt.Fprintf(a.Stderr, "More: --cursor %s\n", page.NextCursor)
	}
	return nil
}

// table writes a line for each task. What is cut to the width of a terminal
// stands last.
func (a *app) table(out io.Writer, tasks []task.Task, now time.Time) error {
	rows := [][]string{{"ID", "STATUS", "CREATED", "TIME", "COST", "PROMPT"}}
	for _, t := range tasks {
		what := t.PromptHead
		if t.Spec.Name != "" {
			what = t.Spec.Name + ": " + what
		}
		rows = append(rows, []string{
			string(t.ID), string(t.Status.Public()), ago(t.CreatedAt, now), spentText(t), costText(t), oneLine(what),
		})
	}
	room := columns(out)
	var widths [5]int
	for i := range widths {
		for _, r := range rows {
			widths[i] = max(widths[i], len(r[i]))
		}
		room -= widths[i] + 2
	}
	var b strings.Builder
	for n, r := range rows {
		for i, w := range widths {
			cell := fmt.Sprintf("%-*s  ", w, r[i])
			if i == 1 && n > 0 && a.coloured(out) {
				cell = fmt.Sprintf("\x1b[%dm%s\x1b[0m", colours[tasks[n-1].Status.Public()], cell)
			}
			b.WriteString(cell)
		}
		fmt.Fprintln(&b, shorten(r[len(widths)], max(room, 8)))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// spentText and costText are a dash for what is not known yet.
func spentText(t task.Task) string {
	if d := spent(t); d > 0 {
		return duration(d)
	}
	return "-"
}

func costText(t task.Task) string {
	if t.CostUSD > 0 {
		return cost(t.CostUSD)
	}
	return "-"
}

var colours = map[task.Status]int{
	task.Queued: 36, task.Running: 34, task.Completed: 32, task.Failed: 31,
	task.Timeout: 33, task.Cancelled: 35, task.Interrupted: 33,
}
