package task

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Draft is a specification of which some options are given, perhaps as 0 or
// false, and the others are left to what it is laid over: the options of a
// command line, a line of --each, a call of a tool, or [defaults].
type Draft struct {
	Spec  Spec
	given map[string]bool
}

func (d Draft) Has(name string) bool { return d.given[name] }

func (d Draft) IsZero() bool { return len(d.given) == 0 }

// MarshalJSON writes what is given by the names of the options.
func (d Draft) MarshalJSON() ([]byte, error) {
	out := map[string]any{}
	for _, o := range Options {
		if d.Has(o.Name) {
			out[o.Name], _ = o.Get(&d.Spec)
		}
	}
	return json.Marshal(out)
}

func (d *Draft) UnmarshalJSON(data []byte) error {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	for name, raw := range in {
		o, ok := Find(name)
		if !ok {
			return invalid(name, "is no option of a task", "Use a newer cctask, or leave it out.")
		}
		if err := d.Take(o, raw); err != nil {
			return err
		}
	}
	return nil
}

// Change gives another attempt what d gives, where the option allows that.
func (d Draft) Change(s Spec) (Spec, error) {
	for _, o := range Options {
		if d.Has(o.Name) && !o.Resume {
			return s, invalid(o.Name, "cannot be changed for another attempt", "Start a new task; with resume_task_id it goes on in the same session.")
		}
		if d.Has(o.Name) {
			copyOption(o, &s, &d.Spec)
		}
	}
	return s, s.Check()
}

// Without is s without those of the named options that another attempt may be given anew.
func (s Spec) Without(names []string) Spec {
	for _, o := range Changeable() {
		if slices.Contains(names, o.Name) {
			copyOption(o, &s, &Spec{})
		}
	}
	return s
}

func copyOption(o Option, to, from *Spec) {
	reflect.ValueOf(o.at(to)).Elem().Set(reflect.ValueOf(o.at(from)).Elem())
}

// Take gives an option v, from TOML or JSON, unless that is not allowed.
func (d *Draft) Take(o Option, v any) error {
	value, ok := o.Of(v)
	if !ok {
		return o.Refuse(v)
	}
	return d.Set(o, value)
}

// Set gives an option v, of its kind, unless that is not allowed.
func (d *Draft) Set(o Option, v any) error {
	if !o.Allows(v) {
		return o.Refuse(v)
	}
	if d.given == nil {
		d.given = map[string]bool{}
	}
	d.given[o.Name] = true
	o.Put(&d.Spec, v)
	return nil
}

// TakeText gives an option what a flag says: one of the items of a list, one
// variable as NAME=value, or the whole value.
func (d *Draft) TakeText(o Option, text string) error {
	if !utf8.ValidString(text) {
		return errors.New("want valid UTF-8") // on its way as JSON it would become another text
	}
	var v any = text
	switch o.Kind {
	case KindList, KindPaths:
		so, _ := o.Get(&d.Spec)
		v = append(so.([]string), text)
	case KindVars:
		vars := map[string]string{}
		so, _ := o.Get(&d.Spec)
		maps.Copy(vars, so.(map[string]string))
		name, value, ok := strings.Cut(text, "=")
		if vars[name] = value; !ok {
			return errors.New("want NAME=VALUE")
		}
		v = vars
	case KindToggle:
		b, err := strconv.ParseBool(text)
		if err == nil {
			v = b
		}
	case KindNumber, KindInteger:
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			v = n
		}
	case KindText, KindPath, KindSeconds, KindSize, KindObject, KindObjects:
	}
	value, ok := v, true
	if o.Kind != KindList && o.Kind != KindPaths && o.Kind != KindVars {
		value, ok = o.Of(v)
	}
	if !ok || d.Set(o, value) != nil {
		return errors.New("want " + o.Allowed())
	}
	return nil
}

// Over lays what d gives over defaults. A default gives way to an option that
// contradicts it.
func (d Draft) Over(defaults Draft) Draft {
	skips := func(d Draft) bool { return d.Spec.SkipPermissions != nil && *d.Spec.SkipPermissions }
	restricts := d.Has("permission_mode") || d.Has("allowed_tools")
	out := Draft{d.Spec, maps.Clone(d.given)}
	if out.given == nil {
		out.given = map[string]bool{}
	}
	for _, o := range Options {
		contradicts := skips(d) && (o.Name == "permission_mode" || o.Name == "allowed_tools") ||
			restricts && !skips(d) && o.Name == "skip_permissions" && skips(defaults)
		if defaults.Has(o.Name) && !d.Has(o.Name) && !contradicts {
			copyOption(o, &out.Spec, &defaults.Spec)
			out.given[o.Name] = true
		}
	}
	return out
}
