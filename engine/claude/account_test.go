package claude

import (
	"strings"
	"testing"
	"time"
)

func TestAccount(t *testing.T) {
	t.Parallel()
	const secret = "sk-ant-secret"
	for want, env := range map[string]string{
		"/home/u/.claude":    "HOME=/home/u",
		"/srv/claude":        "HOME=/home/u CLAUDE_CONFIG_DIR=/srv/claude/",
		"key-3fee3f0a4fb7":   "HOME=/home/u ANTHROPIC_API_KEY=" + secret,
		"token-3fee3f0a4fb7": "ANTHROPIC_API_KEY=x ANTHROPIC_AUTH_TOKEN=" + secret,
		"login-3fee3f0a4fb7": "CLAUDE_CONFIG_DIR=/srv/claude ANTHROPIC_API_KEY= CLAUDE_CODE_OAUTH_TOKEN=" + secret,
		"bedrock":            "HOME=/home/u CLAUDE_CODE_USE_BEDROCK=1 ANTHROPIC_API_KEY=" + secret,
	} {
		if got := Account(strings.Fields(env)); got != want {
			t.Errorf("%s: the account is %s, want %s", env, got, want)
		}
	}
}

func TestResetInText(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 29, 16, 30, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"Claude AI usage limit reached|1795400000":                    "2026-11-23T02:13:20Z",
		"You've hit your limit · resets 5:05pm (UTC)":                 "2026-11-29T17:05:00Z",
		"You've hit your limit · resets 5am (UTC)":                    "2026-11-30T05:00:00Z",
		"You've hit your limit · resets 4:30pm (UTC)":                 "2026-11-30T16:30:00Z",
		"You've hit your session limit · resets 12am (Asia/Kolkata)":  "2026-11-29T18:30:00Z",
		"You've hit your weekly limit · resets Dec 2, 9am (UTC)":      "2026-12-02T09:00:00Z",
		"You've hit your weekly limit · resets Jan 3 at 9:15am (UTC)": "2027-01-03T09:15:00Z",
		"You've hit your limit · resets 5pm (No/Where)":               "",
		"You've hit your limit · resets 25pm (UTC)":                   "",
		"You've hit your limit":                                       "",
	} {
		got := ""
		if r := resetInText(text, at); !r.IsZero() {
			got = r.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
