package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"text/template"
	"time"

	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/show"
)

const formatHelp = `--format takes a Go template for each task, with the columns as its fields and under Task
all that --json prints. Its functions: ago and date (of a time), duration, dollars, json, join LIST SEP,
upper, lower, short TEXT COLUMNS. \n and \t are a new line and a tab; each task ends with a new line.`

var unknownField = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`map has no entry for key "(\w+)"`) })

// parseFormat checks a template before anything is asked for, also whether
// there are the fields that it names.
func parseFormat(text string) (*template.Template, error) {
	now := time.Now()
	funcs := template.FuncMap{
		"ago": func(t time.Time) string {
			if t.IsZero() {
				return ""
			}
			return task.Ago(t, now)
		},
		"date": func(t time.Time) string {
			if t.IsZero() {
				return "-"
			}
			return t.Local().Format(time.DateTime)
		},
		"duration": func(ms int64) string { return show.Duration(time.Duration(ms) * time.Millisecond) },
		"dollars":  show.Cost,
		"join":     strings.Join,
		"upper":    strings.ToUpper,
		"lower":    strings.ToLower,
		"short":    func(s string, width int) string { return show.Shorten(show.OneLine(s), width) },
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
	}
	t, err := template.New("--format").Option("missingkey=error").Funcs(funcs).Parse(strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(text))
	if err != nil {
		return nil, badInput("--format: "+templateError(err), "Write it like '{{.task_id}} {{.status}}'.")
	}
	err = t.Execute(io.Discard, show.Values(show.Row{Now: now}))
	if err != nil {
		if m := unknownField().FindStringSubmatch(err.Error()); m != nil {
			return nil, badInput(fmt.Sprintf("--format: there is no field %s", m[1]), "The fields are "+strings.Join(fieldNames(), ", ")+", Task.")
		}
	}
	return t, nil
}

var templatePlace = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^template: [^ ]+ (executing "[^"]*" at )?`) })

// templateError is what the template package says, without what is known.
func templateError(err error) string { return templatePlace().ReplaceAllString(err.Error(), "") }

func (a *app) printFormat(t *template.Template, tasks []task.Task) error {
	for _, r := range rows(tasks, time.Now()) {
		var b strings.Builder
		if err := t.Execute(&b, show.Values(r)); err != nil {
			return badInput(fmt.Sprintf("--format: task %s: %s", r.ID, claude.Visible(templateError(err))), "See `cctask list --help`.")
		}
		if _, err := fmt.Fprintln(a.shown(a.Stdout), b.String()); err != nil {
			return fmt.Errorf("print the list: %w", err)
		}
	}
	return nil
}
