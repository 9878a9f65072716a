package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cctask/engine"
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
func (d *Doctor) checkPolicy(ctx context.Context) Finding {
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
func (d *Doctor) checkRetention(ctx context.Context) Finding {
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

// InForce shows the settings as they hold now: with the paths that were found,
// and those of an owner, which it got when it started, as it has them.
func (d *Doctor) InForce(ctx context.Context, s settings.Settings) []settings.Row {
	claude, err := d.Source.FindClaude(s.Claude)
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
		rows = append(rows, d.ownersRules(ctx, s, lock)...)
	}
	return rows
}

// ownersRules are the rules of a running owner that this front does not have.
func (d *Doctor) ownersRules(ctx context.Context, s settings.Settings, lock ipc.Lock) (rows []settings.Row) {
	client := d.Dial(s, false)
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
