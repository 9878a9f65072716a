package task

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is what a row's value is.
type Kind int

// The kinds, with the Go types of their values.
const (
	KindText    Kind = iota // string
	KindPath                // string, a file or directory; inline JSON is left as it is
	KindNumber              // float64
	KindInteger             // float64, a whole one
	KindSeconds             // float64, written as Seconds
	KindSize                // float64, written as Bytes
	KindList                // []string
	KindPaths               // []string, each as of KindPath
	KindToggle              // bool
	KindObject              // json.RawMessage
	KindVars                // map[string]string, variables of an environment
	KindObjects             // []json.RawMessage, objects
)

// Row says all that there is to say of a value by its name: an option of a task,
// a rule of the policy, an argument of a tool. T is what holds the value.
type Row[T any] struct {
	Name        string
	Kind        Kind
	Least, Most float64  // of a number
	Chars       int      // most of a text, or of each item of a list; 0: no bound
	Items       int      // most of a list; 0: no bound
	Words       []string // nil: any text
	// BlankIsNone lets a client that fills in every argument give an empty text or
	// list for none. It is false where that would do something else than what an
	// empty one looks like. At the command line an empty value is refused always:
	// there it is a variable that was not set.
	BlankIsNone bool
	One         bool // belongs to one task: no default in the settings file

	Flag   string   // of the command line; "": Name with - for _
	Arg    string   // what help calls the flag's value
	Help   string   // for people, beside the flag and in README
	Offers []string // what a shell completes beside Words

	// Says is for a model, and Usual the default that it is shown; nil is none,
	// as where that is 0, false or "". Every session pays for each of their words,
	// so what few tasks need is only listed: Rare.
	Says  string
	Usual any
	Rare  bool

	Claude string // the option of claude; "": it is ours
	Joined bool   // a list goes to claude in one argument, with commas
	Secret bool   // what is written inline may hold secrets, and is not shown
	Resume bool   // another attempt may be given another value

	at func(*T) any // where T holds the value
}

// Get gives the value that of holds; false: a zero one, which nobody gave.
func (r Row[T]) Get(of *T) (v any, given bool) {
	switch p := r.at(of).(type) {
	case *string:
		return *p, *p != ""
	case *float64:
		return *p, *p != 0
	case **float64:
		if *p == nil {
			return 0.0, false
		}
		return **p, true
	case *int:
		return float64(*p), *p != 0
	case **int:
		if *p == nil {
			return 0.0, false
		}
		return float64(**p), true
	case *int64:
		return float64(*p), *p != 0
	case *bool:
		return *p, *p
	case **bool:
		if *p == nil {
			return false, false
		}
		return **p, true
	case *[]string:
		return *p, len(*p) > 0
	case *json.RawMessage:
		return *p, len(*p) > 0
	case *map[string]string:
		return *p, len(*p) > 0
	}
	panic("no row can hold " + r.Name)
}

// Put gives to a value, which the row allows.
func (r Row[T]) Put(to *T, v any) {
	switch p := r.at(to).(type) {
	case *string:
		*p = v.(string)
	case *float64:
		*p = v.(float64)
	case **float64:
		n := v.(float64)
		*p = &n
	case *int:
		*p = int(v.(float64))
	case **int:
		n := int(v.(float64))
		*p = &n
	case *int64:
		*p = int64(v.(float64))
	case *bool:
		*p = v.(bool)
	case **bool:
		b := v.(bool)
		*p = &b
	case *[]string:
		*p = v.([]string)
	case *json.RawMessage:
		*p = v.(json.RawMessage)
	case *map[string]string:
		*p = v.(map[string]string)
	default:
		panic("no row can hold " + r.Name)
	}
}

// Of gives v, from TOML, JSON or a flag, as a value of the row's kind; false: it
// is of another kind.
func (r Row[T]) Of(v any) (any, bool) {
	switch v := v.(type) {
	case json.RawMessage:
		return r.ofJSON(v)
	case string:
		return r.ofText(v)
	case int64:
		return r.Of(float64(v))
	case float64:
		whole := r.Kind == KindInteger || r.Kind == KindSize
		return v, r.IsNumber() && (!whole || v == math.Trunc(v))
	case bool:
		return v, r.Kind == KindToggle
	case []any:
		items := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, false
			}
			items = append(items, s)
		}
		return items, r.IsList()
	case map[string]any:
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, false
		}
		return r.ofJSON(raw)
	}
	return nil, false
}

func (r Row[T]) ofJSON(raw json.RawMessage) (any, bool) {
	isObject := len(raw) > 0 && raw[0] == '{'
	switch {
	case isObject && r.Kind == KindObject:
		return raw, true // with its keys in their order
	case isObject && r.Kind == KindPath:
		return string(raw), true
	case r.Kind == KindVars:
		var vars map[string]string
		err := json.Unmarshal(raw, &vars)
		return vars, err == nil && isObject
	case r.Kind == KindObjects:
		var list []json.RawMessage
		err := json.Unmarshal(raw, &list)
		return list, err == nil && !slices.ContainsFunc(list, func(o json.RawMessage) bool { return o[0] != '{' })
	}
	const longest = 12 // bytes of a character, written as two escapes
	if len(raw) > 0 && raw[0] == '"' && r.Chars > 0 && len(raw) > len(`""`)+longest*r.Chars {
		return nil, false // a message may be 16 MiB: not to be decoded only to be refused
	}
	var v any
	if isObject || json.Unmarshal(raw, &v) != nil {
		return nil, false
	}
	return r.Of(v)
}

