package cli

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"unicode/utf8"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/task"
)

// maxEach bounds a --each file, which is held whole: every line of it is
// checked before the first task is recorded.
const maxEach = 256 << 20

// each reads the tasks of a --each file: with a template for the prompt a CSV
// with a header row, else JSON Lines by the file's name or first byte, else a
// prompt a line.
type each struct {
	engine.Caller
	file string
	key  string // the idempotency key of a line is this and its number
	keys map[string]int
	subs []engine.Submission
}

func (a *app) each(f *taskFlags, args []string) (*each, error) {
	c, err := a.caller(f)
	if err != nil {
		return nil, err
	}
	e := &each{Caller: c, file: f.each, key: f.key, keys: map[string]int{}}
	if e.key == "" {
		e.key = strings.ToLower(rand.Text())
	}
	prompt := ""
	if f.each == "-" && (f.promptFile == "-" || len(args) > 0 && args[0] == "-") {
		return nil, badInput("the prompt and --each cannot both come from stdin", "Give one of them as a file.")
	}
	if len(args) > 0 || f.promptFile != "" {
		if prompt, err = a.prompt(f.promptFile, args); err != nil {
			return nil, err
		}
	}
	data, err := a.readAll(f.each, maxEach)
	if err != nil {
		return nil, badInput(fmt.Sprintf("--each: %v", err), "Name a file that can be read, or - for stdin.")
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	ext := strings.ToLower(filepath.Ext(f.each))
	switch {
	case prompt != "":
		err = e.csv(data, prompt)
	case ext == ".csv":
		err = badInput("a CSV file needs a prompt with its columns", `Give one, such as "Review {{.file}}".`)
	case ext == ".jsonl" || ext == ".ndjson" || ext == ".json" || bytes.HasPrefix(bytes.TrimSpace(firstTask(data)), []byte("{")):
		err = e.lines(data, e.specification)
	default:
		err = e.lines(data, func(n int, line string) error { return e.add(n, line, "", task.Draft{}) })
	}
	if err == nil && len(e.subs) == 0 {
		err = badInput(e.at(1)+"there is no task in it", "Write a prompt or a JSON object in each line.")
	}
	return e, err
}

func (e *each) at(line int) string { return fmt.Sprintf("%s:%d: ", e.file, line) }

func (e *each) add(line int, prompt, key string, own task.Draft) error {
	if key == "" {
		key = fmt.Sprintf("%s/%d", e.key, line)
	}
	first, twice := e.keys[key]
	if twice {
		return badInput(fmt.Sprintf("%sthe idempotency_key %q stands in line %d too", e.at(line), key, first), "Give each task its own, or leave them out.")
	}
	e.keys[key] = line
	sub, err := e.Submission(prompt, key, own)
	// One that goes on with another task works in that one's directory, which
	// the owner knows.
	if err == nil && sub.Spec.WorkingDir != "" && sub.Spec.Site == "" {
		_, err = engine.Allow(&runner.Local{}, sub, task.Policy{})
	}
	if err != nil {
		bad := task.AsError(err)
		bad.Message = e.at(line) + bad.Message
		return bad
	}
	sub.At = strings.TrimSuffix(e.at(line), ": ")
	e.subs = append(e.subs, sub)
	return nil
}

func (e *each) lines(data []byte, add func(n int, line string) error) error {
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxEach+1)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if isComment(line) {
			continue
		}
		if at := strings.Index(line, `\#`); at >= 0 && strings.TrimSpace(line[:at]) == "" {
			line = line[:at] + line[at+1:]
		}
		if err := add(n, line); err != nil {
			return err
		}
	}
	return lines.Err()
}

// isComment tells lines that are for people, blank ones too.
func isComment(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#'
}

// firstTask is a file from its first line on that is no comment.
func firstTask(data []byte) []byte {
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		if !isComment(string(line)) {
			break
		}
		data = rest
	}
	return data
}

// specification reads a line of JSON: prompt, idempotency_key, and the options
// by their names in the MCP tools.
func (e *each) specification(n int, line string) error {
	if !utf8.ValidString(line) {
		return badInput(e.at(n)+"not valid UTF-8", "Convert the file to UTF-8.")
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &given); err != nil {
		var shape *json.UnmarshalTypeError // says what Go wanted
		why := ": " + err.Error()
		if errors.As(err, &shape) {
			why = ", but a JSON " + shape.Value
		}
		return badInput(e.at(n)+"not a JSON object"+why, `Write one object in each line, such as {"prompt": "...", "model": "haiku"}.`)
	}
	var own task.Draft
	texts := map[string]string{}
	for _, o := range slices.Concat([]task.Option{{Name: "prompt"}, task.KeyOption}, task.Options) {
		raw, ok := given[o.Name]
		delete(given, o.Name)
		if !ok || string(raw) == "null" {
			continue
		}
		if err := e.take(&own, texts, o, raw); err != nil {
			return badInput(e.at(n)+task.AsError(err).Message, "Correct the line.")
		}
	}
	for name := range given {
		return badInput(fmt.Sprintf("%s%q is no option of a task", e.at(n), name), "There are prompt, idempotency_key, "+strings.Join(task.Names(task.Options, false), ", ")+".")
	}
	return e.add(n, texts["prompt"], texts["idempotency_key"], own)
}

// take reads an option of a line, or one of the texts that are none of a task.
func (e *each) take(own *task.Draft, texts map[string]string, o task.Option, raw json.RawMessage) error {
	if _, is := task.Find(o.Name); is {
		return own.Take(o, raw)
	}
	v, ok := o.Of(raw)
	if !ok || !o.Allows(v) {
		return o.Refuse(raw)
	}
	texts[o.Name] = v.(string)
	return nil
}

func (e *each) csv(data []byte, prompt string) error {
	// What another task answers is filled in when the task starts.
	later := regexp.MustCompile(`\{\{(\s*tasks\.)`).ReplaceAllString(prompt, `{{"{{"}}$1`)
	fill, err := template.New("prompt").Option("missingkey=error").Parse(later)
	if err != nil {
		return badInput("the prompt is no template: "+templateError(err), "Write a column as {{.name}}.")
	}
	rows := csv.NewReader(bytes.NewReader(data))
	var header []string
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return badInput(fmt.Sprintf("%s: %v", e.file, err), "Write a header row, and as many fields in every row; quote a field that has commas.")
		}
		line, _ := rows.FieldPos(0)
		if header == nil {
			for i := range row {
				row[i] = strings.TrimSpace(row[i])
				if slices.Contains(row[:i], row[i]) {
					return badInput(fmt.Sprintf("%sthere are two columns %q", e.at(line), row[i]), "Give each column a name of its own.")
				}
			}
			header = row
			continue
		}
		columns := map[string]string{}
		for i, name := range header {
			columns[name] = row[i]
		}
		var b strings.Builder
		if err := fill.Execute(&b, columns); err != nil {
			return badInput(e.at(line)+templateError(err), "The columns are "+strings.Join(header, ", ")+".")
		}
		if err := e.add(line, b.String(), "", task.Draft{}); err != nil {
			return err
		}
	}
}
