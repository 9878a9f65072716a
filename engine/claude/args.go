package claude

import (
	"bytes"
	"strconv"
)

// Options are the words of one run. The zero value of a field leaves its
// option out.
type Options struct {
	SessionID string // a UUID
	Resume    bool   // --resume=<id> instead of --session-id=<id>
	ForkOf    string // another session; SessionID begins as a copy of it

	Model              string
	SkipPermissions    bool
	PermissionMode     string
	AllowedTools       []string
	DisallowedTools    []string
	AppendSystemPrompt string
	MaxTurns           int
	MaxBudgetUSD       float64
	JSONSchema         []byte
	AddDirs            []string
	MCPConfig          []string // files or inline JSON
	StrictMCPConfig    bool
	Extra              []string // whole arguments of the person's own, behind all others
}

// Args gives the arguments after the binary's name. The prompt is not among
// them: it goes through stdin.
//
// Every value stands in one element with its option's name, so a value that
// begins with "-" cannot become an option. Lists repeat the option: claude
// reads each occurrence by itself, while a comma-joined list would let a
// comma, a space or an open parenthesis of one item change its neighbours.
func Args(o Options) []string {
	args := []string{"-p", "--output-format=stream-json", "--verbose"}
	value := func(name, v string) {
		if v != "" {
			args = append(args, name+"="+v)
		}
	}
	flag := func(name string, on bool) {
		if on {
			args = append(args, name)
		}
	}
	list := func(name string, items []string) {
		for _, v := range items {
			args = append(args, name+"="+v)
		}
	}
	session := "--session-id"
	value("--resume", o.ForkOf)
	flag("--fork-session", o.ForkOf != "")
	if o.Resume {
		session = "--resume"
	}
	value(session, o.SessionID)
	value("--model", o.Model)
	flag("--dangerously-skip-permissions", o.SkipPermissions)
	value("--permission-mode", o.PermissionMode)
	list("--allowedTools", o.AllowedTools)
	list("--disallowedTools", o.DisallowedTools)
	value("--append-system-prompt", o.AppendSystemPrompt)
	if o.MaxTurns > 0 {
		value("--max-turns", strconv.Itoa(o.MaxTurns))
	}
	if o.MaxBudgetUSD > 0 {
		value("--max-budget-usd", strconv.FormatFloat(o.MaxBudgetUSD, 'f', -1, 64))
	}
	value("--json-schema", string(o.JSONSchema))
	list("--add-dir", o.AddDirs)
	list("--mcp-config", o.MCPConfig)
	flag("--strict-mcp-config", o.StrictMCPConfig)
	return append(args, o.Extra...)
}

// Stdin gives the bytes for claude's stdin. A prompt that begins with "/" is a
// slash command; literal puts a newline before it, which makes it text.
func Stdin(prompt []byte, literal bool) []byte {
	if literal && bytes.HasPrefix(prompt, []byte("/")) {
		return append([]byte("\n"), prompt...)
	}
	return prompt
}
