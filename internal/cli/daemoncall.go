package cli

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"cctask/engine/task"
	"cctask/internal/ipc"
)

func newDaemonCall(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "call VERB [JSON]", Short: "Ask the owner one question in its own language",
		Long: `Send one verb of the protocol between cctask's processes to the running owner, with a JSON
value, and print its JSON answer: for looking into it by hand, and for scripts that need
what no other command shows. It starts no owner. The protocol is not stable: it grows
with cctask's version (` + "`cctask daemon status --json`" + ` names both).`,
		Example:     "  cctask daemon call hello\n  cctask daemon call get '{\"ref\": \"last\"}' | jq .spec",
		Annotations: exits(exitDone, exitFault, exitInput, exitInterrupted),
		Args:        arguments(1, 2, "a verb"),
		ValidArgs:   ipc.Verbs(),
		RunE: a.interruptible(func(ctx context.Context, args []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			in := json.RawMessage("{}")
			if len(args) == 2 {
				in = json.RawMessage(args[1])
			}
			if !json.Valid(in) {
				return badInput("the value is not JSON", "Quote it for the shell: '{\"ref\": \"last\"}'.")
			}
			client := a.client(s, false)
			defer client.Close()
			answer, err := client.Call(ctx, args[0], in)
			if err != nil {
				return err
			}
			var shown bytes.Buffer
			if err := json.Indent(&shown, answer, "", "  "); err != nil {
				return &task.Error{Code: task.CodeInternal, Message: "the owner's answer is not JSON", Err: err, Hint: "Ask with the same version of cctask as the owner's."}
			}
			_, err = a.Stdout.Write(append(bytes.TrimSpace(shown.Bytes()), '\n'))
			return err
		}),
	}
}
