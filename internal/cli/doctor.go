package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"cctask/engine/task"
	"cctask/internal/cli/doctor"
	"cctask/internal/show"
)

func newDoctor(a *app) *cobra.Command {
	var asJSON, fix, inForce, policies bool
	var file string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check whether all is well here",
		Long: `Check the settings, the state directory and its modes, the owner, the database, claude and
its login, the registration with Claude Code, what is left over of runs, the disk and the
clock, and say what to do about what is not well. A note is worth knowing and no failure.
Nothing is started and nothing is changed, unless --fix is given: it closes files to
others, removes what interrupted commands left, and lets an owner clean up after runs.
--policies shows what follows the end of a task by its failure_reason: whether it is tried
again by itself, how often, and in which session. [retry] of the settings file changes it
for all tasks, --retries and --retry-on for one.`,
		Example:     "  cctask doctor\n  cctask doctor --fix\n  cctask doctor --settings\n  cctask doctor --policies\n  cctask doctor --db copy/tasks.db",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 0, ""),
		RunE: a.interruptible(func(ctx context.Context, _ []string) error {
			d := &doctor.Doctor{Source: a.source(), Environ: a.Environ(), Version: version(), Dial: a.client}
			switch {
			case file != "" && (fix || inForce || policies):
				return badInput("--db checks a file and nothing else", "Leave --fix, --settings and --policies out.")
			case policies:
				return a.showPolicies(asJSON)
			case inForce:
				return a.showSettings(ctx, d, asJSON)
			}
			var findings []doctor.Finding
			d.Fix, d.Tell = fix, func(f doctor.Finding) {
				if !asJSON {
					_, _ = io.WriteString(a.Stdout, f.Lines(show.Columns(a.Stdout), a.coloured(a.Stdout)))
				}
			}
			if file != "" {
				findings = d.ExamineFile(ctx, file)
			} else {
				findings = d.Examine(ctx)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return a.conclude(findings, fix, asJSON)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&fix, "fix", false, "repair what is safe to repair")
	f.BoolVar(&inForce, "settings", false, "show each setting as it holds now, and where it came from")
	f.BoolVar(&policies, "policies", false, "show what is tried again by itself, by the reason of its end")
	f.StringVar(&file, "db", "", "check a database `FILE` that no owner has open, and nothing else")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) conclude(findings []doctor.Finding, fix, asJSON bool) error {
	problems, fixable := doctor.Problems(findings)
	if asJSON {
		err := a.printJSON(struct {
			OK     bool             `json:"ok"`
			Checks []doctor.Finding `json:"checks"`
		}{problems == 0, findings})
		if err != nil {
			return err
		}
	}
	if problems == 0 {
		return nil
	}
	hint := "See what is said under each."
	if fixable > 0 && !fix {
		hint = "`cctask doctor --fix` repairs what is safe to repair."
	}
	return &stop{exitFault, &task.Error{Code: task.CodeInternal, Message: show.Plural(problems, "problem") + " found", Hint: hint}}
}

// showSettings prints every setting with the place that it came from.
func (a *app) showSettings(ctx context.Context, d *doctor.Doctor, asJSON bool) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	rows := d.InForce(ctx, s)
	if asJSON {
		return a.printJSON(rows)
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVALUE\tFROM")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, show.OneLine(r.Value), show.OneLine(r.Source))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the settings: %w", err)
	}
	return nil
}

// retryJSON is what follows ends of one reason.
type retryJSON struct {
	Reason   task.FailureReason `json:"failure_reason"`
	Attempts int                `json:"attempts"` // in a row; 0: the end stands
	Session  task.RetryHow      `json:"session,omitempty"`
	BaseMS   int64              `json:"base_ms,omitempty"`
	MaxMS    int64              `json:"max_ms,omitempty"`
}

// showPolicies prints what follows which end, under the settings file of this command.
func (a *app) showPolicies(asJSON bool) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FAILURE_REASON\tTRIED AGAIN")
	var list []retryJSON
	for _, reason := range task.Reasons {
		rule := s.File.Retry.Rule(task.Spec{}, reason)
		row := retryJSON{Reason: reason, Session: rule.How}
		if rule.How != "" {
			row.Attempts, row.BaseMS, row.MaxMS = rule.Attempts, rule.Base.Milliseconds(), rule.Max.Milliseconds()
		}
		list = append(list, row)
		fmt.Fprintf(w, "%s\t%s\n", reason, rule.Words())
	}
	if asJSON {
		return a.printJSON(list)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the policies: %w", err)
	}
	return nil
}
