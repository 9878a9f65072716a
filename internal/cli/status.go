package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
)

func newStatus(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status ID...", Short: "Show tasks one by one",
		Long: `Show where tasks stand: their times, their attempts, what claude is doing, the answer.
With --json one ID gives one object, several a list.`,
		Example:     "  cctask status 01JD3ZK4\n  cctask status build docs\n  cctask status --json 01JD3ZK4 | jq -r .result",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, -1, "the id of a task"),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, args []string) error {
			tasks, err := a.lookup(ctx, svc, args, task.ToRead)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printTasks(tasks, len(args) == 1)
			}
			var blocks []string
			for _, t := range tasks {
				blocks = append(blocks, block(t, time.Now()))
			}
			_, err = fmt.Fprint(a.Stdout, strings.Join(blocks, "\n"))
			return err
		}),
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// block describes a task for people, one fact a line.
func block(t task.Task, now time.Time) string {
	var b strings.Builder
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, oneLine(value))
		}
	}
	fact("task", string(t.ID))
	fact("name", t.Spec.Name)
	fact("status", string(t.Status.Public()))
	if t.QueuePosition > 0 {
		fact("queue", fmt.Sprintf("%d in line", t.QueuePosition))
	}
	if says(t) {
		fact("message", t.Message)
	}
	fact("reason", string(t.Reason))
	fact("next", t.Hint())
	prompt := t.PromptHead
	if len(prompt) < t.PromptBytes {
		prompt += "…"
	}
	fact("prompt", prompt)
	fact("directory", t.Spec.WorkingDir)
	fact("model", t.Spec.Model)
	fact("labels", strings.Join(t.Spec.Labels, ", "))
	fact("mode", mode(t.Spec))
	fact("tools", tools(t.Spec))
	if t.Spec.TimeoutSeconds > 0 {
		fact("timeout", duration(t.Spec.Timeout()))
	}
	times(fact, t, now)
	if t.ExitCode != nil {
		fact("exit code", strconv.Itoa(*t.ExitCode))
	}
	fact("session", t.SessionID)
	if t.Spec.ResumeTaskID != "" {
		fact("goes on with", t.Spec.ResumeTaskID+map[bool]string{true: " (a fork of its session)"}[t.Spec.Fork])
	}
	// A running first attempt has no cost yet but the one in its progress.
	if t.Status.Ended() || t.Attempt > 1 {
		uncertain := map[bool]string{true: " (uncertain)"}[t.CostUncertain]
		fact("cost", fmt.Sprintf("%s%s in %s", cost(t.CostUSD), uncertain, plural(t.NumTurns, "turn")))
	}
	fact("output", fmt.Sprintf("%d bytes stdout, %d bytes stderr", t.StdoutBytes, t.StderrBytes))
	if len(t.Attempts) > 1 {
		for _, at := range t.Attempts {
			fact(fmt.Sprintf("attempt %d", at.N), fmt.Sprintf("%s, %s, %s", at.Kind, at.Status.Public(), duration(time.Duration(at.DurationMS)*time.Millisecond)))
		}
	}
	if t.Result != nil && *t.Result != "" {
		fmt.Fprintf(&b, "\n%s\n", claude.Visible(strings.TrimRight(*t.Result, "\n")))
	}
	return b.String()
}

// mode is what claude may do without being asked.
func mode(s task.Spec) string {
	if s.SkipsPermissions() {
		return "permissions are skipped"
	}
	return cmp.Or(s.PermissionMode, "default")
}

func tools(s task.Spec) string {
	var parts []string
	if len(s.AllowedTools) > 0 {
		parts = append(parts, "allowed "+strings.Join(s.AllowedTools, ", "))
	}
	if len(s.DisallowedTools) > 0 {
		parts = append(parts, "disallowed "+strings.Join(s.DisallowedTools, ", "))
	}
	return strings.Join(parts, "; ")
}

func times(fact func(name, value string), t task.Task, now time.Time) {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Local().Format(time.DateTime)
	}
	fact("created", fmt.Sprintf("%s (%s)", at(t.CreatedAt), ago(t.CreatedAt, now)))
	fact("started", at(t.StartedAt))
	fact("finished", at(t.FinishedAt))
	fact("limit ends", at(t.RetryAt))
	if d := spent(t); d > 0 {
		fact("duration", duration(d))
	}
	if g := t.Progress; g != nil && t.Status.Live() {
		p := progress{task: t}
		fact("progress", strings.TrimPrefix(p.line(now), fmt.Sprintf("task %s ", t.ID)))
		fact("says", g.LastText)
	}
}
