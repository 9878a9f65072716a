package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cctask/engine/task"
	"cctask/internal/cli/settings"
	"cctask/internal/ipc"
)

// rules are those of a policy that bound something, by their names.
func rules(p task.Policy) (list []setRule) {
	for _, r := range task.Rules {
		if v, set := r.Get(&p); set {
			text, err := json.Marshal(v)
			if err != nil {
				text = fmt.Append(nil, err)
			}
			list = append(list, setRule{r.Name, string(text)})
		}
	}
	return list
}

type setRule struct{ name, value string }

func rulesText(p task.Policy) string {
	var words []string
	for _, r := range rules(p) {
		words = append(words, r.name+" = "+r.value)
	}
	if words == nil {
		return "no rule"
	}
	return strings.Join(words, ", ")
}

// checkPolicy says what bounds a task that is submitted from here: the policy of
// this front, and that of the owner, which may read another file.
func (d *doctor) checkPolicy(ctx context.Context) finding {
	ours := d.s.File.Policy
	owner, serves := d.tasks.(ownersTasks)
	theirs := ours
	if serves {
		var err error
		if theirs, err = owner.Policy(ctx); err != nil {
			f := failed(err)
			f.Text = "the owner lets no task start, since it has no policy to go by: " + f.Text
			return f
		}
	}
	if reflect.DeepEqual(ours, theirs) {
		return ok("%s", rulesText(ours))
	}
	return note("A task must fit both. `cctask daemon stop` lets the next owner take that of the command which starts it; running tasks go on.",
		"two hold together\nof this command (%s): %s\nof the owner (%s): %s", d.s.File.Path, rulesText(ours), d.lock.Settings.Config, rulesText(theirs))
}

// checkRetention says whether a pass waits that would delete suspiciously much.
func (d *doctor) checkRetention(ctx context.Context) finding {
	if d.tasks == nil {
		return ok("nothing to ask")
	}
	page, err := d.tasks.List(ctx, task.Filter{Limit: 1})
	switch {
	case err != nil:
		return failed(err)
	case page.Note != "":
		return problem("Look at the clock and at `cctask doctor --settings`; what is to go can be removed with `cctask rm` at once.", "%s", page.Note)
	}
	return ok("deletes nothing unusual")
}

// ownersRules are the rules of a running owner that this front does not have.
func (a *app) ownersRules(ctx context.Context, s settings.Settings, lock ipc.Lock) (rows []settings.Row) {
	client := a.client(s, false)
	defer client.Close()
	p, err := client.Policy(ctx)
	if err != nil {
		return []settings.Row{{Name: "policy", Value: "not known", Source: fmt.Sprintf("the owner that runs (process %d): %v", lock.PID, err)}}
	}
	ours := rules(s.File.Policy)
	for _, r := range rules(p) {
		if !slices.Contains(ours, r) {
			rows = append(rows, settings.Row{Name: "policy." + r.name, Value: r.value, Source: fmt.Sprintf("the owner that runs (process %d, %s); holds too", lock.PID, lock.Settings.Config)})
		}
	}
	return rows
}
