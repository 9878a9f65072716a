package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cctask/engine"
	"cctask/engine/task"
)

// promptOf is the prompt of an attempt.
func (w *world) promptOf(id task.ID, n int) string {
	w.Helper()
	for all := ""; ; {
		out, err := w.Output(w.ctx, engine.OutputQuery{Ref: string(id), Attempt: n, Stream: task.Prompt, Offset: int64(len(all))})
		w.must(err)
		if all += string(out.Data); int64(len(all)) == out.Size {
			return all
		}
	}
}

func (w *world) submission(name, prompt string, after ...string) engine.Submission {
	return engine.Submission{Spec: task.Spec{WorkingDir: w.home, Claude: w.claude, Name: name, After: after}, Prompt: prompt, Env: w.env()}
}

// A prompt takes what other tasks answered: by name, position and id, a whole answer or a
// part of it. What it got is the attempt's prompt from then on; a retry takes it anew.
func TestPromptTakesAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	plan := w.submission("plan", `[[structured {"steps":["dig","fill"],"n":12345678901234567890,"html":"<a>"}]]`)
	plan.Spec.JSONSchema = []byte(`{"type":"object"}`)
	const prompt = "{{tasks.plan.structured.steps.0}} {{ tasks.1.structured.n }} {{tasks.plan.status}} {{tasks.3.result}} {{tasks.plan.id}} {{nothing}} {{tasks.plan.structured}}[[fail]]"
	tasks, err := w.SubmitAll(w.ctx, engine.Batch{Tasks: []engine.Submission{plan, w.submission("do", prompt), w.submission("", "[[text said {{tasks.plan.status}}]]", "plan")}})
	w.must(err)
	if after := tasks[1].Spec.After; len(after) != 2 || after[0] != string(tasks[0].ID) || after[1] != string(tasks[2].ID) {
		t.Errorf("it waits for %v", after)
	}
	if got := w.promptOf(tasks[1].ID, 1); got != prompt {
		t.Errorf("while it waits its prompt is %s", got)
	}
	end := w.end(tasks[1].ID, task.Failed)
	want := fmt.Sprintf(`dig 12345678901234567890 completed said completed %s {{nothing}} {"html":"<a>","n":12345678901234567890,"steps":["dig","fill"]}[[fail]]`, tasks[0].ID)
	if got := w.promptOf(end.ID, 1); got != want || end.PromptHead != task.Head(want) {
		t.Errorf("got  %s (%s)\nwant %s", got, end.PromptHead, want)
	}
	_, err = w.Retry(w.ctx, engine.Again{Ref: string(end.ID), Env: w.env()})
	w.must(err)
	w.end(end.ID, task.Failed)
	if got := w.promptOf(end.ID, 2); got != want {
		t.Errorf("a retry got %s", got)
	}
	w.must(w.Remove(w.ctx, string(tasks[2].ID), false))
	_, err = w.Retry(w.ctx, engine.Again{Ref: string(end.ID), Env: w.env()})
	w.must(err)
	if end = w.end(end.ID, task.Failed); end.Reason != task.ReasonDependency || !strings.Contains(end.Message, "{{tasks.3.result}}: task "+string(tasks[2].ID)+" was removed") {
		t.Errorf("without the answer: %s: %s", end.Reason, end.Message)
	}
	w.starts(4) // the third attempt had none
}

// What is not there is told before claude starts.
func TestPromptLacksAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	tasks, err := w.SubmitAll(w.ctx, engine.Batch{Tasks: []engine.Submission{
		w.submission("words", "[[text only words]]"), w.submission("bad", "[[fail]]"),
		w.submission("", "{{tasks.words.structured.a}}"), w.submission("", "{{tasks.bad.result}}", "bad:any"), w.submission("", "{{tasks.bad.status}}", "bad:any"),
	}})
	w.must(err)
	for i, want := range []string{"is not JSON: give that task a json_schema", "which is failed, has no answer"} {
		if end := w.end(tasks[2+i].ID, task.Failed); end.Reason != task.ReasonDependency || !strings.Contains(end.Message, want) || !end.StartedAt.IsZero() {
			t.Errorf("%s: %s, want %s", end.Reason, end.Message, want)
		}
	}
	w.end(tasks[4].ID, task.Completed)
	if got := w.promptOf(tasks[4].ID, 1); got != "failed" {
		t.Errorf("got %q", got)
	}
}

func TestPromptReferencesAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	first, err := w.Submit(w.ctx, engine.Submission{Spec: task.Spec{WorkingDir: w.home, Claude: w.claude, Name: "a", Hold: true}, Prompt: "x", Env: w.env()})
	w.must(err)
	held := w.submission("b", "{{tasks.a.id}}")
	held.Spec.Hold = true
	second, err := w.Submit(w.ctx, held)
	w.must(err)
	if len(second.Spec.After) != 0 {
		t.Errorf("for an id it waits: %v", second.Spec.After)
	}
	if second, err = w.Edit(w.ctx, engine.Edit{Ref: "b", Prompt: "now {{tasks.a.result}}"}); err != nil || len(second.Spec.After) != 1 {
		t.Errorf("edited, it waits for %v: %v", second.Spec.After, err)
	}
	for prompt, want := range map[string]string{
		"{{tasks.nobody.result}}": "prompt: {{tasks.nobody.result}}: no task",
		"{{tasks.self.result}}":   "is this task itself",
		"{{tasks.a}}":             "is no reference to a task",
		"{{tasks.a.answer}}":      "is no reference to a task",
		"{{tasks.a.id.x}}":        "is no reference to a task",
		"{{tasks.a.result}}" + strings.Repeat("x", 100_000): "at most 65536 are allowed where",
	} {
		if _, err := w.Submit(w.ctx, w.submission("self", prompt)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v", prompt, err)
		}
	}
	if _, err := w.Edit(w.ctx, engine.Edit{Ref: "a", Prompt: "{{tasks.b.result}}"}); err == nil || !strings.Contains(err.Error(), "wait for each other") {
		t.Errorf("a ring: %v", err)
	}
	plain := w.submission("", "{{tasks.a}} {{tasks.b.result}}")
	plain.Spec.Literal, plain.Spec.Hold = true, true
	got, err := w.Submit(w.ctx, plain)
	if w.must(err); len(got.Spec.After) != 0 || got.Template != "" {
		t.Errorf("literal: %+v", got)
	}
	for _, id := range []task.ID{first.ID, second.ID, got.ID} {
		_, err := w.Cancel(w.ctx, string(id))
		w.must(err)
	}
}

// Who gives a task other tasks to wait for does not take those away whose answers its
// prompt needs.
func TestPromptKeepsWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	other, first, third := w.submission("other", "x"), w.submission("first", "[[text y]]"), w.submission("third", "{{tasks.first.result}}[[fail]]")
	first.Spec.Hold = true
	tasks, err := w.SubmitAll(w.ctx, engine.Batch{Tasks: []engine.Submission{first, other, third}})
	w.must(err)
	for _, c := range []engine.Edit{
		{Ref: "third", Options: draft(t, `{"after":["other"]}`)}, {Ref: "third", Clear: []string{"after"}},
	} {
		got, err := w.Edit(w.ctx, c)
		if w.must(err); !slices.Contains(got.Spec.After, string(tasks[0].ID)) {
			t.Errorf("it waits for %v, without %s", got.Spec.After, tasks[0].ID)
		}
	}
	_, err = w.Edit(w.ctx, engine.Edit{Ref: "first", Options: draft(t, `{"hold":false}`)})
	w.must(err)
	if end := w.end(tasks[2].ID, task.Failed); end.Reason == task.ReasonDependency {
		t.Error(end.Message)
	}
	got, err := w.Retry(w.ctx, engine.Again{Ref: "third", Env: w.env(), Options: draft(t, `{"after":["other"]}`)})
	if w.must(err); !slices.Contains(got.Spec.After, string(tasks[0].ID)) {
		t.Errorf("another attempt waits for %v", got.Spec.After)
	}
	w.end(tasks[2].ID, task.Failed)
}

// A long answer is cut, and one that begins with a slash is no command.
func TestPromptCutsLongAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	long := "/" + strings.Repeat("ä", 60<<10)
	tasks, err := w.SubmitAll(w.ctx, engine.Batch{Tasks: []engine.Submission{
		w.submission("long", "[[text "+long+"]]"), w.submission("", strings.Repeat("{{tasks.long.result}}", 12)),
		w.submission("short", "[[text /clear]]"), w.submission("", "{{tasks.short.result}}"),
	}})
	w.must(err)
	end := w.end(tasks[1].ID, task.Completed)
	got := w.promptOf(end.ID, 1)
	note := fmt.Sprintf("\n[... %d of %d bytes are left out here; task %s has them]\n", len(long)-(100<<10-1), len(long), tasks[0].ID)
	if first := long[:100<<10-1] + note; !strings.HasPrefix(got, first+first) || strings.Count(got, "are left out here") != 12 {
		t.Errorf("%d bytes, %d notes", len(got), strings.Count(got, "are left out here"))
	}
	if n := len(got) - 12*200; n > 1<<20 {
		t.Errorf("%d bytes in all", len(got))
	}
	if end = w.end(tasks[3].ID, task.Completed); end.Result == nil || !strings.HasPrefix(*end.Result, "You said: \n/") {
		t.Errorf("claude was given %.20v", *end.Result)
	}
}
