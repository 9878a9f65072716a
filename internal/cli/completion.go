package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/cli/setup"
)

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Print the completion script of a shell",
		Long: `Print a script that completes verbs, flags, ids and names of tasks, and values like
statuses. Load it in the file that your shell reads at its start. That of bash needs the
package bash-completion.`,
		Example: `  source <(cctask completion bash)                                    # ~/.bashrc
  source <(cctask completion zsh)                                     # ~/.zshrc, after compinit
  cctask completion fish > ~/.config/fish/completions/cctask.fish`,
		Annotations: exits(exitDone, exitFault, exitInput),
		Args:        arguments(1, 1, "the name of a shell: bash, zsh or fish"),
		ValidArgs:   []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.Stdout)
			case "fish":
				return root.GenFishCompletion(a.Stdout, true)
			}
			return badInput(fmt.Sprintf("%q is not a shell that completion knows", args[0]), "Use bash, zsh or fish.")
		},
	}
}

// flagValues are the words that the flag of a name may be followed by, for
// every verb that has it.
var flagValues = map[string][]string{
	"status":     task.PublicStatuses(),
	"sort":       sortNames(),
	"output":     {"full", "tail", "none"},
	"columns":    fieldNames(),
	"scope":      setup.Scopes,
	"client":     setup.ClientNames(),
	"log-level":  {"debug", "info", "warn", "error"},
	"log-format": {"json", "console"},
}

var directories = []string{"dir", "working-dir", "add-dirs"}

// addCompletions gives every verb its values: from the usage line for what it
// takes, from the name of a flag for what follows that.
func (a *app) addCompletions(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		a.addCompletions(cmd)
		switch words := strings.Fields(cmd.Use); {
		case len(words) > 1 && strings.HasPrefix(strings.Trim(words[1], "[]."), "ID"):
			cmd.ValidArgsFunction = a.completeTasks(!strings.Contains(words[1], "..."))
		case len(words) > 1 && strings.Contains(words[1], "FILE"): // what a shell does by itself
		case len(cmd.ValidArgs) == 0:
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) { completeFlag(cmd, f) })
		if cmd.Flags().Lookup("resume-task-id") != nil {
			_ = cmd.RegisterFlagCompletionFunc("resume-task-id", a.completeTasks(false))
		}
	}
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) { completeFlag(root, f) })
}

func completeFlag(cmd *cobra.Command, f *pflag.Flag) {
	values := flagValues[f.Name]
	if o, is := f.Value.(optionFlag); is {
		values = slices.Concat(o.Words, o.Offers)
	}
	// The only error is a flag that is not there.
	if values != nil {
		_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	if slices.Contains(directories, f.Name) {
		_ = cmd.MarkFlagDirname(f.Name)
	}
}

const (
	// completions is how many of the newest tasks are looked through.
	completions = 200
	// completionTime is what a person would wait for after the tabulator key.
	completionTime = time.Second
)

// usefulFor says which tasks a verb can do something with; the others take all.
var usefulFor = map[string]func(task.Status) bool{
	"cancel":  func(s task.Status) bool { return !s.Ended() },
	"wait":    func(s task.Status) bool { return !s.Ended() },
	"edit":    isQueued,
	"hold":    isQueued,
	"release": isQueued,
	"resume":  again,
	"retry":   again,
}

func isQueued(s task.Status) bool { return s == task.Queued }

func again(s task.Status) bool { return s.Ended() && s != task.Completed }

// completeTasks offers ids and names, the newest first. A shell shows no error:
// where the tasks cannot be had there is nothing to offer.
func (a *app) completeTasks(one bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		none := cobra.ShellCompDirectiveNoFileComp
		if one && len(args) > 0 {
			return nil, none
		}
		s, err := a.settings()
		if err != nil || !recorded(s.Dir) {
			return nil, none
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		client := a.client(s, true)
		defer client.Close()
		// An older task is found by its name, when something of that is typed.
		var found []cobra.Completion
		for _, f := range []task.Filter{{Limit: completions}, {Limit: completions, Name: begun}} {
			page, err := client.List(ctx, f)
			if err != nil {
				return nil, none
			}
			if useful, ok := usefulFor[cmd.Name()]; ok {
				page.Tasks = slices.DeleteFunc(page.Tasks, func(t task.Task) bool { return !useful(t.Status) })
			}
			if found = offers(page.Tasks, args, begun); len(found) > 0 || page.NextCursor == "" {
				break
			}
		}
		return found, none | cobra.ShellCompDirectiveKeepOrder
	}
}

func offers(tasks []task.Task, given []string, begun string) []cobra.Completion {
	var found []cobra.Completion
	add := func(ref, what string) {
		if ref != "" && strings.HasPrefix(ref, begun) && !slices.Contains(given, ref) {
			found = append(found, cobra.CompletionWithDesc(ref, what))
		}
	}
	for _, t := range tasks {
		what := string(t.Status.Public()) + " · " + claude.Visible(strings.Join(strings.Fields(t.PromptHead), " "))
		add(t.Spec.Name, what)
		add(string(t.ID), what)
	}
	return found
}
