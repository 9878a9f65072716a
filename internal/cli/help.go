package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpTemplate puts the exit codes, which every verb documents, at the end.
const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}{{with index .Annotations "exits"}}
Exit codes:
{{.}}{{end}}`

const helpWidth = 90

// fill breaks each paragraph into lines of up to helpWidth.
func fill(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		var b strings.Builder
		used := 0
		for word := range strings.FieldsSeq(p) {
			n := utf8.RuneCountInString(word)
			switch {
			case used == 0:
			case used+1+n > helpWidth:
				b.WriteByte('\n')
				used = 0
			default:
				b.WriteByte(' ')
				used++
			}
			b.WriteString(word)
			used += n
		}
		paragraphs[i] = b.String()
	}
	return strings.Join(paragraphs, "\n\n")
}

// usage writes how a verb is called, with its flags in groups.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage:\n  %s\n", cmd.UseLine())
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s [command]\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		groups := cmd.Groups()
		if len(groups) == 0 {
			groups = []*cobra.Group{{Title: "Commands"}}
		}
		for _, g := range groups {
			fmt.Fprintf(&b, "\n%s:\n", g.Title)
			for _, c := range cmd.Commands() {
				if c.IsAvailableCommand() && c.GroupID == g.ID {
					fmt.Fprintf(&b, "  %-*s  %s\n", cmd.NamePadding(), c.Name(), c.Short)
				}
			}
		}
	}
	for _, title := range []string{"Flags", "Task options", "Settings"} {
		group := pflag.NewFlagSet(title, pflag.ContinueOnError)
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			of := "Flags"
			if named, is := f.Value.(interface{ Group() string }); is {
				of = named.Group()
			}
			if of == title {
				group.AddFlag(f)
			}
		})
		if group.HasAvailableFlags() {
			fmt.Fprintf(&b, "\n%s:\n%s", title, group.FlagUsages())
		}
	}
	_, err := fmt.Fprint(cmd.OutOrStderr(), b.String())
	return err
}

func (a *app) welcome(root *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", rootLong)
	for _, name := range firstVerbs {
		cmd, _, err := root.Find([]string{name})
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "  %-15s %s\n", "cctask "+name, cmd.Short)
	}
	fmt.Fprintf(&b, "\nExamples:\n%s\n\n`cctask help` shows all commands, `cctask COMMAND --help` one of them.\n", rootExample)
	_, err := fmt.Fprint(a.Stdout, b.String())
	return err
}

// newHelp is cobra's help, but an unknown verb is a mistake.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND...]", Short: "Show the help of a command",
		Long:        "Show what a command does, with its flags, an example and its exit codes.",
		Example:     "  cctask help start",
		Annotations: exits(exitDone, exitInput),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownVerb(at, rest[0])
			}
			at.InitDefaultHelpFlag()
			return at.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) (found []cobra.Completion, _ cobra.ShellCompDirective) {
			if at, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, c := range at.Commands() {
					if c.IsAvailableCommand() && strings.HasPrefix(c.Name(), begun) {
						found = append(found, cobra.CompletionWithDesc(c.Name(), c.Short))
					}
				}
			}
			return found, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func unknownVerb(at *cobra.Command, word string) error {
	hint := fmt.Sprintf("See `%s --help`.", at.CommandPath())
	if near := at.SuggestionsFor(word); len(near) > 0 {
		hint = "Did you mean " + strings.Join(near, " or ") + "?"
	}
	return badInput(fmt.Sprintf("%q is not a command", word), hint)
}
