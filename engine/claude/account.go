package claude

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"
)

// Account names the credentials that claude takes from an environment, in the order in
// which it looks for them: the hash of a key or token, never
// itself, else the directory with the login.
func Account(env []string) string {
	vars := map[string]string{}
	for _, kv := range env {
		if name, v, ok := strings.Cut(kv, "="); ok {
			vars[name] = v
		}
	}
	for _, cloud := range []string{"BEDROCK", "VERTEX", "FOUNDRY"} {
		if on := vars["CLAUDE_CODE_USE_"+cloud]; on != "" && on != "0" && on != "false" {
			return strings.ToLower(cloud)
		}
	}
	for _, c := range []struct{ name, kind string }{
		{"ANTHROPIC_AUTH_TOKEN", "token-"}, {"ANTHROPIC_API_KEY", "key-"}, {"CLAUDE_CODE_OAUTH_TOKEN", "login-"},
	} {
		if secret := vars[c.name]; secret != "" {
			sum := sha256.Sum256([]byte(secret))
			return c.kind + hex.EncodeToString(sum[:6])
		}
	}
	if dir := vars["CLAUDE_CONFIG_DIR"]; dir != "" {
		return filepath.Clean(dir)
	}
	return filepath.Join(vars["HOME"], ".claude")
}
