package cli

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"cctask/engine/task"
)

// verbs are all commands that a person can see, by their words joined with _.
func verbs() map[string]*cobra.Command {
	all := map[string]*cobra.Command{}
	var walk func(cmd *cobra.Command, path string)
	walk = func(cmd *cobra.Command, path string) {
		for _, c := range cmd.Commands() {
			if c.Hidden {
				continue
			}
			name := strings.TrimPrefix(path+"_"+c.Name(), "_")
			all[name] = c
			walk(c, name)
		}
	}
	walk(newRoot(&app{Env: envOf(nil)}, ""), "")
	return all
}

var update = flag.Bool("update", false, "write the goldens of the help anew")

// helps holds the --help of each verb.
var helps = filepath.Join("..", "..", "testdata", "help")

func TestHelpGolden(t *testing.T) {
	t.Parallel()
	all := verbs()
	all["cctask"] = newRoot(&app{Env: envOf(nil)}, "")
	for name, cmd := range all {
		var out strings.Builder
		cmd.SetOut(&out)
		cmd.InitDefaultHelpFlag()
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(helps, name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != out.String() {
			t.Errorf("%s; `go test ./internal/cli -run Help -update` writes it anew: %v\ngot:\n%s", file, err, out.String())
		}
	}
}

// The table of options in README is that of the code.
func TestOptionsInReadme(t *testing.T) {
	t.Parallel()
	file := filepath.Join("..", "..", "README.md")
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const head = "| option | flag | another attempt | |\n|---|---|---|---|\n"
	before, rest, _ := strings.Cut(string(readme), head)
	old, after, found := strings.Cut(rest, "\n## ")
	table := ""
	for _, o := range task.Options {
		flag, again := "--"+o.FlagName(), ""
		if o.Arg != "" {
			flag += " " + o.Arg
		}
		if o.Resume {
			again = "yes"
		}
		table += fmt.Sprintf("| `%s` | `%s` | %s | %s |\n", o.Name, flag, again, strings.ReplaceAll(o.Help, "|", "\\|"))
	}
	if *update && found {
		if err := os.WriteFile(file, []byte(before+head+table+"\n## "+after), 0o644); err != nil {
			t.Fatal(err)
		}
		old = table
	}
	if old != table {
		t.Errorf("README has another table of options; `go test ./internal/cli -run Options -update` writes it anew:\n%s", table)
	}
}

// TestEveryOptionHasItsFaces breaks when a row of the table lacks one of what it
// is to say. Its bounds are held by TestEveryOptionByEveryDoor.
func TestEveryOptionHasItsFaces(t *testing.T) {
	t.Parallel()
	ours := []string{"working_dir", "timeout", "stall_timeout", "name", "labels", "literal", "max_output", "resume_task_id", "fork", "on_interrupt", "retries", "retry_on", "env", "priority", "group", "hold", "start_at", "after", "workdir_mode", "site", "with_cctask", "notify"}
	if len(task.Options) != 44 {
		t.Errorf("%d options: a new one needs its case in TestTaskOptions of the real CLI too", len(task.Options))
	}
	start, resume := verbs()["start"], verbs()["resume"]
	short := map[string]bool{}
	for _, o := range task.Options {
		if (o.Claude == "") != slices.Contains(ours, o.Name) {
			t.Errorf("%s: its option of claude is %q", o.Name, o.Claude)
		}
		f := start.Flags().Lookup(o.FlagName())
		if f == nil || f.Usage != o.Help || o.Help == "" || (o.Kind == task.KindToggle) != (o.Arg == "") {
			t.Errorf("%s: flag %+v", o.Name, f)
		}
		if o.Says == "" && !o.Rare {
			t.Errorf("%s: a model is told nothing of it", o.Name)
		}
		if (resume.Flags().Lookup(o.FlagName()) != nil) != o.Resume {
			t.Errorf("%s: --%s of resume", o.Name, o.FlagName())
		}
		bounded := o.Most > 0 || o.Chars > 0 || o.Words != nil || o.Kind == task.KindToggle || o.Kind == task.KindObject
		if !bounded || (o.IsList() || o.Kind == task.KindVars) && o.Items == 0 {
			t.Errorf("%s: has no bound", o.Name)
		}
		if short[o.Name] {
			t.Errorf("%s stands twice", o.Name)
		}
		short[o.Name] = true
	}
}

// The table of exit codes in README is the one of the code.
func TestExitCodesInReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	table := "| code | meaning |\n|---|---|\n"
	for _, code := range []int{exitDone, exitFault, exitInput, exitEnded, exitTimeout, exitInterrupted} {
		text := exitTexts[code]
		if code == exitDone {
			text = exitCompleted
		}
		table += fmt.Sprintf("| %d | %s |\n", code, text)
	}
	if !strings.Contains(string(readme), table+"\n") || len(exitTexts) != 6 {
		t.Errorf("README has not this table of the %d exit codes:\n%s", len(exitTexts), table)
	}
}

// TestEveryVerb breaks when a verb comes without its script, its example or its
// exit codes.
func TestEveryVerb(t *testing.T) {
	t.Parallel()
	golden, err := filepath.Glob(filepath.Join(helps, "*.txt"))
	if err != nil || len(golden) != len(verbs())+1 {
		t.Errorf("%d goldens of help, %d verbs and the command itself; -update writes them anew: %v", len(golden), len(verbs()), err)
	}
	want := "cancel completion daemon daemon_call daemon_status daemon_stop diff doctor dump edit group group_list group_rm group_set hold limits limits_open list logs mcp merge pause release report restore resume retry rm run setup start status summary top unpause version wait"
	all := verbs()
	if len(all) != len(strings.Fields(want)) {
		t.Errorf("%d verbs, want %s", len(all), want)
	}
	for _, name := range strings.Fields(want) {
		cmd := all[name]
		if cmd == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" {
			t.Errorf("%s: help without a text or an example", name)
		}
		var out strings.Builder
		cmd.SetOut(&out)
		if err := cmd.Help(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, part := range []string{"Usage:", "Examples:", "Exit codes:\n  0 "} {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s: help without %q:\n%s", name, part, out.String())
			}
		}
		for line := range strings.SplitSeq(cmd.Long, "\n") {
			if len(line) > helpWidth {
				t.Errorf("%s: a line of its text is too long: %s", name, line)
			}
		}
		for _, line := range strings.Split(out.String(), "\n") {
			if len(line) > 140 {
				t.Errorf("%s: a line about a flag is too long: %s", name, line)
			}
		}
		if _, err := os.Stat(filepath.Join("..", "..", "testdata", "script", name+".txtar")); err != nil {
			t.Errorf("%s has no script: %v", name, err)
		}
	}
}

// A call makes its own verb alone: it must be the one that the whole tree has.
func TestEachCallMakesItsVerb(t *testing.T) {
	t.Parallel()
	for _, g := range verbGroups {
		for _, v := range g.verbs {
			if got := v.make(&app{Env: envOf(nil)}).Name(); got != v.name {
				t.Errorf("the verb %s is called %s", v.name, got)
			}
			root := newRoot(&app{Env: envOf(nil)}, commandOf([]string{"cctask", v.name}))
			if n := len(root.Commands()); n != 1 {
				t.Errorf("a call of %s makes %d verbs", v.name, n)
			}
		}
	}
}
