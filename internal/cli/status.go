package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cctask/engine/task"
)

func newStatus(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status ID", Short: "Show one task",
		Long:        `Show where a task stands: its times, its attempts, what claude is doing, its answer.`,
		Example:     "  cctask status 01JD3ZK4\n  cctask status --json 01JD3ZK4 | jq -r .result",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, 1, "the id of a task"),
		RunE: a.interruptible(func(cmd *cobra.Command, args []string) error {
			svc, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer svc.close()
			t, err := svc.Get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(view(t))
			}
			_, err = fmt.Fprint(a.Stdout, block(t, time.Now()))
			return err
		}),
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// block describes a task for people, one fact a line.
func block(t task.Task, now time.Time) string {
	var b strings.Builder
	fact := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, oneLine(fmt.Sprintf(format, args...)))
	}
	fact("task", "%s", t.ID)
	if t.Spec.Name != "" {
		fact("name", "%s", t.Spec.Name)
	}
	fact("status", "%s", t.Status.Public())
	if t.QueuePosition > 0 {
		fact("queue", "%d in line", t.QueuePosition)
	}
	if t.Message != "" {
		fact("message", "%s", t.Message)
	}
	if t.Reason != "" {
		fact("reason", "%s", t.Reason)
		fact("next", "%s", t.Reason.Hint())
	}
	fact("prompt", "%s%s", t.PromptHead, ellipsis(len(t.PromptHead) < t.PromptBytes))
	fact("directory", "%s", t.Spec.WorkingDir)
	if t.Spec.Model != "" {
		fact("model", "%s", t.Spec.Model)
	}
	times(fact, t, now)
	if t.ExitCode != nil {
		fact("exit code", "%d", *t.ExitCode)
	}
	if t.SessionID != "" {
		fact("session", "%s", t.SessionID)
	}
	// A running first attempt has no cost yet but the one in its progress.
	if t.Status.Ended() || t.Attempt > 1 {
		uncertain := map[bool]string{true: " (uncertain)"}[t.CostUncertain]
		fact("cost", "%s%s in %d turns", cost(t.CostUSD), uncertain, t.NumTurns)
	}
	fact("output", "%d bytes stdout, %d bytes stderr", t.StdoutBytes, t.StderrBytes)
	if len(t.Attempts) > 1 {
		for _, at := range t.Attempts {
			fact(fmt.Sprintf("attempt %d", at.N), "%s, %s, %s", at.Kind, at.Status.Public(), duration(time.Duration(at.DurationMS)*time.Millisecond))
		}
	}
	if t.Result != nil && *t.Result != "" {
		fmt.Fprintf(&b, "\n%s\n", visible(strings.TrimRight(*t.Result, "\n")))
	}
	return b.String()
}

func times(fact func(name, format string, args ...any), t task.Task, now time.Time) {
	const layout = "2006-01-02 15:04:05"
	fact("created", "%s (%s)", t.CreatedAt.Local().Format(layout), ago(t.CreatedAt, now))
	if !t.StartedAt.IsZero() {
		fact("started", "%s", t.StartedAt.Local().Format(layout))
	}
	if !t.FinishedAt.IsZero() {
		fact("finished", "%s", t.FinishedAt.Local().Format(layout))
	}
	if d := spent(t); d > 0 {
		fact("duration", "%s", duration(d))
	}
	if g := t.Progress; g != nil && t.Status.Live() {
		p := progress{task: t}
		fact("progress", "%s", strings.TrimPrefix(p.line(now), fmt.Sprintf("task %s ", t.ID)))
		if g.LastText != "" {
			fact("says", "%s", g.LastText)
		}
	}
}

func ellipsis(cut bool) string {
	if cut {
		return "…"
	}
	return ""
}
