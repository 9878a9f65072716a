package settings

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"

	"cctask/engine/task"
)

// File is the settings file: settings by the names of their flags, defaults
// of task options in [defaults], the bounds of [policy], who is told of ends in
// [notify], what is tried again in [retry], what may be spent in [budgets], and other
// hosts in [sites.NAME]. A file with a fault
// anywhere is refused as a whole.
type File struct {
	Path     string // "": there is no place for one
	There    bool   // the file could be read
	homed    func(path string) string
	settings map[string]Value
	Defaults task.Draft
	Policy   task.Policy
	Notify   task.Notify
	Retry    task.RetryPolicy
	Budgets  task.Budgets
	Sites    map[string]task.SiteSpec
	rows     []Row // of the tables
}

// File reads the settings file; only one that nobody named may be missing.
func (src Source) File() (File, error) {
	named := src.given(settingTable[0], File{})
	base, err := src.base("XDG_CONFIG_HOME", ".config")
	usual := ""
	if err == nil {
		usual = filepath.Join(base, "cctask", "config.toml")
	}
	c := File{Path: usual, homed: src.Homed, settings: map[string]Value{}}
	if named.Text != "" {
		if c.Path, err = filepath.Abs(src.Homed(named.Text)); err != nil {
			return c, named.refused("a file that can be found from here")
		}
	}
	if c.Path == "" {
		return c, nil
	}
	data, err := readPlain(c.Path)
	if err == nil && !utf8.ValidString(c.Path) {
		// A runner that starts an owner would tell it of another file.
		err = errors.New("its name is not valid UTF-8")
	}
	if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) && c.Path == usual && !dangles(usual) {
		return c, nil
	}
	if c.There = err == nil; !c.There {
		return c, &task.Error{
			Code: task.CodeInvalid, Message: fmt.Sprintf("the settings file %s (%s)", c.Path, cmp.Or(named.From, "its usual place")), Err: err,
			Hint: "Name a plain file that can be read with --config or CCTASK_CONFIG, or leave both out.",
		}
	}
	return c, c.read(data)
}

// dangles tells whether a link on the way to a path leads nowhere: what is not
// there then, as on a disk that is not mounted, may be a policy.
func dangles(path string) bool {
	for ; path != filepath.Dir(path); path = filepath.Dir(path) {
		if _, err := os.Lstat(path); err == nil {
			_, err = os.Stat(path)
			return err != nil
		}
	}
	return false
}

const maxConfig = 1 << 20

// readPlain reads a file that others can read again by its name, now and later:
// the owner and its successors do. A pipe would hang them all, and what the shell
// names /dev/fd/63 is another file for each process, or none.
func readPlain(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
	case !info.Mode().IsRegular(), strings.HasPrefix(path, "/dev/"), strings.HasPrefix(path, "/proc/"):
		return nil, errors.New("is not a plain file")
	case info.Size() > maxConfig:
		return nil, fmt.Errorf("has %d bytes, more than 1 MiB", info.Size())
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		err = failed.Err // the caller names the path
	}
	return data, err
}

// place is a key of the file and where it stands.
type place struct {
	key []string
	at  string
}

// places are the keys below a shape of the file that the shape does not know, in
// the order of the file.
func (c *File) places(data []byte, shape any) (list []place, _ error) {
	err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(shape)
	var unknown *toml.StrictMissingError
	var bad *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		for _, e := range unknown.Errors {
			row, column := e.Position()
			list = append(list, place{e.Key(), fmt.Sprintf("%s:%d:%d", c.Path, row, column)})
		}
	case errors.As(err, &bad):
		row, column := bad.Position()
		return nil, c.fault(fmt.Sprintf("%s:%d:%d", c.Path, row, column), strings.TrimPrefix(bad.Error(), "toml: "))
	case err != nil:
		return nil, c.fault(c.Path, err.Error())
	}
	return list, nil
}

