package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"cctask/engine/task"
)

func TestPromptFromStdin(t *testing.T) {
	t.Parallel()
	largest := strings.Repeat("x", task.MaxPrompt)
	for name, test := range map[string]struct {
		stdin string
		bad   string // in the error
	}{
		"to the byte":    {stdin: "-x $(y) \"q\"\r\n\t🙂 "},
		"the largest":    {stdin: largest},
		"one byte more":  {stdin: largest + "x", bad: "more than"},
		"blank":          {stdin: " \r\n", bad: "is blank"},
		"invalid UTF-8":  {stdin: "a\xff", bad: "UTF-8"},
		"with a NUL":     {stdin: "a\x00b", bad: "NUL"},
		"empty, no args": {stdin: "", bad: "is blank"},
	} {
		a := &app{Env: envOf(map[string]string{"PATH": "/nowhere"})}
		a.flags.claude = "/bin/sh"
		a.Stdin = strings.NewReader(test.stdin)
		sub, err := a.submission(&cobra.Command{}, &taskFlags{}, nil)
		switch {
		case test.bad != "":
			if exitCode(err) != exitInput || !strings.Contains(err.Error(), test.bad) || task.HintOf(err) == "" {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil || sub.Prompt != test.stdin:
			t.Errorf("%s: %d bytes, %v", name, len(sub.Prompt), err)
		}
	}
}
