package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/cli/settings"
	"cctask/internal/ipc"
	"cctask/internal/show"
	"cctask/storage"
)

func newDoctor(a *app) *cobra.Command {
	var asJSON, fix, settings bool
	var file string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check whether all is well here",
		Long: `Check the settings, the state directory and its modes, the owner, the database, claude and
its login, the registration with Claude Code, what is left over of runs, the disk and the
clock, and say what to do about what is not well. A note is worth knowing and no failure.
Nothing is started and nothing is changed, unless --fix is given: it closes files to
others, removes what interrupted commands left, and lets an owner clean up after runs.`,
		Example:     "  cctask doctor\n  cctask doctor --fix\n  cctask doctor --settings\n  cctask doctor --db copy/tasks.db",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(0, 0, ""),
		RunE: a.interruptible(func(ctx context.Context, _ []string) error {
			switch {
			case file != "" && (fix || settings):
				return badInput("--db checks a file and nothing else", "Leave --fix and --settings out.")
			case settings:
				return a.showSettings(ctx, asJSON)
			}
			d := &doctor{a: a, fix: fix, quiet: asJSON}
			if file != "" {
				d.step("database", func() finding { return checkFile(file) })
			} else {
				d.examine(ctx)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return d.conclude(asJSON)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&fix, "fix", false, "repair what is safe to repair")
	f.BoolVar(&settings, "settings", false, "show each setting as it holds now, and where it came from")
	f.StringVar(&file, "db", "", "check a database `FILE` that no owner has open, and nothing else")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// The states of a finding. A note is no failure.
const (
	stateOK      = "ok"
	stateNote    = "note"
	stateProblem = "problem"
	stateFixed   = "fixed"
)

var stateColours = map[string]int{stateOK: show.Green, stateNote: show.Cyan, stateProblem: show.Red, stateFixed: show.Yellow}

// finding is what one check found.
type finding struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`
	fix   func() error
}

func ok(format string, args ...any) finding {
	return finding{State: stateOK, Text: fmt.Sprintf(format, args...)}
}

func note(hint, format string, args ...any) finding {
	return finding{State: stateNote, Text: fmt.Sprintf(format, args...), Hint: hint}
}

func problem(hint, format string, args ...any) finding {
	return finding{State: stateProblem, Text: fmt.Sprintf(format, args...), Hint: hint}
}

// failed is the problem that an error tells.
func failed(err error) finding {
	return problem(task.HintOf(err), "%v", err)
}

// doctor goes through the checks, each of which may rest on those before.
type doctor struct {
	a          *app
	fix, quiet bool
	findings   []finding

	s    settings.Settings
	lock ipc.Lock
	held bool // somebody has the state directory
	// copied: it can only be read. No owner can be there, and modes are not to mend.
	copied bool
	tasks  tasks
}

// tasks is what the checks ask of a database, with an owner or without.
type tasks interface {
	List(context.Context, task.Filter) (task.Page, error)
	Task(task.ID) (task.Task, error)
}

// ownersTasks asks the owner.
type ownersTasks struct {
	*ipc.Client
	ctx context.Context
}

func (o ownersTasks) Task(id task.ID) (task.Task, error) { return o.Get(o.ctx, string(id)) }

func (d *doctor) examine(ctx context.Context) {
	err := d.settings()
	d.step("settings", func() finding { return checkSettings(d.s, err) })
	if err == nil && d.directory() {
		if !d.copied {
			d.step("owner", func() finding { return d.checkOwner(ctx) })
		}
		if client, is := d.tasks.(ownersTasks); is {
			defer client.Close()
		}
		d.step("policy", func() finding { return d.checkPolicy(ctx) })
		d.step("database", func() finding { return d.checkDatabase() })
		if db, is := d.tasks.(*storage.DB); is {
			defer func() { _ = db.Close() }()
		}
		d.step("retention", func() finding { return d.checkRetention(ctx) })
		d.step("runs", func() finding { return d.checkRuns(ctx) })
		d.step("processes", func() finding { return d.checkProcesses() })
		d.step("disk", func() finding { return checkDisk(d.s.Dir) })
		d.step("clock", func() finding { return d.checkClock(ctx) })
	}
	d.step("claude", func() finding { return d.checkClaude(ctx) })
	d.step("permissions", d.checkRoot)
	d.step("login", d.checkLogin)
	d.step("registration", d.checkRegistration)
}

// settings go as far as they can: what the person is to mend must not hide the
// rest.
func (d *doctor) settings() (err error) {
	d.s, err = d.a.settings()
	return err
}

// directory checks the state directory and tells whether the rest can be looked at.
func (d *doctor) directory() bool {
	there := false
	d.step("directory", func() finding {
		var f finding
		f, there = checkDirectory(d.s.Dir)
		return f
	})
	closed := d.findings[len(d.findings)-1].State != stateProblem
	if d.copied = readOnly(d.s.Dir) != nil; d.copied {
		return true
	}
	if there {
		d.step("modes", func() finding { return checkModes(d.s.Dir) })
	}
	return there && closed
}

// step makes one check, repairs what may be repaired, and shows what came of it.
func (d *doctor) step(name string, check func() finding) {
	f := check()
	f.Name = name
	if d.fix && f.fix != nil {
		if err := f.fix(); err != nil {
			f.Text += fmt.Sprintf("; it cannot be repaired: %v", err)
		} else {
			f.State, f.Hint = stateFixed, ""
		}
	}
	d.findings = append(d.findings, f)
	if !d.quiet {
		d.show(f)
	}
}

// show writes a finding as soon as it is there: a large database takes a while.
func (d *doctor) show(f finding) {
	state := fmt.Sprintf("%-8s", f.State)
	if d.a.coloured(d.a.Stdout) {
		state = show.Paint(stateColours[f.State], state)
	}
	lines := strings.Split(strings.TrimSpace(f.Text), "\n")
	if f.Hint != "" {
		lines = append(lines, "-> "+f.Hint)
	}
	for i, line := range lines {
		if i == 0 {
			fmt.Fprintf(d.a.Stdout, "%s %-13s %s\n", state, f.Name, claude.Visible(line))
		} else {
			fmt.Fprintf(d.a.Stdout, "%-8s %-13s %s\n", "", "", claude.Visible(line))
		}
	}
}

func (d *doctor) conclude(asJSON bool) error {
	problems := 0
	fixable := false
	for _, f := range d.findings {
		if f.State == stateProblem {
			problems++
			fixable = fixable || f.fix != nil
		}
	}
	if asJSON {
		err := d.a.printJSON(struct {
			OK     bool      `json:"ok"`
			Checks []finding `json:"checks"`
		}{problems == 0, d.findings})
		if err != nil {
			return err
		}
	}
	if problems == 0 {
		return nil
	}
	hint := "See what is said under each."
	if fixable && !d.fix {
		hint = "`cctask doctor --fix` repairs what is safe to repair."
	}
	return &stop{exitFault, &task.Error{Code: task.CodeInternal, Message: show.Plural(problems, "problem") + " found", Hint: hint}}
}

// showSettings prints every setting with the place that it came from.
func (a *app) showSettings(ctx context.Context, asJSON bool) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	rows := a.inForce(ctx, s)
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

// inForce shows the settings as they hold now: with the paths that were found,
// and those of an owner, which it got when it started, as it has them.
func (a *app) inForce(ctx context.Context, s settings.Settings) []settings.Row {
	claude, err := a.source().FindClaude(s.Claude)
	if err != nil {
		claude = "not found"
	}
	if s.Owner.Jobs == 0 {
		s.Owner.Jobs = engine.DefaultJobs()
	}
	asked := s.Owner.Values()
	found := map[string]string{"config": s.File.Path, "dir": s.Dir, "claude": claude, "jobs": asked["jobs"]}
	lock, held, err := ipc.Inspect(s.Dir)
	running := lock.Settings.Values()
	rows := s.Explain()
	for i, r := range rows {
		r.Value = cmp.Or(found[r.Name], r.Value)
		_, owners := asked[r.Name]
		if owners && r.Name != "config" && held && err == nil && running[r.Name] != asked[r.Name] {
			r.Source = fmt.Sprintf("the owner that runs (process %d); %s says %s: `cctask daemon stop` lets it count", lock.PID, r.Source, r.Value)
			r.Value = running[r.Name]
		}
		rows[i] = r
	}
	if held && err == nil && lock.Phase == ipc.PhaseServing {
		rows = append(rows, a.ownersRules(ctx, s, lock)...)
	}
	return rows
}

func checkSettings(s settings.Settings, err error) finding {
	if err != nil {
		return failed(err)
	}
	fi, err := os.Stat(s.File.Path)
	if err != nil {
		return ok("no settings file, which is fine; `cctask doctor --settings` shows all values")
	}
	// Who can write it chooses what is run as claude, and lifts the policy.
	if found := fi.Mode().Perm(); fi.Mode().IsRegular() && found&0o022 != 0 {
		f := problem(fmt.Sprintf("Close it: chmod go-w %q", s.File.Path), "%s: mode %04o, want %04o", s.File.Path, found, found&^0o022)
		f.fix = func() error { return os.Chmod(s.File.Path, found&^0o022) }
		return f
	}
	return ok("%s; `cctask doctor --settings` shows all values", s.File.Path)
}

// checkFile checks a database apart from any state directory.
func checkFile(path string) finding {
	if _, err := os.Stat(path); err != nil {
		return problem("Give the path of a tasks.db.", "%v", err)
	}
	if err := storage.CheckFile(path); err != nil {
		return failed(err)
	}
	return ok("%s is whole", path)
}

// file is a file of the state directory.
func (d *doctor) file(name string) string { return filepath.Join(d.s.Dir, name) }
