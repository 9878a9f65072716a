package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/show"
)

// versionTime is what `claude --version` may take on a slow disk.
const versionTime = 30 * time.Second

func (d *doctor) checkClaude(ctx context.Context) finding {
	path, err := d.a.source().FindClaude(d.s.Claude)
	if err != nil {
		return failed(err)
	}
	if err := engine.CheckClaude(&runner.Local{}, path, d.a.Environ()); err != nil {
		return failed(err)
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	out, err := d.a.claudeCommand(ctx, path, "--version").Output()
	text := show.OneLine(string(out))
	if err != nil {
		return problem("Run it by hand, and install Claude Code again if it does not answer.", "%s --version: %v", path, err)
	}
	if !strings.Contains(text, "Claude Code") {
		return problem("Set CCTASK_CLAUDE or --claude to the path of Claude Code.", "%s says %q, not the version of Claude Code", path, show.Shorten(text, 80))
	}
	if !claude.Supported(text) {
		return problem("Update Claude Code (`claude update`).", "%s: %s is older than %s, the oldest release that is supported: what a resumed task costs is not certain", path, text, claude.Oldest)
	}
	return ok("%s: %s", path, text)
}

// claudeCommand is a call of claude beside all tasks.
func (a *app) claudeCommand(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append([]string{}, a.Environ()...)
	if _, nowhere := currentDir(); nowhere != "" {
		cmd.Dir = "/" // claude does not start in a directory that was removed
	}
	cmd.WaitDelay = time.Second
	return cmd
}

// checkRoot: claude refuses to skip permissions for root, which is what a task
// does that says nothing else.
func (d *doctor) checkRoot() finding {
	denies := d.s.File.Policy.AllowSkipPermissions
	switch {
	case denies != nil && !*denies || !d.s.File.Defaults.Spec.SkipsPermissions():
		return ok("a task does not skip permissions by default")
	case os.Geteuid() != 0:
		return ok("a task skips permissions by default, which claude allows here")
	case d.a.Getenv("IS_SANDBOX") != "":
		return ok("IS_SANDBOX lets claude skip permissions as root")
	}
	return problem(task.ReasonPermissionRoot.Hint(), "claude refuses to skip permissions as root, and a task does so unless it says otherwise")
}

// logins are variables that let claude in without a login of its own.
var logins = []string{
	"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY",
}

// checkLogin can only look where a login is usually kept: on macOS that is the
// keychain.
func (d *doctor) checkLogin() finding {
	if i := slices.IndexFunc(logins, func(v string) bool { return d.a.Getenv(v) != "" }); i >= 0 {
		return ok("%s is set", logins[i])
	}
	places, err := d.a.claudeFiles("user")
	if err != nil {
		return failed(err)
	}
	file := filepath.Join(filepath.Dir(places.settings), ".credentials.json")
	if _, err := os.Stat(file); err == nil {
		return ok("%s is there", file)
	}
	return note("Run `claude` once and log in, or set ANTHROPIC_API_KEY.", "none was found")
}

func (d *doctor) checkRegistration() finding {
	scopes := setupScopes
	if _, nowhere := currentDir(); nowhere != "" {
		scopes = []string{"user"} // there is no project to look into
	}
	var in []string
	for _, scope := range scopes {
		places, err := d.a.claudeFiles(scope)
		if err != nil {
			return failed(err)
		}
		words, err := places.server()
		if err != nil {
			return failed(err)
		}
		if len(words) == 0 {
			continue
		}
		if _, err := d.a.source().LookPath(words[0]); err != nil {
			return problem("Register it again with `cctask setup --scope "+scope+"`.", "the command that is registered for the scope %s cannot be run: %v", scope, err)
		}
		in = append(in, fmt.Sprintf("%s: %s", scope, task.ShellWords(words)))
	}
	if len(in) == 0 {
		return note("`cctask setup` registers it.", "Claude Code does not know the MCP server")
	}
	return ok("%s", strings.Join(in, "; "))
}
