package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"cctask/engine/runner"
	"cctask/engine/task"
)

// CheckClaude refuses a claude that cannot be started with this environment.
func CheckClaude(at Asker, file string, env []string) error {
	err := findClaude(at, file, func() ([]string, error) { return env, nil })
	if err == nil {
		return nil
	}
	return task.Errorf(task.CodeInvalid, cmp.Or(task.HintOf(err), "Install Claude Code (npm install -g @anthropic-ai/claude-code), or set CCTASK_CLAUDE to its path."), "claude: %v", err)
}

// findClaude tells what keeps the system from starting a file, as far as a look
// at it can tell. env is asked for where the file leaves it to PATH.
func findClaude(at Asker, file string, env func() ([]string, error)) error {
	f, err := at.Ask(context.Background(), file, scriptHead)
	switch {
	case err != nil:
		return plain(file, err)
	case !f.Regular || !f.CanExec:
		return fmt.Errorf("%s is not an executable file", file)
	case f.Size == 0:
		return fmt.Errorf("%s is empty", file)
	case len(f.Head) == 0:
		return nil // one may execute what one may not read
	}
	head := string(f.Head)
	line, script := strings.CutPrefix(head, "#!")
	if !script {
		if strings.ContainsRune(head, 0) {
			return nil // a binary
		}
		return fmt.Errorf("%s is a script without a first line that names its interpreter, such as #!/bin/sh", file)
	}
	line, _, _ = strings.Cut(line, "\n")
	return findInterpreter(at, file, strings.Fields(line), env)
}

// scriptHead is as much of a file as the system looks at to tell how to start it.
const scriptHead = 256

// findInterpreter looks for the words of a script's first line: a path, or a
// name that env looks up.
func findInterpreter(at Asker, script string, words []string, env func() ([]string, error)) error {
	if len(words) == 0 || !path.IsAbs(words[0]) {
		return nil // the system may know better
	}
	if _, err := at.Ask(context.Background(), words[0], 0); err != nil {
		return needs(script, words[0], plain(words[0], err).Error())
	}
	name := words[1:]
	if len(name) > 1 && name[0] == "-S" {
		name = name[1:]
	}
	if path.Base(words[0]) != "env" || len(name) == 0 || strings.HasPrefix(name[0], "-") || strings.ContainsAny(name[0], "=/") {
		return nil
	}
	vars, err := env()
	if err != nil {
		return nil // the launch will tell
	}
	dirs := ""
	for _, v := range vars {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			dirs = value
		}
	}
	for _, dir := range filepath.SplitList(dirs) {
		if !path.IsAbs(dir) {
			return nil
		}
		if f, err := at.Ask(context.Background(), filepath.Join(dir, name[0]), 0); err == nil && f.CanExec {
			return nil
		}
	}
	if dirs == "" {
		return nil // env has a PATH of its own then
	}
	return needs(script, name[0], fmt.Sprintf("%s, which is nowhere on PATH (%s)", name[0], dirs))
}

func needs(script, interpreter, what string) error {
	return task.Errorf(task.CodeInvalid, fmt.Sprintf("Install %s where that script looks for it, or set CCTASK_CLAUDE to a claude that can run.", path.Base(interpreter)), "%s needs %s", script, what)
}

// plain is an error of a file without the name of the system call.
func plain(file string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return fmt.Errorf("%s: %w", file, err)
}

// argMargin is, at submission, for what else goes to claude: the session's id, our
// own variables, and what an interpreter, or a shell around the real claude, adds.
const argMargin = 8 << 10

// checkSize refuses arguments and an environment that the system would not hand
// to claude in one call.
func checkSize(argv, env []string, margin int) error {
	const hint = "Put MCP configurations, schemas and long texts into files, and name the files."
	all, one := runner.ArgLimits()
	args, argsErr := bytesOf(argv, one)
	vars, varsErr := bytesOf(env, one)
	switch {
	case argsErr != nil:
		return &task.Error{Code: task.CodeInvalid, Message: "options: " + argsErr.Error(), Hint: hint}
	case varsErr != nil:
		return &task.Error{Code: task.CodeInvalid, Message: "environment: " + varsErr.Error(), Hint: "Unset this variable, or make it shorter."}
	case args+vars+margin > all && vars > args:
		return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("environment: it has %d bytes beside %d of options, and this system hands at most %d to a program", vars, args, all), Hint: "Unset what is large in it."}
	case args+vars+margin > all:
		return &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("options: they have %d bytes beside %d of environment, and this system hands at most %d to a program", args, vars, all), Hint: hint}
	}
	return nil
}

// bytesOf counts strings as the system does, and refuses one of more than most bytes.
func bytesOf(list []string, most int) (n int, err error) {
	for _, s := range list {
		if len(s)+1 > most {
			name, _, _ := strings.Cut(s, "=")
			return 0, fmt.Errorf("%.40s has %d bytes, and this system hands at most %d in one piece to a program", name, len(s), most)
		}
		n += len(s) + 1 + 8
	}
	return n, nil
}
