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
	"cctask/internal/show"
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
		RunE: a.onTasks(task.ToRead, &asJSON, func(_ context.Context, _ engine.Service, tasks []task.Task) error {
			if asJSON {
				return nil
			}
			var blocks []string
			for _, r := range rows(tasks, time.Now()) {
				blocks = append(blocks, block(r))
			}
			_, err := fmt.Fprint(a.Stdout, strings.Join(blocks, "\n"+strings.Repeat("─", min(show.Columns(a.Stdout), 80))+"\n\n"))
			return err
		}),
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// The fields that a block shows, around what is said of one task alone.
var (
	factsBefore = []string{"task_id", "name", "status", "queue_position", "status_message", "failure_reason"}
	factsOfSpec = []string{"working_dir", "model", "labels", "group", "site", "host", "parent_id", "root_id"}
	factsOfTime = []string{"created_at", "started_at", "finished_at", "retry_at", "duration_ms"}
	factsBehind = []string{"exit_code", "session_id"}
)

// block describes a task for people, one fact a line.
func block(r show.Row) string {
	var b strings.Builder
	t := r.Task
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, show.OneLine(value))
		}
	}
	facts := func(names []string) {
		for _, name := range names {
			f, _ := show.Find(name)
			value := f.Fact(r)
			switch {
			case name == "status_message" && !show.Says(t):
				value = "" // the reason stands below
			case name == "created_at":
				value += " (" + f.Cell(r) + ")"
			}
			fact(strings.ToLower(f.Head), value)
		}
	}
	facts(factsBefore)
	fact("waits", t.Waiting.Words(r.Now))
	fact("next", t.Hint())
	prompt := t.PromptHead
	if len(prompt) < t.PromptBytes {
		prompt += "…"
	}
	fact("prompt", prompt)
	if t.Spec.Priority != 0 {
		fact("priority", strconv.Itoa(t.Spec.Priority))
	}
	fact("after", strings.Join(t.Spec.After, ", "))
	if t.Status == task.Queued && !t.NotBefore.IsZero() {
		fact("starts at", t.NotBefore.Local().Format(time.DateTime))
	}
	fact("notify", t.Spec.Notify)
	facts(factsOfSpec)
	fact("worktree", t.Worktree.Words())
	fact("mode", mode(t.Spec))
	fact("tools", tools(t.Spec))
	if t.Spec.TimeoutSeconds > 0 {
		fact("timeout", show.Duration(t.Spec.Timeout()))
	}
	facts(factsOfTime)
	if g := t.Progress; g != nil && t.Status.Live() {
		p := progress{task: t}
		fact("progress", strings.TrimPrefix(p.line(r.Now), fmt.Sprintf("task %s ", t.ID)))
		fact("says", g.LastText)
	}
	facts(factsBehind)
	if t.Spec.ResumeTaskID != "" {
		fact("goes on with", t.Spec.ResumeTaskID+map[bool]string{true: " (a fork of its session)"}[t.Spec.Fork])
	}
	// A running first attempt has no cost yet but the one in its progress.
	if t.Status.Ended() || t.Attempt > 1 {
		uncertain := map[bool]string{true: " (uncertain)"}[t.CostUncertain]
		fact("cost", fmt.Sprintf("%s%s in %s", show.Cost(t.CostUSD), uncertain, show.Plural(t.NumTurns, "turn")))
	}
	fact("output", fmt.Sprintf("%d bytes stdout, %d bytes stderr", t.StdoutBytes, t.StderrBytes))
	if len(t.Attempts) > 1 {
		for _, at := range t.Attempts {
			how := string(at.Status.Public())
			if at.Reason != "" {
				how += " (" + show.Reason(at.Reason) + ")"
			}
			fact(fmt.Sprintf("attempt %d", at.N), fmt.Sprintf("%s, %s, %s", at.Kind, how, show.Duration(time.Duration(at.DurationMS)*time.Millisecond)))
		}
	}
	if t.Result != nil && *t.Result != "" {
		fmt.Fprintf(&b, "answer:\n\n%s\n", claude.Visible(strings.TrimRight(*t.Result, "\n")))
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
