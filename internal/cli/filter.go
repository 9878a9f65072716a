package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/task"
)

// unended are the statuses of tasks that still move.
var unended = []task.Status{task.Queued, task.Starting, task.Running}

// filterFlags say which tasks a verb is about.
type filterFlags struct {
	statuses, labels []string
	name, dir        string
	since, until     string
	search           string
}

func (f *filterFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringSliceVar(&f.statuses, "status", nil, "only those with this `STATUS`; may be repeated")
	fl.StringArrayVar(&f.labels, "label", nil, "only those with this `LABEL`; may be repeated: with all of them")
	fl.StringVar(&f.name, "name", "", "only those with this `TEXT` in their name, or whose name fits a pattern like 'build-*'")
	fl.StringVarP(&f.dir, "working-dir", "C", "", "only those that work in this `DIR` or below it")
	fl.StringVar(&f.since, "since", "", "only those created at this `TIME` or later: 2h, 1d12h, 1w, today, yesterday, 2026-11-01, '2026-11-01 15:04'")
	fl.StringVar(&f.until, "until", "", "only those created before this `TIME`; of a day, the end of it")
	fl.StringVar(&f.search, "search", "", "only those with this `TEXT` in a prompt, in any case; reads the prompts of all others")
}

// filter checks the flags. Without --status it selects the given ones.
func (f *filterFlags) filter(homed func(string) string, now time.Time, statuses []task.Status) (task.Filter, error) {
	to := task.Filter{Statuses: statuses, Labels: f.labels, Name: f.name, Search: f.search}
	if len(f.statuses) > 0 {
		to.Statuses = nil
	}
	for _, text := range f.statuses {
		found := false
		for _, s := range task.Statuses {
			if string(s) == text || string(s.Public()) == text {
				to.Statuses, found = append(to.Statuses, s), true
			}
		}
		if !found {
			return to, badInput(fmt.Sprintf("--status: %q is no status", text), fmt.Sprintf("Use one of %s.", strings.Join(task.PublicStatuses(), ", ")))
		}
	}
	var err error
	if f.dir != "" {
		if to.WorkingDir, err = filepath.Abs(homed(f.dir)); err != nil {
			return to, badInput(fmt.Sprintf("--working-dir: %v", err), "Give an absolute path.")
		}
	}
	for name, t := range map[string]struct {
		text string
		to   *time.Time
	}{"since": {f.since, &to.Since}, "until": {f.until, &to.Until}} {
		if t.text == "" {
			continue
		}
		var day bool
		if *t.to, day, err = parseTime(t.text, now); err != nil {
			return to, badInput(fmt.Sprintf("--%s: %q is not a time", name, t.text),
				"Write how long ago (90m, 2h, 7d, 1w, 1d12h), today, yesterday, a date (2026-11-01), one with a time ('2026-11-01 15:04') or RFC 3339.")
		}
		if day && name == "until" {
			*t.to = t.to.AddDate(0, 0, 1) // who names a day means all of it
		}
	}
	return to, nil
}

// chosen is a verb for the tasks that the flags choose; a mistake in them starts no owner.
func (a *app) chosen(f *filterFlags, run func(ctx context.Context, svc engine.Service, f task.Filter) error) verb {
	return func(cmd *cobra.Command, args []string) error {
		filter, err := f.filter(a.homed, time.Now(), nil)
		if err != nil {
			return err
		}
		return a.connected(func(ctx context.Context, svc engine.Service, _ []string) error { return run(ctx, svc, filter) })(cmd, args)
	}
}

// filtered tells whether any flag leaves tasks out.
func (f *filterFlags) filtered() bool {
	return len(f.statuses)+len(f.labels) > 0 || f.name+f.dir+f.since+f.until+f.search != ""
}

// parseTime reads a moment: how long it is past, or a date of this place; or a
// day, which is its first moment.
func parseTime(text string, now time.Time) (_ time.Time, day bool, _ error) {
	if age := task.Age(0); age.Set(text) == nil {
		return now.Add(-time.Duration(age)), false, nil
	}
	return task.ParseMoment(text, now)
}
