package cli

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

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
		RunE: a.interruptible(func(cmd *cobra.Command, _ []string) error {
			if f.Limit < 1 || f.Limit > maxListed {
				return badInput(fmt.Sprintf("--limit: %d is not a number from 1 to %d", f.Limit, maxListed), "Fetch further pages with --cursor.")
			}
			if !all {
				f.Statuses = unended
			}
			svc, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer svc.close()
			page, err := svc.List(cmd.Context(), f)
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
	cmd.Flags().IntVar(&f.Limit, "limit", 100, "most tasks of one page, up to 1000")
	cmd.Flags().StringVar(&f.Cursor, "cursor", "", "go on where the page before ended (its next_cursor)")
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

// table writes a line for each task. Every cell of the coloured column carries
// escapes of one length, so that tabwriter's count of bytes stays aligned.
func (a *app) table(out io.Writer, tasks []task.Task, now time.Time) error {
	paint := a.painter(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "ID\t%s\tCREATED\tTIME\tCOST\tPROMPT\n", paint("STATUS", ""))
	width := promptWidth(out)
	for _, t := range tasks {
		what := t.PromptHead
		if t.Spec.Name != "" {
			what = t.Spec.Name + ": " + what
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, paint(string(t.Status.Public()), t.Status.Public()),
			ago(t.CreatedAt, now), known(spent(t) > 0, duration(spent(t))), known(t.CostUSD > 0, cost(t.CostUSD)), shorten(oneLine(what), width))
	}
	return w.Flush()
}

// known is the text, or a dash for what is not known yet.
func known(is bool, text string) string {
	if is {
		return text
	}
	return "-"
}

// promptWidth is what a line of a terminal leaves beside the other columns;
// elsewhere the stored head is shown whole.
func promptWidth(out io.Writer) int {
	if f, ok := out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			return max(w-71, 20)
		}
	}
	return task.PromptHeadRunes
}

var colours = map[task.Status]int{
	task.Queued: 36, task.Running: 34, task.Completed: 32, task.Failed: 31,
	task.Timeout: 33, task.Cancelled: 35, task.Interrupted: 33,
}

// painter colours by status where colours are wanted.
func (a *app) painter(out io.Writer) func(text string, s task.Status) string {
	if !a.coloured(out) {
		return func(text string, _ task.Status) string { return text }
	}
	return func(text string, s task.Status) string {
		code, ok := colours[s]
		if !ok {
			code = 39 // the default, in as many bytes
		}
		return fmt.Sprintf("\x1b[%dm%s\x1b[39m", code, text)
	}
}
