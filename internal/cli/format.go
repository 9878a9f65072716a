package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"text/template"
	"time"

	"cctask/engine/claude"
	"cctask/engine/task"
)

// formatHelp says what a --format template can use.
const formatHelp = `--format takes a Go template for each task. Its fields:
%s.
Its functions: ago and date (of a time), duration, dollars, json, join LIST SEP, upper, lower,
short TEXT COLUMNS. \n and \t are a new line and a tab; each task ends with a new line.`

func formatFields() string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[row]()) {
		if f.IsExported() {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

var unknownField = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`can't evaluate field (\w+)`) })

// parseFormat checks a template before anything is asked for, also whether
// there are the fields that it names.
func parseFormat(text string) (*template.Template, error) {
	now := time.Now()
	date := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.Local().Format(time.DateTime)
	}
	funcs := template.FuncMap{
		"ago":      func(t time.Time) string { return row{now: now}.ago(t) },
		"date":     date,
		"duration": duration,
		"dollars":  cost,
		"join":     strings.Join,
		"upper":    strings.ToUpper,
		"lower":    strings.ToLower,
		"short":    func(s string, width int) string { return shorten(oneLine(s), width) },
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
	}
	t, err := template.New("--format").Funcs(funcs).Parse(strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(text))
	if err != nil {
		return nil, badInput("--format: "+templateError(err), "Write it like '{{.ID}} {{.Status}}'.")
	}
	err = t.Execute(io.Discard, newRow(task.Task{}, now))
	if err != nil {
		if m := unknownField().FindStringSubmatch(err.Error()); m != nil {
			return nil, badInput(fmt.Sprintf("--format: there is no field %s", m[1]), "The fields are "+formatFields()+".")
		}
	}
	return t, nil
}

var templatePlace = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^template: [^ ]+ (executing "[^"]*" at )?`) })

// templateError is what the template package says, without what is known.
func templateError(err error) string { return templatePlace().ReplaceAllString(err.Error(), "") }

// printFormat fills the template for each task.
func (a *app) printFormat(t *template.Template, tasks []task.Task) error {
	now := time.Now()
	for _, x := range tasks {
		var b strings.Builder
		if err := t.Execute(&b, newRow(x, now)); err != nil {
			return badInput(fmt.Sprintf("--format: task %s: %s", x.ID, claude.Visible(templateError(err))), "See `cctask list --help`.")
		}
		if _, err := fmt.Fprintln(a.shown(a.Stdout), b.String()); err != nil {
			return fmt.Errorf("print the list: %w", err)
		}
	}
	return nil
}
