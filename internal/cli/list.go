package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/show"
)

type listFlags struct {
	filterFlags
	all, reverse, asJSON, tree      bool
	limit                           int64
	cursor, sort, columns, template string
}

const listLong = `List the queued and running tasks, newest first; with --all the finished ones too, with
--status those of some statuses alone. --sort orders by %s; tasks without such a value come
last. --columns chooses from %s. On a terminal ids are shown by their ends, which name a task
as well, and columns that have no room are left out.

` + formatHelp

// defaultColumns leave out what is empty in all rows.
const defaultColumns = "task_id,status,created_at,duration_ms,cost_usd,name,status_message,prompt"

const listExample = `  cctask list
  cctask list --all --since 2d --status failed,timeout
  cctask list --all --label nightly --name 'build-*' -C ~/project --search "flaky test"
  cctask list --all --sort cost --limit 10 --columns task_id,cost_usd,num_turns,name
  cctask list --format '{{.task_id}} {{.status}} {{ago .created_at}}'
  cctask list --all --json | jq -r '.tasks[] | select(.status == "failed") | .task_id'`

func newList(a *app) *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List queued and running tasks",
		Long:        fmt.Sprintf(listLong, strings.Join(sortNames(), ", "), strings.Join(fieldNames(), ", ")),
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
			return a.printList(ctx, svc, l)
		})(cmd, args)
	}
	fl := cmd.Flags()
	fl.BoolVarP(&f.all, "all", "a", false, "finished tasks too")
	f.register(cmd)
	fl.StringVar(&f.sort, "sort", "created_at", "`ORDER` of the list")
	fl.BoolVarP(&f.reverse, "reverse", "r", false, "the other way round")
	fl.VarP(whole(&f.limit, 100, 1, maxListed), "limit", "n", "most tasks of one page, a `NUMBER` up to 1000; --cursor fetches further ones")
	fl.StringVar(&f.cursor, "cursor", "", "`CURSOR`: go on where the page before ended (its next_cursor)")
	fl.StringVar(&f.columns, "columns", "", "`COLUMNS` to show, with commas between")
	fl.BoolVar(&f.tree, "tree", false, "draw each task below the one that started it, or that it waits for")
	fl.StringVar(&f.template, "format", "", "print each task by a Go `TEMPLATE`")
	jsonFlag(cmd, &f.asJSON)
	return cmd
}

const maxListed = 1000

func sortNames() []string {
	return show.Names(func(f show.Field) bool { return f.Sort != "" })
}

func fieldNames() []string { return show.Names(func(show.Field) bool { return true }) }

type lister struct {
	filter task.Filter
	cols   []show.Field
	empty  bool               // columns in which nothing stands are left out
	format *template.Template // nil: a table, or JSON
	asJSON bool
	tree   bool
	none   string // what to say if no task fits
}

func (a *app) newLister(f listFlags) (l lister, err error) {
	by, known := show.Find(f.sort)
	if !known || by.Sort == "" {
		return l, badInput(fmt.Sprintf("--sort: there is no order %q", f.sort), "Use one of "+strings.Join(sortNames(), ", ")+".")
	}
	statuses := unended
	l.none = "No task is queued or running. `cctask list --all` shows the finished ones."
	if f.all {
		statuses, l.none = nil, "No task is recorded. `cctask start PROMPT` starts one."
	}
	if l.filter, err = f.filter(a.homed, time.Now(), statuses); err != nil {
		return l, err
	}
	if f.filtered() {
		l.none = "No task fits."
		if !f.all && len(f.statuses) == 0 {
			l.none = "No queued or running task fits. With --all the finished ones are looked at too."
		}
	}
	if f.cursor != "" {
		l.none = "There are no more tasks: the page before was the last one."
	}
	l.filter.Sort, l.filter.Reverse, l.filter.Limit, l.filter.Cursor = by.Sort, f.reverse, int(f.limit), f.cursor
	l.asJSON, l.tree = f.asJSON, f.tree
	if f.tree && (f.asJSON || f.template != "") {
		return l, badInput("--tree draws a table", "Leave out --json and --format, or --tree: parent_id and after say the same.")
	}
	shapes := 0
	for _, given := range []bool{f.asJSON, f.template != "", f.columns != ""} {
		if given {
			shapes++
		}
	}
	if shapes > 1 {
		return l, badInput("--json, --format and --columns are different shapes of the list", "Give one of them.")
	}
	if f.template != "" {
		l.format, err = parseFormat(f.template)
		return l, err
	}
	l.empty = f.columns == ""
	l.cols, err = parseColumns(cmp.Or(f.columns, defaultColumns))
	return l, err
}

func parseColumns(text string) (cols []show.Field, err error) {
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		f, known := show.Find(name)
		if !known {
			return nil, badInput(fmt.Sprintf("--columns: there is no column %q", name), "Use some of "+strings.Join(fieldNames(), ", ")+".")
		}
		cols = append(cols, f)
	}
	return cols, nil
}

func rows(tasks []task.Task, now time.Time) []show.Row {
	rows := make([]show.Row, len(tasks))
	for i, t := range tasks {
		rows[i] = show.Row{Task: t, Now: now}
	}
	return rows
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
		fmt.Fprintln(a.Stderr, l.none)
	case l.format != nil:
		if err := a.printFormat(l.format, page.Tasks); err != nil {
			return err
		}
	default:
		lines := rows(page.Tasks, time.Now())
		if l.tree {
			lines = show.Forest(lines)
		}
		text := show.Table(l.cols, lines, show.Columns(a.Stdout), a.coloured(a.Stdout), l.empty)
		if show.IsTerminal(a.Stdout) {
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
		if t.Status != task.Queued || !show.Says(t) {
			continue
		}
		if counts[t.Message]++; counts[t.Message] == 1 {
			whys = append(whys, t.Message)
		}
	}
	var b strings.Builder
	for _, why := range whys {
		fmt.Fprintf(&b, "%s: %s\n", show.Plural(counts[why], "queued task"), show.OneLine(why))
	}
	return b.String()
}

// totals sums up a page in one line.
func totals(page task.Page) string {
	counts, usd, flying := map[task.Status]int{}, 0.0, 0.0
	for _, t := range page.Tasks {
		counts[t.Status.Public()]++
		usd += t.CostUSD + t.Flying()
		flying += t.Flying()
	}
	parts := []string{show.Plural(len(page.Tasks), "task")}
	for _, s := range task.Statuses {
		if n := counts[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	line := strings.Join(append(parts, show.Estimated(flying)+show.Cost(usd)), ", ")
	if page.NextCursor != "" {
		line += "; there are more"
	}
	return line
}
