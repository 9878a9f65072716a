package cli

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/show"
)

func newLimits(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "limits", Short: "Show what keeps queued tasks from starting: accounts, budgets, groups",
		Long: `Show the accounts that are closed, since a task met a usage limit, a refused login or a
lack of credit: why, until when, and how many tasks wait for each. Then one task goes
first, and when claude is answered the others follow. An account is named by its
configuration directory or by a hash of its key or token. Below stand the budgets of the
settings file, ~ where what runs is estimated, the groups and the whole queue.`,
		Example:     "  cctask limits\n  cctask limits open key-2bd806c97f0e",
		Annotations: exits(exitDone, exitFault, exitInput),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownVerb(cmd, args[0])
		},
		RunE: a.connected(func(ctx context.Context, svc engine.Service, _ []string) error {
			gates, err := svc.Gates(ctx, "")
			if err != nil {
				return err
			}
			groups, err := svc.Groups(ctx, nil)
			if err != nil {
				return err
			}
			budgets, err := svc.Budgets(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(map[string]any{"accounts": gates, "budgets": budgets, "groups": groups})
			}
			if len(gates) == 0 {
				_, err = fmt.Fprintln(a.Stdout, "no account is closed")
			}
			for _, g := range gates {
				if err == nil {
					_, err = fmt.Fprintln(a.Stdout, gateLine(g, time.Now()))
				}
			}
			for _, b := range budgets {
				if err == nil {
					_, err = fmt.Fprintln(a.Stdout, budgetLine(b))
				}
			}
			for _, g := range append(groups[1:], groups[0]) {
				if err == nil {
					_, err = fmt.Fprintln(a.Stdout, "group "+groupLine(g))
				}
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON; the group without a name is the whole queue")
	cmd.AddCommand(newLimitsOpen(a))
	return cmd
}

// gateLine says why an account is closed, and until when.
func gateLine(g task.Gate, now time.Time) string {
	line := "account " + claude.Visible(g.Account) + ": " + g.Says()
	switch {
	case g.Probe != "":
		line += fmt.Sprintf(", task %s tries it", g.Probe)
	case now.Before(g.Until):
		line += fmt.Sprintf(" until %s, in %s", g.Until.Local().Format("2006-01-02 15:04:05"), show.Duration(g.Until.Sub(now)))
	default:
		line += ", the next task tries it"
	}
	return line + fmt.Sprintf("; %d queued; %s", g.Queued, claude.Visible(cmp.Or(g.Message, string(g.Reason))))
}

// budgetLine says how far a budget is used up, and what it does.
func budgetLine(b task.Budget) string {
	line := fmt.Sprintf("%s, %d %%; ", claude.Visible(b.Words()), b.Percent())
	running := "what runs finishes"
	if b.OnBudget == task.OnBudgetCancel {
		running = "what runs is stopped"
	}
	if b.Left() > 0 {
		return line + "once it is spent nothing starts, " + running
	}
	line += "nothing starts, " + running
	if !b.Until.IsZero() {
		line += "; anew " + b.Until.Local().Format("2006-01-02 15:04:05")
	}
	return line + "; " + task.RaiseBudget
}

func newLimitsOpen(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "open ACCOUNT", Short: "Let the tasks of a closed account start",
		Long: `Let the tasks of an account that is closed start now, one by one at first. One that meets
its limit closes it again.`,
		Example:     "  cctask limits open key-2bd806c97f0e",
		Annotations: exits(exitDone, exitFault, exitInput),
		Args:        arguments(1, 1, "the name of an account"),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
			if args[0] == "" {
				return badInput("the name of an account is empty", "`cctask limits` shows those that are closed.")
			}
			if _, err := svc.Gates(ctx, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.Stdout, "account %s is open\n", claude.Visible(args[0]))
			return err
		}),
	}
}
