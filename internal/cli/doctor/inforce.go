package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"cctask/engine"
	"cctask/internal/cli/settings"
	"cctask/internal/ipc"
)

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
