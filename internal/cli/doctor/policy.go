package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"cctask/engine/task"
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
