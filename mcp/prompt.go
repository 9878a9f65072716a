package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"

	"cctask/engine/task"
	"cctask/internal/summary"
)

// prompt is one row of the prompt table. text has {name} for each argument.
type prompt struct {
	name, title, description, text string
	args                           []argument
	// also makes pairs of what else text has in braces, and what stands for it.
	also func(*Server, context.Context, map[string]json.RawMessage) ([]string, error)
}

type argument struct{ name, description, absent string } // absent: what it is when left out; "": it is required

var prompts = []prompt{
	{
		name: "fan_out", title: "Do a job with parallel tasks", description: "Split a job into Claude Code tasks that run in parallel, and put their results together.",
		args: []argument{{"job", "What is to be done.", ""}, {"tasks", "How many tasks at most.", "as many as it has independent parts"}},
		text: `Do this job with Claude Code tasks that run in parallel: {job}

1. Split it into independent parts; the number of tasks: {tasks}. Tasks that change files must not touch the same ones.
2. Call start_cc_task_async once for each part. A task sees only its prompt and its working directory: write down everything that it needs, and what its answer should look like. Give each a name and all of them the same label.
3. Call check_task_status with that label and wait_seconds 600, again until all have ended.
4. Read failure_reason and error of those that did not complete; start a corrected task where that helps.
5. Put the results together and say what is missing.`,
	},
	{
		name: "resume_task", title: "Go on with a task", description: "Find out why a task ended and go on with it.",
		args: []argument{{"task_id", "The task's id or name.", ""}, {"prompt", "What to say to it.", "that it should go on after verifying what its last tool did"}},
		text: `Go on with the Claude Code task {task_id}.

1. Call check_task_status with task_id {task_id}. If it is still running or queued, wait with wait_seconds instead. If it is completed, report its result and stop.
2. Read failure_reason, error and next, and the end of its output, and say why it ended.
3. If what stopped it is put right, call start_cc_task_async with resume_task_id {task_id} and the options that the task had: the new task goes on in the same session. What to say in its prompt: {prompt}. If the task never started, start it anew instead.
4. Wait for the new task with check_task_status and wait_seconds, and report the result.`,
	},
	{
		name: "review_results", title: "Review what tasks have done", description: "Read the results of ended tasks and judge them.",
		args: []argument{{"label", "Only tasks with this label.", "any"}},
		text: `Review what Claude Code tasks have done. Label of the tasks: {label}.

{summary}
1. Call list_active_tasks with include_finished, and with label unless it is any.
2. Call check_task_status with output="none" for each that has ended, several in one message.
3. For each: what was asked, what the answer claims, and whether the files bear it out; check, do not believe.
4. End with a table of task, status, cost and verdict, and with what should be done next.`,
		also: (*Server).became,
	},
}

func (s *Server) addPrompts() {
	for _, p := range prompts {
		opts := []mcpgo.PromptOption{mcpgo.WithPromptTitle(p.title), mcpgo.WithPromptDescription(p.description)}
		for _, a := range p.args {
			says := []mcpgo.ArgumentOption{mcpgo.ArgumentDescription(a.description)}
			if a.absent == "" {
				says = append(says, mcpgo.RequiredArgument())
			}
			opts = append(opts, mcpgo.WithArgument(a.name, says...))
		}
		s.mcp.AddPrompt(mcpgo.NewPrompt(p.name, opts...), nil)
	}
}

func promptOf(name string) (prompt, bool) {
	at := slices.IndexFunc(prompts, func(p prompt) bool { return p.name == name })
	if at < 0 {
		return prompt{}, false
	}
	return prompts[at], true
}

func (s *Server) getPrompt(ctx context.Context, _ *request, q params) (any, error) {
	name := text(q["name"])
	p, ok := promptOf(name)
	if !ok {
		return nil, nothing("prompt", name, "prompts/list has")
	}
	given := members(q["arguments"])
	var pairs []string
	for _, a := range p.args {
		value := text(given[a.name])
		if strings.TrimSpace(value) == "" {
			value = a.absent
		}
		if value == "" {
			return nil, task.Errorf(task.CodeInvalid, a.description, "%s: missing, required is a string that is not empty", a.name)
		}
		pairs = append(pairs, "{"+a.name+"}", value)
	}
	if p.also != nil {
		more, err := p.also(s, ctx, given)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, more...)
	}
	said := mcpgo.NewTextContent(strings.NewReplacer(pairs...).Replace(p.text))
	return mcpgo.NewGetPromptResult(p.description, []mcpgo.PromptMessage{mcpgo.NewPromptMessage(mcpgo.RoleUser, said)}), nil
}

