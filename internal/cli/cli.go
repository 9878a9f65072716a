// Package cli is the command line: one file a verb. It is the only package
// that knows every concrete type, and the place where they are wired together:
// it may import all of the module. What a verb does with tasks goes through
// engine.Service alone, so that it is the same over the socket and --embedded.
// It must never know how a task is kept or run.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/cli/doctor"
	"cctask/internal/cli/settings"
	"cctask/internal/cli/setup"
)

// Env is what a front takes from its process.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Environ        func() []string
}

func System() Env {
	return Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Environ: os.Environ}
}

// app is one call of the command line.
type app struct {
	Env
	flags settings.Flags
}

func (a *app) source() settings.Source { return settings.Source{Getenv: a.Getenv, Flags: a.flags} }

func (a *app) settings() (settings.Settings, error) { return a.source().Load() }

func (a *app) homed(path string) string { return a.source().Homed(path) }

// within are the tasks that this command was started in.
func (a *app) within() task.Within { return claude.Lineage(a.Environ()) }

// Run carries out args, the program's name first, and returns the exit code.
func Run(ctx context.Context, args []string, env Env) int {
	// A runner lives as long as claude does: it takes nothing of a front's set-up.
	if len(args) == 2 && args[1] == runnerVerb {
		return runRunner()
	}
	if len(args) == 3 && args[1] == siteVerb {
		return runSite(args[2], env)
	}
	if len(args) == 3 && args[1] == doctor.CheckVerb {
		return doctor.RunCheck(args[2], env.Stdout)
	}
	a := &app{Env: env}
	root := newRoot(a, commandOf(args))
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	a.report(err)
	return exitCode(err)
}

// Root is the tree of all verbs, for those who describe it.
func Root() *cobra.Command { return newRoot(&app{Env: System()}, "") }

type newVerb struct {
	name string
	make func(*app) *cobra.Command
}

// verbGroups are all verbs, by what a person wants.
var verbGroups = []struct {
	title string
	verbs []newVerb
}{
	{"Run tasks", []newVerb{{"run", newRun}, {"start", newStart}, {"wait", newWait}, {"resume", newResume}, {"retry", newRetry}}},
	{"Look", []newVerb{{"list", newList}, {"status", newStatus}, {"logs", newLogs}, {"top", newTop}, {"diff", newDiff}}},
	{"Steer", []newVerb{
		{"cancel", newCancel},
		{"edit", newEdit},
		{"hold", newHold},
		{"release", newRelease},
		{"pause", newPause},
		{"unpause", newUnpause},
		{"group", newGroup},
		{"merge", newMerge},
		{"limits", newLimits},
		{"rm", newRemove},
	}},
	{"Data", []newVerb{{"dump", newDump}, {"restore", newRestore}, {"report", newReport}, {"summary", newSummary}}},
	{"This installation", []newVerb{
		{"setup", newSetup},
		{"doctor", newDoctor},
		{"daemon", newDaemon},
		{"mcp", newMCP},
		{"completion", newCompletion},
		{"version", newVersion},
		{setup.HookVerb, newHook},
	}},
}

// firstVerbs are those that `cctask` alone explains.
var firstVerbs = []string{"run", "start", "list", "logs", "setup"}

// commandOf is the verb that args call, if that can be seen at once; else "".
func commandOf(args []string) string {
	for _, g := range verbGroups {
		for _, v := range g.verbs {
			if len(args) > 1 && args[1] == v.name {
				return v.name
			}
		}
	}
	return ""
}

const rootLong = `cctask runs many Claude Code tasks at once, keeps every task, status change and byte
of output, and survives the death of the terminal, the client and itself.`

const rootExample = `  cctask run "Explain what main.go does"
  cctask start --working-dir ~/project "Fix the failing test"
  cctask list
  cctask logs -f ID`

