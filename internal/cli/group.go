package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/show"
)

func newGroup(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "group", Short: "Show groups of tasks, or bound how many of one run at once",
		Long: `A task is in the group that its option group names, else in the group default. Tasks of a
group share a number of slots within those of the whole queue, and can be paused together.`,
		Example:     "  cctask group list\n  cctask group set docs --jobs 2\n  cctask group rm docs",
		Annotations: exits(exitDone, exitFault, exitInput),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownVerb(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newGroupList(a), newGroupSet(a), newGroupRemove(a))
	return cmd
}

func newGroupList(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "Show all groups that have tasks or of which something is set",
		Long: `Show for each group how many of its tasks run and wait, how many may run at once, and
whether it is paused. The last line is the whole queue.`,
		Example:     "  cctask group list",
		Annotations: exits(exitDone, exitFault, exitInput),
		Args:        arguments(0, 0, ""),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, _ []string) error {
			groups, err := svc.Groups(ctx, nil)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(map[string]any{"groups": groups})
			}
			for _, g := range append(groups[1:], groups[0]) {
				if _, err := fmt.Fprintln(a.Stdout, groupLine(g)); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON; the group without a name is the whole queue")
	return cmd
}

func groupLine(g task.Group) string {
	line := fmt.Sprintf("%s: %d running, %d queued", claude.Visible(cmp.Or(g.Name, "all")), g.Live, g.Queued)
	if g.Jobs > 0 {
		line += fmt.Sprintf(", at most %s at once", show.Plural(g.Jobs, "task"))
	}
	if g.Paused {
		line += ", paused"
	}
	return line
}

func (a *app) changeGroup(ctx context.Context, svc engine.Service, c task.GroupChange) error {
	// What only takes something away from a group that is not there is a mistyped name.
	if (c.Jobs == nil || *c.Jobs == 0) && c.Paused != nil && !*c.Paused && c.Name != "" {
		groups, err := svc.Groups(ctx, nil)
		if err != nil {
			return err
		}
		var names []string
		for _, g := range groups {
			names = append(names, g.Name)
		}
		if !slices.Contains(names, c.Name) {
			hint := "`cctask group list` shows those that there are."
			if near := task.Nearest(c.Name, names); near != "" {
				hint = "The nearest is " + near + "; " + hint
			}
			return task.Errorf(task.CodeNotFound, hint, "no task is in a group %q, and nothing is set of it", c.Name)
		}
	}
	groups, err := svc.Groups(ctx, &c)
	if err != nil {
		return err
	}
	changed := task.Group{Name: c.Name} // one that has no tasks, and of which nothing is set any more
	for _, g := range groups {
		if g.Name == c.Name {
			changed = g
		}
	}
	_, err = fmt.Fprintln(a.Stdout, groupLine(changed))
	return err
}

func newGroupSet(a *app) *cobra.Command {
	var jobs int64
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Bound how many tasks of a group run at once",
		Long: `Let at most so many tasks of a group run at once, from now on and under every owner.
What runs already goes on. 0 is as many as the whole queue's.`,
		Example:     "  cctask group set docs --jobs 2",
		Annotations: exits(exitDone, exitFault, exitInput),
		Args:        arguments(1, 1, "the name of a group"),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
			n := int(jobs)
			switch {
			case n < 0:
				return badInput("group set needs --jobs", "Give a number of slots, or 0 for as many as the whole queue's.")
			case args[0] == "":
				return badInput("the name of a group is empty", "Give one.")
			}
			return a.changeGroup(ctx, svc, task.GroupChange{Name: args[0], Jobs: &n})
		}),
	}
	cmd.Flags().Var(whole(&jobs, -1, 0, task.MaxJobs), "jobs", "most tasks of the group that run at once, a `NUMBER`; 0 is as many as the whole queue's")
	return cmd
}

func newGroupRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Short: "Forget what is set of a group",
		Long: `Forget how many tasks of a group may run at once, and end its pause. Its tasks stay as
they are.`,
		Example:     "  cctask group rm docs",
		Annotations: exits(exitDone, exitFault, exitInput),
		Args:        arguments(1, 1, "the name of a group"),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
			if args[0] == "" {
				return badInput("the name of a group is empty", "Give one.")
			}
			return a.changeGroup(ctx, svc, task.GroupChange{Name: args[0], Jobs: new(int), Paused: new(bool)})
		}),
	}
}