// became says what became of the tasks so far. It has ids and numbers alone: no text of
// a task can pose as a part of the prompt.
func (s *Server) became(ctx context.Context, given map[string]json.RawMessage) ([]string, error) {
	var f task.Filter
	if label := strings.TrimSpace(text(given["label"])); label != "" {
		f.Labels = []string{label}
	}
	tasks, err := summary.Read(ctx, s.svc, f)
	if err != nil {
		return nil, fmt.Errorf("sum up the tasks: %w", err)
	}
	sum := summary.Of(tasks, time.Now())
	var b strings.Builder
	fmt.Fprintf(&b, "So far: %d tasks, $%.4f, %d turns.\n", sum.Tasks, sum.CostUSD, sum.NumTurns)
	for _, c := range sum.Statuses {
		fmt.Fprintf(&b, "- %s: %d\n", c.Status, c.Tasks)
	}
	for _, w := range sum.Queue.Waiting {
		fmt.Fprintf(&b, "- now waiting for %s: %s\n", w.For, some(w.Tasks))
	}
	for _, r := range sum.Retries {
		fmt.Fprintf(&b, "- attempts after %s: %d, of %s; %d of these tasks completed\n", r.Reason, r.Attempts, some(r.Tasks), r.Completed)
	}
	for _, x := range sum.Failures {
		fmt.Fprintf(&b, "- not completed, %s: %s. %s\n", x.Reason, some(x.Tasks), x.Next)
	}
	return []string{"{summary}", b.String()}, nil
}

// some names the first of many tasks, and counts them.
func some(ids []task.ID) string {
	const most = 10
	var b strings.Builder
	for _, id := range ids[:min(most, len(ids))] {
		b.WriteString(string(id) + " ")
	}
	if len(ids) > most {
		b.WriteString("... ")
	}
	return fmt.Sprintf("%s(%d)", b.String(), len(ids))
}

// complete completes the id in a resource template, or the task_id of a prompt, by
// ids and names of tasks, newest first.
func (s *Server) complete(ctx context.Context, _ *request, p params) (any, error) {
	ref, argument := members(p["ref"]), members(p["argument"])
	name, uri := text(ref["name"]), text(ref["uri"])
	_, known := promptOf(name)
	switch ofPrompt := text(ref["type"]) == "ref/prompt"; {
	case ofPrompt && !known:
		return nil, &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("ref: there is no prompt %q", clip(name, 100)), Hint: "prompts/list has those that there are."}
	case !ofPrompt && !strings.HasPrefix(uri, uriScheme):
		return nil, &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("ref: there is no resource %q", clip(uri, 100)), Hint: "resources/templates/list has those that there are."}
	}
	c := mcpgo.Completion{Values: []string{}}
	if of := text(argument["name"]); of != "id" && of != "task_id" {
		return &mcpgo.CompleteResult{Completion: c}, nil
	}
	page, err := s.svc.List(ctx, task.Filter{Limit: 1000})
	if err != nil {
		return nil, fmt.Errorf("list the tasks: %w", err)
	}
	begun := strings.ToLower(text(argument["value"]))
	seen := map[string]bool{"": true}
	for _, t := range page.Tasks {
		for _, v := range []string{string(t.ID), t.Spec.Name} {
			if !seen[v] && strings.HasPrefix(strings.ToLower(v), begun) {
				seen[v] = true
				c.Values = append(c.Values, v)
			}
		}
	}
	const most = 100 // by the specification
	c.Total = len(c.Values)
	c.HasMore = c.Total > most || page.NextCursor != ""
	c.Values = c.Values[:min(c.Total, most)]
	return &mcpgo.CompleteResult{Completion: c}, nil
}
