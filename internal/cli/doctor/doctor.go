// Package doctor looks whether all is well in an installation and says what to do
// about what is not: one table of checks, each of which finds something, and perhaps
// knows how to mend it. It may ask an owner, read the database and look at processes; it
// must never start anything or change a thing that it was not asked to mend.
package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/cli/settings"
	"cctask/internal/ipc"
	"cctask/internal/show"
	"cctask/storage"
)

// The states of a finding. A note is no failure.
const (
	stateOK      = "ok"
	stateNote    = "note"
	stateProblem = "problem"
	stateFixed   = "fixed"
)

var colours = map[string]int{stateOK: show.Green, stateNote: show.Cyan, stateProblem: show.Red, stateFixed: show.Yellow}

// Finding is what one check found. A note is no failure.
type Finding struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`
	fix   func() error
}

func ok(format string, args ...any) Finding {
	return Finding{State: stateOK, Text: fmt.Sprintf(format, args...)}
}

func note(hint, format string, args ...any) Finding {
	return Finding{State: stateNote, Text: fmt.Sprintf(format, args...), Hint: hint}
}

func problem(hint, format string, args ...any) Finding {
	return Finding{State: stateProblem, Text: fmt.Sprintf(format, args...), Hint: hint}
}

func failed(err error) Finding {
	return problem(task.HintOf(err), "%v", err)
}

type Doctor struct {
	Source  settings.Source
	Environ []string
	Version string
	Dial    func(s settings.Settings, start bool) *ipc.Client
	Fix     bool          // repair what is safe to repair
	Tell    func(Finding) // hears of each finding as soon as it is there: a large database takes a while

	findings []Finding
	s        settings.Settings
	broken   error // why there are no settings
	there    bool  // there is a state directory
	usable   bool  // the state directory is there and can be believed
	copied   bool  // it can only be read: no owner can be there, and modes are not to mend
	lock     ipc.Lock
	held     bool // somebody has the state directory
	tasks    tasks
}

// tasks is what the checks ask of a database, with an owner or without.
type tasks interface {
	List(context.Context, task.Filter) (task.Page, error)
	Task(task.ID) (task.Task, error)
}

type ownersTasks struct {
	*ipc.Client
	ctx context.Context
}

func (o ownersTasks) Task(id task.ID) (task.Task, error) { return o.Get(o.ctx, string(id)) }

// checks are all of them, in an order in which each may rest on those before.
var checks = []struct {
	name string
	when func(*Doctor) bool // what it needs; nil: nothing
	find func(*Doctor, context.Context) Finding
}{
	{"settings", nil, (*Doctor).checkSettings},
	{"directory", (*Doctor).hasSettings, (*Doctor).checkDirectory},
	{"modes", (*Doctor).hasFiles, (*Doctor).checkModes},
	{"owner", (*Doctor).mayHaveOwner, (*Doctor).checkOwner},
	{"policy", (*Doctor).hasState, (*Doctor).checkPolicy},
	{"database", (*Doctor).hasState, (*Doctor).checkDatabase},
	{"retention", (*Doctor).hasState, (*Doctor).checkRetention},
	{"runs", (*Doctor).hasState, (*Doctor).checkRuns},
	{"worktrees", (*Doctor).hasState, (*Doctor).checkWorktrees},
	{"processes", (*Doctor).hasState, (*Doctor).checkProcesses},
	{"disk", (*Doctor).hasState, (*Doctor).checkDisk},
	{"clock", (*Doctor).hasState, (*Doctor).checkClock},
	{"claude", nil, (*Doctor).checkClaude},
	{"permissions", nil, (*Doctor).checkRoot},
	{"login", nil, (*Doctor).checkLogin},
	{"registration", nil, (*Doctor).checkRegistration},
}

func (d *Doctor) hasSettings() bool  { return d.broken == nil }
func (d *Doctor) hasFiles() bool     { return d.there && !d.copied }
func (d *Doctor) hasState() bool     { return d.usable }
func (d *Doctor) mayHaveOwner() bool { return d.usable && !d.copied }

// Examine makes every check that can be made: what the person is to mend must not
// hide the rest.
func (d *Doctor) Examine(ctx context.Context) []Finding {
	defer func() {
		switch t := d.tasks.(type) {
		case ownersTasks:
			t.Close()
		case *storage.DB:
			_ = t.Close() // it was only read
		}
	}()
	for _, c := range checks {
		if c.when == nil || c.when(d) {
			d.report(c.name, c.find(d, ctx))
		}
	}
	return d.findings
}

func (d *Doctor) ExamineFile(ctx context.Context, path string) []Finding {
	f := ok("%s is whole", path)
	if _, err := os.Stat(path); err != nil {
		f = problem("Give the path of a tasks.db.", "%v", err)
	} else if err := checkDatabaseFile(ctx, path); err != nil {
		f = failed(err)
	}
	d.report("database", f)
	return d.findings
}

// report repairs what may be repaired, and tells what came of a check.
func (d *Doctor) report(name string, f Finding) {
	f.Name = name
	if d.Fix && f.fix != nil {
		if err := f.fix(); err != nil {
			f.Text += fmt.Sprintf("; it cannot be repaired: %v", err)
		} else {
			f.State, f.Hint = stateFixed, ""
		}
	}
	d.findings = append(d.findings, f)
	d.Tell(f)
}

// textAt is where the third column of a finding begins.
const textAt = 8 + 1 + 13 + 1

// Lines are a finding in lines of at most width columns.
func (f Finding) Lines(width int, colour bool) string {
	text := strings.TrimSpace(f.Text)
	if f.Hint != "" {
		text += "\n-> " + f.Hint
	}
	state := fmt.Sprintf("%-8s", f.State)
	if colour {
		state = show.Paint(colours[f.State], state)
	}
	head := fmt.Sprintf("%s %-13s ", state, f.Name)
	var b strings.Builder
	for line := range strings.Lines(text) {
		// An option must not end in the middle: the library breaks behind each hyphen.
		whole := strings.ReplaceAll(claude.Visible(strings.TrimSuffix(line, "\n")), "-", "\u2011")
		for _, l := range show.Wrap(ansi.WcWidth, whole, max(width-textAt, 20)) {
			b.WriteString(head + strings.ReplaceAll(l, "\u2011", "-") + "\n")
			head = strings.Repeat(" ", textAt)
		}
	}
	return b.String()
}

// Problems are how many there are, and how many of them Fix would repair.
func Problems(all []Finding) (n, fixable int) {
	for _, f := range all {
		if f.State == stateProblem {
			n++
			if f.fix != nil {
				fixable++
			}
		}
	}
	return n, fixable
}

func (d *Doctor) checkSettings(context.Context) Finding {
	if d.s, d.broken = d.Source.Load(); d.broken != nil {
		return failed(d.broken)
	}
	path := d.s.File.Path
	fi, err := os.Stat(path)
	if err != nil {
		return ok("no settings file, which is fine; `cctask doctor --settings` shows all values")
	}
	// Who can write it chooses what is run as claude, and lifts the policy.
	if found := fi.Mode().Perm(); fi.Mode().IsRegular() && found&0o022 != 0 {
		f := problem(fmt.Sprintf("Close it: chmod go-w %q", path), "%s: mode %04o, want %04o", path, found, found&^0o022)
		f.fix = func() error { return os.Chmod(path, found&^0o022) }
		return f
	}
	return ok("%s; `cctask doctor --settings` shows all values", path)
}

func (d *Doctor) file(name string) string { return filepath.Join(d.s.Dir, name) }
