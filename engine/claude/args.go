package claude

import (
	"bytes"
	"slices"

	"cctask/engine/task"
)

// Args gives the arguments after the binary's name for an attempt of a task; extra
// are whole arguments of the person's own, behind all others. The prompt is not
// among them: it goes through stdin.
func Args(s task.Spec, n task.Attempt, extra []string) []string {
	args := []string{"-p", "--output-format=stream-json", "--verbose"}
	if n.ForkOf != "" {
		args = append(args, "--resume="+n.ForkOf, "--fork-session")
	}
	switch {
	case n.SessionID == "":
	case n.Resumes:
		args = append(args, "--resume="+n.SessionID)
	default:
		args = append(args, "--session-id="+n.SessionID)
	}
	return slices.Concat(args, s.Args(), extra)
}

// Stdin gives the bytes for claude's stdin. A prompt that begins with "/" is a
// slash command; literal puts a newline before it, which makes it text.
func Stdin(prompt []byte, literal bool) []byte {
	if literal && bytes.HasPrefix(prompt, []byte("/")) {
		return append([]byte("\n"), prompt...)
	}
	return prompt
}
