package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

// listFlags say what list shows, and how.
type listFlags struct {
	filterFlags
	all, reverse, asJSON, watch     bool
	limit                           int64
	cursor, sort, columns, template string
}

const listLong = `List the queued and running tasks, newest first; with --all the finished ones too, with
--status those of some statuses alone. --sort orders by %s; tasks without such a value come
last. --columns chooses from %s.

` + formatHelp

const listExample = `  cctask list
  cctask list --all --since 2d --status failed,timeout
  cctask list --all --label nightly --name 'build-*' -C ~/project --search "flaky test"
  cctask list --all --sort cost --limit 10 --columns id,cost,turns,name,prompt
  cctask list --format '{{.ID}} {{.Status}} {{ago .Created}}'
  cctask list --all --json | jq -r '.tasks[] | select(.status == "failed") | .task_id'
  cctask list --watch`

func newList(a *app) *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List queued and running tasks",
		Long:        fmt.Sprintf(listLong, strings.Join(sortNames(), ", "), columnNames(), formatFields()),
		Example:     listExample,
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 0, ""),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l, err := a.newLister(f)
		if err != nil {
			return err // before an owner is started for it
		}
		return a.connected(func(ctx context.Context, svc engine.Service, _ []string) error {
			if f.watch {
				return a.watchList(ctx, svc, l)
			}
			return a.printList(ctx, svc, l)
		})(cmd, args)
	}
	fl := cmd.Flags()
	fl.BoolVarP(&f.all, "all", "a", false, "finished tasks too")
	f.register(cmd)
	fl.StringVar(&f.sort, "sort", string(task.ByCreated), "`ORDER` of the list")
	fl.BoolVarP(&f.reverse, "reverse", "r", false, "the other way round")
	fl.VarP(whole(&f.limit, 100, 1, maxListed), "limit", "n", "most tasks of one page, a `NUMBER` up to 1000; --cursor fetches further ones")
	fl.StringVar(&f.cursor, "cursor", "", "`CURSOR`: go on where the page before ended (its next_cursor)")
	fl.StringVar(&f.columns, "columns", defaultColumns, "`COLUMNS` to show")
	fl.StringVar(&f.template, "format", "", "print each task by a Go `TEMPLATE`")
	fl.BoolVarP(&f.watch, "watch", "w", false, "show the list again as it changes, until Ctrl-C")
	jsonFlag(cmd, &f.asJSON)
	return cmd
}

const maxListed = 1000

func sortNames() (names []string) {
	for _, s := range task.Sorts {
		names = append(names, string(s))
	}
	return names
}

// lister is a list as the flags ask for it.
type lister struct {
	filter task.Filter
	cols   []column
	format *template.Template // nil: a table, or JSON
	asJSON bool
	empty  string // what to say if no task fits
}

func (a *app) newLister(f listFlags) (l lister, err error) {
	if !slices.Contains(task.Sorts, task.Sort(f.sort)) {
		return l, badInput(fmt.Sprintf("--sort: there is no order %q", f.sort), "Use one of "+strings.Join(sortNames(), ", ")+".")
	}
	statuses := unended
	l.empty = "No task is queued or running. `cctask list --all` shows the finished ones."
	if f.all {
		statuses, l.empty = nil, "No task is recorded. `cctask start PROMPT` starts one."
	}
	if l.filter, err = f.filter(a.homed, time.Now(), statuses); err != nil {
		return l, err
	}
	if f.filtered() {
		l.empty = "No task fits."
		if !f.all && len(f.statuses) == 0 {
			l.empty = "No queued or running task fits. With --all the finished ones are looked at too."
		}
	}
	if f.cursor != "" {
		l.empty = "There are no more tasks: the page before was the last one."
	}
	l.filter.Sort, l.filter.Reverse, l.filter.Limit, l.filter.Cursor = task.Sort(f.sort), f.reverse, int(f.limit), f.cursor
	l.asJSON = f.asJSON
	shapes := 0
	for _, given := range []bool{f.asJSON, f.template != "", f.columns != defaultColumns} {
		if given {
			shapes++
		}
	}
	if shapes > 1 {
		return l, badInput("--json, --format and --columns are different shapes of the list", "Give one of them.")
	}
	if f.watch && (f.asJSON || f.template != "" || !isTerminal(a.Stdout)) {
		return l, badInput("--watch shows a table on a terminal", "Leave --watch out, or wait for ends with `cctask wait`.")
	}
	if f.template != "" {
		l.format, err = parseFormat(f.template)
		return l, err
	}
	l.cols, err = parseColumns(f.columns)
	return l, err
}

func (a *app) printList(ctx context.Context, svc engine.Service, l lister) error {
	page, err := svc.List(ctx, l.filter)
	if err != nil {
		return err
	}
	if page.Note != "" {
		fmt.Fprintf(a.Stderr, "cctask: %s\n", page.Note)
	}
	if l.asJSON {
		return a.printJSON(listJSON{views(page.Tasks), page.NextCursor})
	}
	switch {
	case len(page.Tasks) == 0:
		fmt.Fprintln(a.Stderr, l.empty)
	case l.format != nil:
		if err := a.printFormat(l.format, page.Tasks); err != nil {
			return err
		}
	default:
		text := table(l.cols, page.Tasks, columns(a.Stdout), a.coloured(a.Stdout), time.Now())
		if isTerminal(a.Stdout) {
			text += "\n" + totals(page) + "\n"
		}
		if _, err := io.WriteString(a.Stdout, text); err != nil {
			return fmt.Errorf("print the list: %w", err)
		}
		fmt.Fprint(a.Stderr, waiting(page.Tasks))
	}
	if page.NextCursor != "" {
		fmt.Fprintf(a.Stderr, "More: --cursor %s\n", page.NextCursor)
	}
	return nil
}

// waiting says once each for what the queued tasks wait beside their turn.
func waiting(tasks []task.Task) string {
	counts := map[string]int{}
	var whys []string
	for _, t := range tasks {
		if t.Status != task.Queued || !says(t) {
			continue
		}
		if counts[t.Message]++; counts[t.Message] == 1 {
			whys = append(whys, t.Message)
		}
	}
	var b strings.Builder
	for _, why := range whys {
		fmt.Fprintf(&b, "%s: %s\n", plural(counts[why], "queued task"), oneLine(why))
	}
	return b.String()
}
