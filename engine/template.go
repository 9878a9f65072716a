package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cctask/engine/task"
)

// The most of other tasks that goes into a prompt.
const (
	maxFilled    = 100 << 10 // bytes in one place
	maxFilledAll = 1 << 20   // in all
	maxTemplate  = 64 << 10  // of a prompt with places, which its record keeps for another attempt
)

// errUnfilled says that a task has nothing for a place in another one's prompt.
var errUnfilled = errors.New("the prompt cannot be filled in")

// refer makes a template of a prompt that has places for what other tasks answer. Their
// names are looked up now, since another task may bear one later, and t waits for each
// whose end it needs. known is that of needs.
func (e *Engine) refer(t *task.Task, prompt string, known func(ref string) (task.ID, error)) error {
	t.Template, t.Refs = "", nil
	if t.Spec.Literal {
		return nil
	}
	list, err := task.References(prompt)
	if err != nil || len(list) == 0 {
		return err
	}
	if len(prompt) > maxTemplate {
		return task.Errorf(task.CodeInvalid, "Put the material into a file in the working directory and name the file in the prompt.",
			"prompt: has %d bytes, at most %d are allowed where other tasks' answers are filled in", len(prompt), maxTemplate)
	}
	t.Template, t.Refs = prompt, map[string]task.ID{}
	for _, r := range list {
		var id task.ID
		if r.Ref != t.Spec.Name {
			if id, err = e.refersTo(r.Ref, known); err != nil {
				return fmt.Errorf("prompt: {{tasks.%s}}: %w", r, err)
			}
		}
		if id == "" || id == t.ID {
			return task.Invalid(fmt.Sprintf("prompt: {{tasks.%s}} is this task itself", r), "Name another one.")
		}
		if t.Attempt > 0 { // others may wait for it already
			if err := e.noCycle(id, t.ID, map[task.ID]bool{}); err != nil {
				return err
			}
		}
		t.Refs[r.Ref] = id
	}
	return needRefs(t)
}

// needRefs lets t wait for each task whose end its prompt needs, whatever else it is to
// wait for.
func needRefs(t *task.Task) error {
	list, err := task.References(t.Template)
	if err != nil {
		return err
	}
	after := map[string]bool{}
	for _, text := range t.Spec.After {
		after[task.ParseNeed(text).Ref] = true
	}
	t.Spec.After = slices.Clone(t.Spec.After)
	for _, r := range list {
		if id := string(t.Refs[r.Ref]); r.What != task.TakesID && !after[id] {
			after[id] = true
			t.Spec.After = append(t.Spec.After, id)
		}
	}
	return nil
}

func (e *Engine) fillPrompt(t *task.Task) (string, error) {
	rest := maxFilledAll
	return task.Fill(t.Template, func(r task.Reference) (string, error) {
		text, err := e.valueOf(r, t.Refs[r.Ref])
		if err != nil {
			return "", fmt.Errorf("%w: {{tasks.%s}}: %w", errUnfilled, r, err)
		}
		text = strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
		whole := len(text)
		if most := min(maxFilled, rest); whole > most {
			for most > 0 && !utf8.RuneStart(text[most]) {
				most--
			}
			text = fmt.Sprintf("%s\n[... %d of %d bytes are left out here; task %s has them]\n", text[:most], whole-most, whole, t.Refs[r.Ref])
			whole = most
		}
		rest -= whole
		return text, nil
	})
}

// fillIn gives an attempt that is claimed its prompt, which stays as it is from now on.
func (e *Engine) fillIn(t *task.Task, rec *task.Attempt, w *task.Write) error {
	if !rec.Unfilled {
		return nil
	}
	prompt, err := e.fillPrompt(t)
	if err != nil {
		return err
	}
	if rec.N == 1 {
		t.PromptHead, t.PromptBytes = task.Head(prompt), len(prompt)
	}
	rec.Unfilled, rec.PromptN = false, rec.N
	w.Prompt, w.NewPrompt = &task.Blob{ID: t.ID, Attempt: rec.N, Data: []byte(prompt)}, true
	return nil
}

// valueOf is what a task gives for a place.
func (e *Engine) valueOf(r task.Reference, id task.ID) (string, error) {
	if r.What == task.TakesID {
		return string(id), nil
	}
	t, err := e.store.Task(id)
	if errors.Is(err, task.ErrNotFound) {
		return "", fmt.Errorf("task %s was removed", id)
	}
	if err != nil {
		return "", err
	}
	if r.What == task.TakesStatus {
		return string(t.Status.Public()), nil
	}
	const most = 16 << 20 // of an answer that is looked into
	text, err := e.store.Stream(id, t.Attempt, task.Result, 0, most)
	if err != nil {
		return "", err
	}
	if len(text) == 0 {
		return "", fmt.Errorf("task %s, which is %s, has no answer", id, t.Status.Public())
	}
	if r.What == task.TakesResult {
		return string(text), nil
	}
	var v any
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber() // an id may have more digits than a float64
	if !json.Valid(text) || in.Decode(&v) != nil {
		return "", fmt.Errorf("the answer of task %s is not JSON: give that task a json_schema", id)
	}
	return within(v, r.Path, id)
}

// within follows a path into JSON; text comes without its quotes.
func within(v any, path []string, id task.ID) (string, error) {
	for i, key := range path {
		ok := false
		switch at := v.(type) {
		case map[string]any:
			v, ok = at[key]
		case []any:
			if n, err := strconv.Atoi(key); err == nil && n >= 0 && n < len(at) {
				v, ok = at[n], true
			}
		}
		if !ok {
			return "", fmt.Errorf("the answer of task %s has no %s", id, strings.Join(path[:i+1], "."))
		}
	}
	if text, is := v.(string); is {
		return text, nil
	}
	var out strings.Builder
	w := json.NewEncoder(&out)
	w.SetEscapeHTML(false)
	err := w.Encode(v)
	return strings.TrimSuffix(out.String(), "\n"), err
}
