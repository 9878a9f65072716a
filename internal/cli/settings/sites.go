package settings

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"cctask/engine/task"
)

var siteName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// takeSites takes the tables [sites.NAME].
func (c *File) takeSites(keys []place, table map[string]any) error {
	of := map[string][]place{}
	for _, k := range keys {
		if _, isTable := table[k.key[0]].(map[string]any); !isTable || !siteName.MatchString(k.key[0]) {
			return c.fault(k.at, fmt.Sprintf("%q is no site: write [sites.NAME], with letters, digits and . _ - in the name", k.key[0]))
		}
		if len(k.key) > 1 {
			of[k.key[0]] = append(of[k.key[0]], place{k.key[1:], k.at})
		}
	}
	c.Sites = map[string]task.SiteSpec{}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		values, isTable := table[name].(map[string]any)
		if !isTable || !siteName.MatchString(name) {
			return c.fault(c.Path, fmt.Sprintf("%q is no site: write [sites.NAME], with letters, digits and . _ - in the name", name))
		}
		var s task.SiteSpec
		err := takeRows(c, "sites."+name, task.SiteRows, of[name], values, func(r task.Row[task.SiteSpec], v any) error {
			if !r.Allows(v) {
				return r.Refuse(v)
			}
			r.Put(&s, v)
			return nil
		})
		if err != nil {
			return err
		}
		if err := s.Check(); err != nil {
			bad := task.AsError(err)
			return c.fault(c.Path, fmt.Sprintf("[sites.%s]: %s. %s", name, bad.Message, bad.Hint))
		}
		c.Sites[name] = s
	}
	return nil
}