func (r Row[T]) ofText(s string) (any, bool) {
	switch r.Kind {
	case KindText, KindPath:
		return s, true
	case KindSeconds:
		var n Seconds
		err := n.UnmarshalText([]byte(s))
		return float64(n), err == nil
	case KindSize:
		var n Bytes
		err := n.UnmarshalText([]byte(s))
		return float64(n), err == nil
	case KindObject:
		return json.RawMessage(s), json.Valid([]byte(s))
	case KindNumber, KindInteger, KindList, KindPaths, KindToggle, KindVars, KindObjects:
	}
	return nil, false
}

// IsNumber, IsList and IsText sort the kinds.
func (r Row[T]) IsNumber() bool {
	return r.Kind == KindNumber || r.Kind == KindInteger || r.Kind == KindSeconds || r.Kind == KindSize
}
func (r Row[T]) IsList() bool { return r.Kind == KindList || r.Kind == KindPaths }
func (r Row[T]) IsText() bool { return r.Kind == KindText || r.Kind == KindPath }

// Allows tells whether v, which somebody gave and which is of the row's kind, is
// within its bounds.
func (r Row[T]) Allows(v any) bool {
	switch v := v.(type) {
	case string:
		n := utf8.RuneCountInString(v)
		return n > 0 && (r.Chars == 0 || n <= r.Chars) && (r.Words == nil || slices.Contains(r.Words, v))
	case float64: // NaN is not within
		return v >= r.Least && (r.Most == 0 || v <= r.Most)
	case []string:
		bad := func(item string) bool { return !r.Allows(item) }
		return len(v) > 0 && (r.Items == 0 || len(v) <= r.Items) && !slices.ContainsFunc(v, bad)
	case map[string]string:
		for name, text := range v {
			if !isVariable(name) || utf8.RuneCountInString(text) > r.Chars {
				return false
			}
		}
		return len(v) > 0 && len(v) <= r.Items
	case json.RawMessage:
		return isObject(v)
	case []json.RawMessage:
		return len(v) > 0 && len(v) <= r.Items
	}
	return true
}

// isVariable tells whether a variable can have that name.
func isVariable(name string) bool {
	ok := func(r rune) bool {
		return r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	return name != "" && len(name) <= mostArgument && !strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }) && (name[0] < '0' || name[0] > '9')
}

func (r Row[T]) Allowed() string {
	text := "a string that is not empty"
	switch {
	case len(r.Words) == 1:
		text = strconv.Quote(r.Words[0])
	case r.Words != nil:
		text = "one of " + strings.Join(r.Words, ", ")
	case r.Chars > 0:
		text = fmt.Sprintf("a string of 1 to %d characters", r.Chars)
	}
	switch r.Kind {
	case KindSeconds:
		return WantsSeconds
	case KindSize:
		return fmt.Sprintf("bytes, or a size like 500MB, from %.0f to %.0f", r.Least, r.Most)
	case KindNumber, KindInteger:
		text = "a number"
		if r.Kind == KindInteger {
			text = "a whole number"
		}
		if r.Most > 0 {
			text += fmt.Sprintf(" from %.0f to %.0f", r.Least, r.Most)
		}
	case KindToggle:
		return "true or false"
	case KindObject:
		return "a JSON object"
	case KindObjects:
		return fmt.Sprintf("a list of 1 to %d objects", r.Items)
	case KindVars:
		return fmt.Sprintf("1 to %d variables by their names, with values of up to %d characters", r.Items, r.Chars)
	case KindList, KindPaths:
		if r.Items == 0 {
			return "a list, each item " + text
		}
		return fmt.Sprintf("a list of 1 to %d items, each %s", r.Items, text)
	case KindText, KindPath:
	}
	return text
}

func (r Row[T]) Refuse(v any) error {
	given, err := json.Marshal(v)
	switch {
	case r.Kind == KindVars:
		given = []byte("something else") // a value may be a secret
	case err != nil: // NaN, infinite
		given = fmt.Append(nil, v)
	}
	const most = 80 // characters of it that are shown
	return invalid(r.Name, fmt.Sprintf("given %s, allowed is %s", shorten(string(given), most), r.Allowed()), "Correct it, or leave it out.")
}

func (r Row[T]) FlagName() string {
	if r.Flag != "" {
		return r.Flag
	}
	return strings.ReplaceAll(r.Name, "_", "-")
}

// texts are what claude is told of a value, each in an argument of its own; an
// option without any is told by its name alone.
func (r Row[T]) texts(v any) (list []string, alone bool) {
	switch v := v.(type) {
	case string:
		list = []string{v}
	case float64:
		list = []string{strconv.FormatFloat(v, 'f', -1, 64)}
	case json.RawMessage:
		list = []string{string(v)}
	case []string:
		list = v
		if r.Joined {
			list = []string{strings.Join(v, ",")}
		}
		if len(v) == 1 && v[0] == NoneOfThem && r.Joined {
			list = []string{""}
		}
	case bool:
		return nil, v
	}
	return list, false
}

// Shown is a value as people may see it: names of variables without their values.
func (r Row[T]) Shown(v any) any {
	vars, is := v.(map[string]string)
	if !is {
		return v
	}
	return slices.Sorted(maps.Keys(vars))
}

// Names are the names of rows: of all, or of those that a settings file may have.
func Names[T any](rows []Row[T], lasting bool) (names []string) {
	for _, r := range rows {
		if !lasting || !r.One {
			names = append(names, r.Name)
		}
	}
	return names
}
