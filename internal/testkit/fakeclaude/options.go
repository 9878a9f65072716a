package fakeclaude

import (
	"errors"
	"fmt"
	"strings"
)

// options are those that change what it does.
type options struct {
	version   bool
	sessionID string
	resume    string
	fork      bool
	model     string
}

// known are the options of the real CLI that a headless run may have, and
// whether they take a value.
var known = map[string]bool{
	"-p": false, "--print": false, "--verbose": false, "--version": false, "--output-format": true,
	"--session-id": true, "--resume": true, "--fork-session": false, "--model": true, "--fallback-model": true,
	"--dangerously-skip-permissions": false, "--permission-mode": true, "--permission-prompts": true,
	"--allowedTools": true, "--disallowedTools": true, "--append-system-prompt": true, "--max-turns": true,
	"--max-budget-usd": true, "--json-schema": true, "--add-dir": true, "--mcp-config": true,
	"--strict-mcp-config": false, "--setting-sources": true, "--settings": true, "--agents": true, "--effort": true,
	"--system-prompt": true, "--agent": true, "--tools": true, "--plugin-dir": true, "--betas": true,
	"--include-partial-messages": false, "--bare": false, "--safe-mode": false,
}

// parseOptions takes --name=value and --name value, and refuses what the real
// CLI does not know.
func parseOptions(args []string) (options, error) {
	o := options{model: "claude-opus-5-5"}
	given := map[string]string{}
	for len(args) > 0 {
		name, value, inline := strings.Cut(args[0], "=")
		takes, ok := known[name]
		if !ok {
			return o, fmt.Errorf("error: unknown option '%s'", args[0])
		}
		args = args[1:]
		if takes && !inline {
			if len(args) == 0 {
				return o, fmt.Errorf("error: option '%s <value>' argument missing", name)
			}
			value, args = args[0], args[1:]
		}
		given[name] = value
		o.set(name, value)
	}
	_, print := given["-p"]
	_, verbose := given["--verbose"]
	if !o.version && (!print || !verbose || given["--output-format"] != "stream-json") {
		return o, errors.New("fakeclaude: want -p --output-format=stream-json --verbose")
	}
	if o.resume != "" && o.sessionID != "" && !o.fork {
		return o, refusal("Error: --session-id with --continue or --resume also needs --fork-session.")
	}
	return o, nil
}

func (o *options) set(name, value string) {
	switch name {
	case "--version":
		o.version = true
	case "--session-id":
		o.sessionID = value
	case "--resume":
		o.resume = value
	case "--fork-session":
		o.fork = true
	case "--model":
		o.model = value
	}
}
