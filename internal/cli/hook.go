package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/cli/setup"
	"cctask/internal/show"
)

// exitWake is the exit code at which Claude Code shows the session what an
// asyncRewake hook wrote to stderr, also when the session waits for its person.
const exitWake = 2

func newHook(a *app) *cobra.Command {
	return &cobra.Command{
		Use: setup.HookVerb, Hidden: true,
		Args: arguments(0, 0, ""),
		RunE: a.connected(func(ctx context.Context, svc engine.Service, _ []string) error {
			// Where nobody is attending (claude -p), Claude Code holds the tool's
			// result back until the hook has ended: tasks would run one by one.
			if a.Getenv("CLAUDE_CODE_ENTRYPOINT") != "cli" {
				return nil
			}
			id, err := startedTask(a.Stdin)
			if err != nil || id == "" {
				return err
			}
			t, err := engine.WaitFor(ctx, svc, id, engine.UntilEnd)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.Stderr, ending(t))
			return &stop{code: exitWake}
		}),
	}
}

// ending is what the session is told. Names are the model's own words: they are
// shown as one line that cannot pass for more.
func ending(t task.Task) string {
	name := ""
	if t.Spec.Name != "" {
		name = fmt.Sprintf(" (%s)", show.OneLine(t.Spec.Name))
	}
	return fmt.Sprintf("cctask: task %s%s has ended: %s. If you do not have its answer yet, call check_task_status with this task_id.",
		t.ID, name, claude.Visible(string(t.Status)))
}

// startedTask is the id in the answer of the tool as Claude Code 2.1 hands it
// to a PostToolUse hook: the structured result, as an object or as a string of
// JSON. It is "" where the tool gave none.
func startedTask(r io.Reader) (string, error) {
	var event struct {
		Response json.RawMessage `json:"tool_response"`
	}
	if err := json.NewDecoder(r).Decode(&event); err != nil {
		return "", badInput("the input of the hook is not JSON: "+err.Error(), "Claude Code calls this verb; use `cctask wait ID`.")
	}
	var text string
	if json.Unmarshal(event.Response, &text) == nil {
		event.Response = json.RawMessage(text)
	}
	var answer struct {
		ID string `json:"task_id"`
	}
	if json.Unmarshal(event.Response, &answer) != nil {
		return "", nil // an error's text
	}
	return answer.ID, nil
}
