package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
	"cctask/internal/cli/settings"
	"cctask/internal/cli/setup"
	"cctask/internal/show"
)

// versionTime is what `claude --version` may take on a slow disk.
const versionTime = 30 * time.Second

func (d *Doctor) checkClaude(ctx context.Context) Finding {
	path, err := d.Source.FindClaude(d.s.Claude)
	if err != nil {
		return failed(err)
	}
	if err := engine.CheckClaude(&runner.Local{}, path, d.Environ); err != nil {
		return failed(err)
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	out, err := setup.Claude(ctx, d.Environ, path, "--version").Output()
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

// checkRoot: claude refuses to skip permissions for root, which is what a task
// does that says nothing else.
func (d *Doctor) checkRoot(context.Context) Finding {
	denies := d.s.File.Policy.AllowSkipPermissions
	switch {
	case denies != nil && !*denies || !d.s.File.Defaults.Spec.SkipsPermissions():
		return ok("a task does not skip permissions by default")
	case os.Geteuid() != 0:
		return ok("a task skips permissions by default, which claude allows here")
	case d.Source.Getenv("IS_SANDBOX") != "":
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
func (d *Doctor) checkLogin(context.Context) Finding {
	if i := slices.IndexFunc(logins, func(v string) bool { return d.Source.Getenv(v) != "" }); i >= 0 {
		return ok("%s is set", logins[i])
	}
	places, err := setup.Find(d.Source.Getenv, "user")
	if err != nil {
		return failed(err)
	}
	file := filepath.Join(filepath.Dir(places.Settings), ".credentials.json")
	if _, err := os.Stat(file); err == nil {
		return ok("%s is there", file)
	}
	return note("Run `claude` once and log in, or set ANTHROPIC_API_KEY.", "none was found")
}

func (d *Doctor) checkRegistration(context.Context) Finding {
	scopes := setup.Scopes
	if _, nowhere := settings.WorkingDir(); nowhere != "" {
		scopes = []string{"user"} // there is no project to look into
	}
	var in []string
	for _, scope := range scopes {
		places, err := setup.Find(d.Source.Getenv, scope)
		if err != nil {
			return failed(err)
		}
		words, err := places.Server()
		if err != nil {
			return failed(err)
		}
		if len(words) == 0 {
			continue
		}
		if _, err := d.Source.LookPath(words[0]); err != nil {
			return problem("Register it again with `cctask setup --scope "+scope+"`.", "the command that is registered for the scope %s cannot be run: %v", scope, err)
		}
		in = append(in, fmt.Sprintf("%s: %s", scope, task.ShellWords(words)))
	}
	if len(in) == 0 {
		return note("`cctask setup` registers it.", "Claude Code does not know the MCP server")
	}
	return ok("%s", strings.Join(in, "; "))
}