// newRoot is the tree of all verbs, or of the one that is named: each call would
// pay for the flags of twenty others.
func newRoot(a *app, verb string) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use: "cctask", Short: "Run Claude Code tasks in parallel", Long: rootLong, Example: rootExample,
		Annotations:   exits(exitDone, exitFault, exitInput, exitEnded, exitTimeout, exitInterrupted),
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: refuseBlank,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownVerb(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return a.printVersion()
			}
			return a.welcome(cmd)
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.DisableDefaultCmd = true
	root.Flags().BoolVarP(&version, "version", "v", false, "print the version")
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageFunc(usage)
	root.SetHelpCommand(newHelp())
	root.SetFlagErrorFunc(flagError)
	a.flags = settings.Flags{}
	a.flags.Register(root.PersistentFlags(), false)
	for _, g := range verbGroups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, v := range g.verbs {
			if verb == "" || verb == v.name {
				cmd := v.make(a)
				for _, c := range append(cmd.Commands(), cmd) {
					c.Long = fill(c.Long)
				}
				cmd.GroupID = g.title
				root.AddCommand(cmd)
			}
		}
	}
	root.SetHelpCommandGroupID("This installation")
	if verb == "" { // a shell asks by a verb of cobra's
		a.addCompletions(root)
	}
	return root
}

func flagError(cmd *cobra.Command, err error) error {
	hint := fmt.Sprintf("See `%s --help`.", cmd.CommandPath())
	var unknown *pflag.NotExistError
	var syntax *pflag.InvalidSyntaxError
	word := ""
	switch {
	case errors.As(err, &unknown):
		word = unknown.GetSpecifiedName() + unknown.GetSpecifiedShortnames()
		if near := nearestFlag(cmd, unknown.GetSpecifiedName()); near != "" {
			hint = fmt.Sprintf("Did you mean --%s? %s", near, hint)
		}
	case errors.As(err, &syntax):
		word = syntax.GetSpecifiedFlag()
	}
	// No flag has a space in it.
	if takesPrompt(cmd) && strings.ContainsAny(word, " \t\n") {
		hint = "A prompt that begins with - goes behind -- or in by stdin. " + hint
	}
	// What strconv says helps nobody.
	message, _, _ := strings.Cut(err.Error(), ": strconv.")
	return badInput(message, hint)
}

// nearestFlag is the one that a mistyped name most likely means, or "".
func nearestFlag(cmd *cobra.Command, name string) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, strings.ReplaceAll(f.Name, "-", "_"))
		}
	})
	return strings.ReplaceAll(task.Nearest(name, names), "_", "-")
}

// refuseBlank refuses what was given as "": a variable that was not set. Taken for
// none it would start afresh what was to go on, or list what was to be filtered.
// Options of a task are judged by their table.
func refuseBlank(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		blank := f.Value.Type() == "string" && f.Value.String() == ""
		if list, ok := f.Value.(pflag.SliceValue); ok {
			blank = len(list.GetSlice()) == 0 || slices.Contains(list.GetSlice(), "")
		}
		if blank {
			err = badInput("--"+f.Name+": the value is empty", "Give one, or leave --"+f.Name+" out.")
		}
	})
	return err
}

func takesPrompt(cmd *cobra.Command) bool { return strings.Contains(cmd.Use, "PROMPT") }

// arguments checks the number of arguments; what names what is missing.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		name := strings.TrimPrefix(cmd.CommandPath(), "cctask ")
		hint := "Usage: " + strings.TrimSuffix(cmd.UseLine(), " [flags]")
		switch {
		case len(args) < least:
			return badInput(name+" needs "+what, hint)
		case most < 0 || len(args) <= most:
			return nil
		case takesPrompt(cmd):
			hint += ". Quote a prompt of several words."
		case cmd.HasSubCommands():
			hint = fmt.Sprintf("See `%s --help`.", cmd.CommandPath())
		}
		return badInput(fmt.Sprintf("%s does not take %q", name, args[most]), hint)
	}
}

func badInput(message, hint string) error {
	return task.Invalid(message, hint)
}
