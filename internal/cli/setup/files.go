package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/pretty"
	"github.com/tidwall/sjson"

	"cctask/engine/task"
	"cctask/internal/cli/settings"
	"cctask/internal/sys"
)

// Files are the files of Claude Code 2.1 that setup looks into. What is
// registered is changed by claude itself, hooks have no command there.
type Files struct {
	registry, key string // the file of the registration, and the path of our entry in it
	Settings      string // of the hooks
}

// Find is where a scope of Claude Code keeps its files.
func Find(getenv func(string) string, scope string) (Files, error) {
	home := getenv("HOME")
	config, state := filepath.Join(home, ".claude"), filepath.Join(home, ".claude.json")
	if dir := getenv("CLAUDE_CONFIG_DIR"); dir != "" {
		config, state = dir, filepath.Join(dir, ".claude.json")
	}
	if !filepath.IsAbs(state) {
		return Files{}, task.Invalid("the files of Claude Code cannot be found: HOME is not set", "Set HOME.")
	}
	project, gone := settings.WorkingDir()
	if scope != "user" && gone != "" {
		return Files{}, task.Invalid(fmt.Sprintf("the project of the scope %s cannot be found: %s", scope, gone), "Go to a directory that exists.")
	}
	entry := "mcpServers." + ServerName
	switch scope {
	case "project":
		return Files{filepath.Join(project, ".mcp.json"), entry, filepath.Join(project, ".claude", "settings.json")}, nil
	case "local":
		return Files{state, "projects." + gjson.Escape(project) + "." + entry, filepath.Join(project, ".claude", "settings.local.json")}, nil
	}
	return Files{state, entry, filepath.Join(config, "settings.json")}, nil
}

// readJSON is a file of Claude Code; a missing or empty one is an empty object.
func readJSON(path string) (string, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && strings.TrimSpace(string(text)) == "":
		return "{}", nil
	case err != nil:
		return "", fmt.Errorf("read the settings of Claude Code: %w", err)
	case !gjson.ValidBytes(text) || !gjson.ParseBytes(text).IsObject():
		return "", task.Invalid(path+" is not a JSON object", "Mend it first; it is left as it is.")
	}
	return string(text), nil
}

// Server is the command that is registered; nil is none.
func (p Files) Server() ([]string, error) {
	text, err := readJSON(p.registry)
	entry := gjson.Get(text, p.key)
	if err != nil || !entry.Exists() {
		return nil, err
	}
	words := []string{entry.Get("command").String()}
	for _, arg := range entry.Get("args").Array() {
		words = append(words, arg.String())
	}
	return words, nil
}

const (
	blank       = " \t\r\n"
	hooksPath   = "hooks.PostToolUse"
	hookMatcher = "mcp__" + ServerName + "__start_cc_task_async"
	// hookTime is how long a hook may wait for its task, in seconds.
	hookTime = 24 * 60 * 60
)

// hookChange puts the hook into the settings or takes it out; everything else
// in the file stays as it is, to the byte.
func (p Files) hookChange(command string, remove bool) ([]Change, error) {
	text, err := readJSON(p.Settings)
	if err != nil {
		return nil, err
	}
	for path, right := range map[string]func(gjson.Result) bool{"hooks": gjson.Result.IsObject, hooksPath: gjson.Result.IsArray} {
		if at := gjson.Get(text, path); at.Exists() && !right(at) {
			return nil, task.Invalid(fmt.Sprintf("%s: %s is not what Claude Code has there", p.Settings, path), "Mend it first; it is left as it is.")
		}
	}
	kept, there := text, false
	list := gjson.Get(text, hooksPath).Array()
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Get("matcher").String() != hookMatcher {
			continue
		}
		if there = !remove && list[i].Get("hooks.0.command").String() == command; there {
			return nil, nil
		}
		if kept, err = sjson.Delete(kept, fmt.Sprintf("%s.%d", hooksPath, i)); err != nil {
			return nil, fmt.Errorf("take the hook out of %s: %w", p.Settings, err)
		}
	}
	what := "take the hook out of " + p.Settings
	if !remove {
		what = fmt.Sprintf("add to %s: after %s run in the background: %s", p.Settings, hookMatcher, command)
		kept, err = sjson.Set(kept, hooksPath+".-1", map[string]any{
			"matcher": hookMatcher,
			"hooks":   []any{map[string]any{"type": "command", "command": command, "asyncRewake": true, "timeout": hookTime}},
		})
		if err != nil {
			return nil, fmt.Errorf("add the hook to %s: %w", p.Settings, err)
		}
	}
	if kept == text {
		return nil, nil
	}
	for _, path := range []string{hooksPath, "hooks"} {
		if rest := gjson.Get(kept, path); rest.Exists() && len(rest.Array()) == 0 || rest.IsObject() && len(rest.Map()) == 0 {
			if kept, err = sjson.Delete(kept, path); err != nil {
				return nil, fmt.Errorf("take the hook out of %s: %w", p.Settings, err)
			}
		}
	}
	// The library cuts what follows the object.
	kept = strings.TrimRight(kept, blank) + text[len(strings.TrimRight(text, blank)):]
	if text == "{}" {
		kept = string(pretty.Pretty([]byte(kept)))
	}
	return []Change{{what, func(context.Context) error { return writeSettings(p.Settings, kept) }}}, nil
}

// writeSettings replaces a settings file of Claude Code.
func writeSettings(path, text string) error {
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		path, err = sys.FollowLinks(path)
	}
	if err == nil {
		err = sys.WriteFile(path, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