// read takes each key of the file to where it belongs. The parser says where a
// key stands only of one that it does not know: so it is given shapes that know
// none.
func (c *File) read(data []byte) error {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	tree := map[string]any{}
	if _, err := c.places(data, &tree); err != nil {
		return err
	}
	top, err := c.places(data, &struct{}{})
	if err != nil {
		return err
	}
	for _, k := range top {
		name := k.key[0]
		_, isTable := tree[name].(map[string]any)
		switch section := slices.Contains(sections, name); {
		case section && !isTable:
			return c.fault(k.at, fmt.Sprintf("%s must be a table: write [%s] in a line of its own", name, name))
		case section:
		case isTable:
			return c.unknown(k.at, "table", strings.Join(k.key, "."), sections)
		default:
			if err := c.takeSetting(name, k.at, tree[name]); err != nil {
				return err
			}
		}
	}
	for _, t := range []struct {
		name  string
		shape any
		take  func(keys []place, table map[string]any) error
	}{
		{"defaults", &struct{ Defaults struct{} }{}, func(keys []place, table map[string]any) error {
			return takeRows(c, "defaults", task.Options, keys, table, c.takeDefault)
		}},
		{"policy", &struct{ Policy struct{} }{}, func(keys []place, table map[string]any) error {
			return takeRows(c, "policy", task.Rules, keys, table, c.takeRule)
		}},
		{"notify", &struct{ Notify struct{} }{}, func(keys []place, table map[string]any) error {
			return takeRows(c, "notify", task.NotifyRows, keys, table, c.takeNotify)
		}},
		{"retry", &struct{ Retry struct{} }{}, c.readRetry},
		{"sites", &struct{ Sites map[string]struct{} }{}, c.takeSites},
		{"budgets", &struct{ Budgets struct{} }{}, func(keys []place, table map[string]any) error {
			return takeRows(c, "budgets", task.BudgetRows(slices.Sorted(maps.Keys(table))), keys, table, c.takeBudget)
		}},
	} {
		all, err := c.places(data, t.shape)
		var keys []place
		for _, k := range all {
			// A key of an inline table comes without the table's name.
			if k.key[0] == t.name && len(k.key) > 1 {
				keys = append(keys, place{k.key[1:], k.at})
			} else if !slices.ContainsFunc(top, func(of place) bool { return of.at == k.at }) {
				keys = append(keys, k)
			}
		}
		if err == nil {
			table, _ := tree[t.name].(map[string]any)
			err = t.take(keys, table)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sections are the tables that a settings file may have.
var sections = []string{"defaults", "policy", "notify", "retry", "budgets", "sites"}

func (c *File) takeSetting(key, at string, v any) error {
	var keys []string
	for _, o := range settingTable {
		if o.notInFile {
			continue
		}
		keys = append(keys, o.key())
		if o.key() != key {
			continue
		}
		given := Value{fmt.Sprint(v), at + ": " + key}
		if _, isList := v.([]any); isList || given.Text == "" {
			return given.refused(cmp.Or(o.want, "a path"))
		}
		if o.paths {
			s, isText := v.(string)
			given.Text = c.homed(given.Text)
			// claude alone may be a bare name, to be found on the PATH.
			if bare := o.name == "claude" && filepath.Base(s) == s; !isText || !filepath.IsAbs(given.Text) && !bare {
				return given.refused("an absolute path, or one that begins with ~/")
			}
		}
		if err := o.set(&Settings{}, given.Text); err != nil {
			return given.refused(o.want)
		}
		c.settings[o.name] = given
		return nil
	}
	return c.unknown(at, "key", key, append(keys, "["+strings.Join(sections, "], [")+"]"))
}

// takeRows takes the keys of a section, each judged alone, so that a fault has its
// place.
func takeRows[T any](c *File, section string, rows []task.Row[T], keys []place, table map[string]any, take func(task.Row[T], any) error) error {
	for _, k := range keys {
		i := slices.IndexFunc(rows, func(r task.Row[T]) bool { return r.Name == k.key[0] && !r.One })
		if i < 0 {
			return c.unknown(k.at, "key", section+"."+k.key[0], task.Names(rows, true))
		}
		r := rows[i]
		given := table[r.Name]
		v, ok := r.Of(given)
		if !ok {
			return c.fault(k.at, task.AsError(r.Refuse(given)).Message)
		}
		v, whole := c.absolute(v, r.Kind)
		if !whole {
			return c.fault(k.at, fmt.Sprintf("%s: given %v, allowed are absolute paths, or such as begin with ~/", r.Name, given))
		}
		if err := take(r, v); err != nil {
			bad := task.AsError(err)
			return c.fault(k.at, bad.Message+". "+bad.Hint)
		}
		c.rows = append(c.rows, Row{section + "." + r.Name, fmt.Sprint(r.Shown(v)), k.at})
	}
	return nil
}

// absolute writes out the home directory in the paths of a row; false: one is
// relative.
func (c *File) absolute(v any, kind task.Kind) (any, bool) {
	var paths []string
	text, isText := v.(string)
	switch {
	case kind == task.KindPath && isText:
		paths = []string{text}
	case kind == task.KindPaths:
		paths, _ = v.([]string)
	default:
		return v, true
	}
	for i, path := range paths {
		paths[i] = c.homed(path)
		if path != "" && !task.IsInline(path) && !filepath.IsAbs(paths[i]) {
			return v, false
		}
	}
	if isText {
		return paths[0], true
	}
	return paths, true
}

func (c *File) takeDefault(o task.Option, v any) error {
	var one task.Draft
	if err := one.Set(o, v); err != nil {
		return err
	}
	s := one.Spec
	s.WorkingDir, s.Claude = "/", "/"
	if err := s.Check(); err != nil {
		return err
	}
	return c.Defaults.Set(o, v)
}

func (c *File) takeRule(r task.Rule, v any) error {
	// It would allow everything, and looks as if it allowed nothing.
	if items, isList := v.([]string); v == "" || v == 0.0 && r.Kind != task.KindInteger || isList && len(items) == 0 {
		return task.Invalid(r.Name+" is empty and would bound nothing", "Leave it out, or say what is allowed.")
	}
	if !r.Allows(v) {
		return r.Refuse(v)
	}
	var one task.Policy
	if r.Put(&one, v); one.Check() != nil {
		return one.Check()
	}
	r.Put(&c.Policy, v)
	return nil
}

func (c *File) takeNotify(r task.Row[task.Notify], v any) error {
	if !r.Allows(v) {
		return r.Refuse(v)
	}
	r.Put(&c.Notify, v)
	return c.Notify.Check()
}

// readRetry takes [retry], with a table for each reason in it.
func (c *File) readRetry(keys []place, table map[string]any) error {
	c.Retry = task.RetryPolicy{}
	take := func(reason task.FailureReason) func(task.Row[task.RetrySet], any) error {
		return func(r task.Row[task.RetrySet], v any) error {
			if !r.Allows(v) {
				return r.Refuse(v)
			}
			set := c.Retry[reason]
			r.Put(&set, v)
			c.Retry[reason] = set
			return nil
		}
	}
	of := func(k place) []place { return []place{k} }
	for _, k := range keys {
		reason := k.key[0]
		below, isTable := table[reason].(map[string]any)
		err := error(nil)
		switch {
		case !isTable:
			err = takeRows(c, "retry", task.RetryRows, of(k), table, take(""))
		case !slices.Contains(task.Retriable(), reason):
			err = c.unknown(k.at, "reason to try again", reason, task.Retriable())
		default: // the parser names the place of the table alone
			for _, key := range slices.Sorted(maps.Keys(below)) {
				err = cmp.Or(err, takeRows(c, "retry."+reason, task.RetryRows, of(place{[]string{key}, k.at}), below, take(task.FailureReason(reason))))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *File) takeBudget(r task.Row[task.Budgets], v any) error {
	if !r.Allows(v) || v == 0.0 {
		return r.Refuse(v)
	}
	r.Put(&c.Budgets, v)
	return nil
}

func (c *File) unknown(at, what, name string, known []string) error {
	return c.fault(at, fmt.Sprintf("%q is no %s here; there are %s", name, what, strings.Join(known, ", ")))
}

func (c *File) fault(at, what string) error {
	return task.Invalid(at+": "+what, "Correct the settings file "+c.Path+".")
}
