package cli

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
	"github.com/pelletier/go-toml/v2/unstable"

	"cctask/engine/task"
)

// config is the settings file: settings by the names of their flags, defaults
// of task options in [defaults], and the bounds of [policy]. A file with a fault
// anywhere is refused as a whole.
type config struct {
	path     string // "": there is no place for one
	there    bool   // the file could be read
	homed    func(path string) string
	settings map[string]value
	defaults map[string]any
	policy   task.Policy
	rows     []Row // of defaults and policy

	rules map[string]any
}

// config reads the settings file; only one that nobody named may be missing.
func (a *app) config() (config, error) {
	named := a.given(settingTable[0], config{})
	base, err := a.base("XDG_CONFIG_HOME", ".config")
	usual := ""
	if err == nil {
		usual = filepath.Join(base, "cctask", "config.toml")
	}
	c := config{path: usual, homed: a.homed, settings: map[string]value{}, defaults: map[string]any{}, rules: map[string]any{}}
	if named.text != "" {
		if c.path, err = filepath.Abs(a.homed(named.text)); err != nil {
			return c, named.refused("a file that can be found from here")
		}
	}
	if c.path == "" {
		return c, nil
	}
	data, err := readPlain(c.path)
	if err == nil && !utf8.ValidString(c.path) {
		// A runner that starts an owner would tell it of another file.
		err = errors.New("its name is not valid UTF-8")
	}
	if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) && c.path == usual && !dangles(usual) {
		return c, nil
	}
	if c.there = err == nil; !c.there {
		return c, &task.Error{
			Code: task.CodeInvalid, Message: fmt.Sprintf("the settings file %s (%s)", c.path, cmp.Or(named.from, "its usual place")), Err: err,
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

// maxConfig bounds the settings file.
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

// read takes the values from the one parser and their places from the other.
func (c *config) read(data []byte) error {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	tree := map[string]any{}
	var bad *toml.DecodeError
	if err := toml.Unmarshal(data, &tree); errors.As(err, &bad) {
		row, column := bad.Position()
		return c.fault(fmt.Sprintf("%s:%d:%d", c.path, row, column), strings.TrimPrefix(bad.Error(), "toml: "))
	} else if err != nil {
		return c.fault(c.path, err.Error())
	}
	var p unstable.Parser
	p.Reset(data)
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind == unstable.Comment {
			continue
		}
		var words []string
		at := ""
		for keys := e.Key(); keys.Next(); {
			k := keys.Node()
			if at == "" {
				pos := p.Shape(k.Raw).Start
				at = fmt.Sprintf("%s:%d:%d", c.path, pos.Line, pos.Column)
			}
			words = append(words, string(k.Data))
		}
		if e.Kind != unstable.KeyValue {
			if table = words; e.Kind != unstable.Table || len(words) != 1 || !isSection(words[0]) {
				return c.unknown(at, "table", strings.Join(words, "."), sections)
			}
			continue
		}
		words = append(slices.Clone(table), words...)
		if err := c.take(words, at, lookIn(tree, words)); err != nil {
			return err
		}
	}
	if err := p.Error(); err != nil {
		return c.fault(c.path, err.Error())
	}
	return remarshal(c.rules, &c.policy)
}

func lookIn(tree map[string]any, words []string) any {
	var v any = tree
	for _, w := range words {
		sub, _ := v.(map[string]any)
		v = sub[w]
	}
	return v
}

// sections are the tables that a settings file may have.
var sections = []string{"defaults", "policy"}

func isSection(name string) bool { return slices.Contains(sections, name) }

// take puts one key of the file in its place.
func (c *config) take(words []string, at string, v any) error {
	inline, isTable := v.(map[string]any)
	switch {
	case len(words) == 1 && isTable && isSection(words[0]):
		for _, key := range slices.Sorted(maps.Keys(inline)) {
			if err := c.take([]string{words[0], key}, at, inline[key]); err != nil {
				return err
			}
		}
		return nil
	case len(words) == 1:
		return c.takeSetting(words[0], at, v)
	case words[0] == "defaults" && len(words) == 2:
		return c.takeOption(taskOptions, c.defaults, words, at, v)
	case words[0] == "policy" && len(words) == 2:
		return c.takeOption(policyRules, c.rules, words, at, v)
	}
	return c.unknown(at, "table", strings.Join(words[:len(words)-1], "."), sections)
}

func (c *config) takeSetting(key, at string, v any) error {
	var keys []string
	for _, o := range settingTable {
		if o.notInFile {
			continue
		}
		keys = append(keys, o.key())
		if o.key() != key {
			continue
		}
		given := value{fmt.Sprint(v), at + ": " + key}
		if _, isList := v.([]any); isList || given.text == "" {
			return given.refused(cmp.Or(o.want, "a path"))
		}
		if o.paths {
			s, isText := v.(string)
			given.text = c.homed(given.text)
			// claude alone may be a bare name, to be found on the PATH.
			if bare := o.name == "claude" && filepath.Base(s) == s; !isText || !filepath.IsAbs(given.text) && !bare {
				return given.refused("an absolute path, or one that begins with ~/")
			}
		}
		if err := o.set(&settings{}, given.text); err != nil {
			return given.refused(o.want)
		}
		c.settings[o.name] = given
		return nil
	}
	return c.unknown(at, "key", key, append(keys, "[defaults]", "[policy]"))
}

// takeOption takes a key of [defaults] or [policy], which is judged alone, so
// that a fault has its place.
func (c *config) takeOption(known []option, to map[string]any, words []string, at string, v any) error {
	var names []string
	for _, o := range known {
		if o.One {
			continue
		}
		names = append(names, o.Name)
		if o.Name != words[1] {
			continue
		}
		fitted, ok := o.ofKind(v)
		items, isList := fitted.([]string)
		wants := o.wants()
		if ok && isList && o.Kind == task.KindPaths {
			for i, item := range items {
				items[i] = c.homed(item)
				if !task.IsInline(item) && !filepath.IsAbs(items[i]) {
					ok, wants = false, "a list of absolute paths"
				}
			}
		}
		// It would allow everything, and looks as if it allowed nothing.
		if ok && words[0] == "policy" && (fitted == "" || fitted == 0.0 || isList && len(items) == 0) {
			return c.fault(at, words[1]+" is empty and would bound nothing. Leave it out, or say what is allowed")
		}
		if !ok || !o.Allows(fitted) {
			return c.fault(at, fmt.Sprintf("%s: %v is not %s", words[1], v, wants))
		}
		if err := checkAlone(words[0], map[string]any{o.Name: fitted}); err != nil {
			return c.fault(at, task.AsError(err).Message+". "+task.HintOf(err))
		}
		to[o.Name] = fitted
		c.rows = append(c.rows, Row{strings.Join(words, "."), fmt.Sprint(v), at})
		return nil
	}
	return c.unknown(at, "key", strings.Join(words, "."), names)
}

func checkAlone(section string, one map[string]any) error {
	if section == "policy" {
		var p task.Policy
		if err := remarshal(one, &p); err != nil {
			return err
		}
		return p.Check()
	}
	s, err := specOf(one)
	if err != nil {
		return err
	}
	s.WorkingDir, s.Claude = "/", "/"
	return s.Check()
}

func (c *config) unknown(at, what, name string, known []string) error {
	return c.fault(at, fmt.Sprintf("%q is no %s here; there are %s", name, what, strings.Join(known, ", ")))
}

func (c *config) fault(at, what string) error {
	return badInput(at+": "+what, "Correct the settings file "+c.path+".")
}
