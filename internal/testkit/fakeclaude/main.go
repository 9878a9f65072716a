package fakeclaude

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// Version is the version that it claims, with a tail that no release has.
const Version = "2.1.330-fake"

// ScriptEnv names a variable with the directives of the prompts that have none.
const ScriptEnv = "FAKECLAUDE_SCRIPT"

// DefaultCost is what a run adds to its session, in US dollars.
const DefaultCost = 0.01

// Called tells whether this process was started as claude.
func Called() bool { return filepath.Base(os.Args[0]) == "claude" }

// Main is the process. It does not return: the int is for os.Exit in TestMain,
// where a test binary with the race detector would first sleep for a second.
func Main() int {
	syscall.Exit(claudeMain())
	return 0
}

func claudeMain() int {
	if len(os.Args) == 3 && os.Args[1] == orphanArg {
		return orphanMain(os.Args[2])
	}
	logEntry(Entry{Event: "start", Args: os.Args[1:], Env: os.Environ()})
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		return fail(err)
	}
	if o.version {
		fmt.Println(Version + " (Claude Code)")
		return end(0)
	}
	prompt, err := io.ReadAll(os.Stdin)
	if err != nil {
		return fail(fmt.Errorf("read stdin: %w", err))
	}
	if strings.TrimSpace(string(prompt)) == "" {
		return fail(refusal("Error: Input contained only whitespace. Provide a prompt with text through stdin or as a prompt argument when using --print"))
	}
	s, err := openSession(o)
	r := &run{options: o, session: s, cost: DefaultCost, turns: 1}
	if lost := lostSession(""); errors.As(err, &lost) {
		r.result(object{"subtype": "error_during_execution", "is_error": true, "num_turns": 0, "errors": []string{err.Error()}})
	}
	if err != nil {
		return fail(err)
	}
	r.catchSignals()
	return r.play(string(prompt))
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return end(1)
}

func end(code int) int {
	logEntry(Entry{Event: "end", Exit: code})
	return code
}

var directive = regexp.MustCompile(`(?s)\[\[([a-z-]+) ?(.*?)\]\]`)

// play does what the prompt says and returns the exit code.
func (r *run) play(prompt string) int {
	list := directive.FindAllStringSubmatch(prompt, -1)
	if len(list) == 0 {
		list = directive.FindAllStringSubmatch(cmp.Or(os.Getenv(ScriptEnv), "[[text "+DefaultText(prompt)+"]]"), -1)
	}
	for _, d := range list {
		do, known := verbs[d[1]]
		if !known {
			return fail(fmt.Errorf("fakeclaude: unknown directive [[%s]]", d[1]))
		}
		if err := do(r, d[2]); err != nil {
			return fail(fmt.Errorf("fakeclaude: [[%s %.60s]]: %w", d[1], d[2], err))
		}
	}
	if !r.done {
		r.begin()
		r.result(object{"subtype": "success", "is_error": false, "result": r.said})
	}
	return end(r.code)
}

// DefaultText is the answer to a prompt without directives: its length and
// hash, after the prompt itself if it is short.
func DefaultText(prompt string) string {
	sum := fmt.Sprintf("received %d bytes sha256:%x", len(prompt), sha256.Sum256([]byte(prompt)))
	if len(prompt) > 200 {
		return sum
	}
	return "You said: " + prompt + "\n" + sum
}
