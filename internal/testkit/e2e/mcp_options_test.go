package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"cctask/engine/task"
	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeapi"
)

// Every option of a task reaches claude, and claude acts on it.
func TestTaskOptions(t *testing.T) {
	w := newWorld(t)
	extra := filepath.Join(w.Home, "extra")
	must(t, os.Mkdir(extra, 0o755))
	servers := func(name string) string {
		return fmt.Sprintf(`{"mcpServers":{%q:{"command":%q,"args":["mcp"]}}}`, name, cctest.Binary)
	}
	must(t, os.WriteFile(filepath.Join(w.Home, ".claude.json"), []byte(servers("users")), 0o600))
	must(t, os.WriteFile(filepath.Join(w.Work, "named.json"), []byte(servers("named")), 0o600))

	plugin := filepath.Join(w.Home, "whales")
	must(t, os.MkdirAll(filepath.Join(plugin, ".claude-plugin"), 0o755))
	must(t, os.MkdirAll(filepath.Join(plugin, "commands"), 0o755))
	must(t, os.WriteFile(filepath.Join(plugin, ".claude-plugin", "plugin.json"), []byte(`{"name":"whales","version":"1.0.0"}`), 0o600))
	must(t, os.WriteFile(filepath.Join(plugin, "commands", "sing.md"), []byte("---\ndescription: sing\n---\n[[text of the plugin]]"), 0o600))
	must(t, os.Mkdir(filepath.Join(w.Work, ".claude"), 0o755))
	must(t, os.WriteFile(filepath.Join(w.Work, ".claude", "settings.json"), []byte(`{"env":{"OF_PROJECT":"yes"}}`), 0o600))
	must(t, os.WriteFile(filepath.Join(w.Work, "set.json"), []byte(`{"env":{"OF_FILE":"yes"}}`), 0o600))

	write := func(dir, name string) string {
		return fmt.Sprintf(`[[tool Write {"file_path":%q,"content":"x"}]][[text %s]]`, filepath.Join(dir, name), name)
	}
	type args = map[string]any
	// The files that tasks write must be there, or not, in the end.
	files := map[string]bool{
		"work/denied": false, "work/allowed": true, "work/forbidden": false, "work/edited": true, "work/asked": false,
		"extra/added": true, "extra/outside": false,
	}
	seen := func(prompt string, ok func(fakeapi.Request) bool) bool {
		return slices.ContainsFunc(w.API.Requests(), func(r fakeapi.Request) bool {
			return r.Kind == fakeapi.KindMain && strings.TrimSpace(r.Prompt) == prompt && ok(r)
		})
	}
	has := func(tool string) func(fakeapi.Request) bool {
		return func(r fakeapi.Request) bool { return slices.Contains(r.Tools, tool) }
	}
	says := func(part string) func(fakeapi.Request) bool {
		return func(r fakeapi.Request) bool { return strings.Contains(string(r.Raw), part) }
	}
	prompted := func(part string) func(fakeapi.Request) bool {
		return func(r fakeapi.Request) bool { return strings.Contains(r.System, part) }
	}
	agents := args{"reviewer": args{"description": "reviews whales", "prompt": "You are a whale."}}
	cases := []struct {
		name   string
		prompt string
		args   args
		reason task.FailureReason
		result string
		seen   func(fakeapi.Request) bool // in one of its requests
		unseen func(fakeapi.Request) bool // in none
	}{
		{name: "disallowed_tools", prompt: `[[bash touch denied]][[text d]]`, args: args{"disallowed_tools": []string{"Bash"}}, result: "d", unseen: has("Bash")},
		{name: "allowed_tools", prompt: `[[bash touch allowed]][[bash mkdir forbidden]][[text a]]`, args: args{"allowed_tools": []string{"Bash(touch:*)"}}, result: "a"},
		{name: "permission_mode", prompt: write(w.Work, "edited"), args: args{"permission_mode": "acceptEdits"}, result: "edited"},
		{name: "permission_mode that asks", prompt: write(w.Work, "asked"), args: args{"permission_mode": "dontAsk"}, result: "asked"},
		{name: "add_dirs", prompt: write(extra, "added"), args: args{"permission_mode": "acceptEdits", "add_dirs": []string{"../extra"}}, result: "added"},
		{name: "no add_dirs", prompt: write(extra, "outside"), args: args{"permission_mode": "acceptEdits"}, result: "outside"},
		{
			name: "json_schema", prompt: `[[tool StructuredOutput {"n":7}]][[text no]]`, result: `{"n":7}`,
			args: args{"json_schema": args{"type": "object", "properties": args{"n": args{"type": "integer"}}, "required": []string{"n"}}},
		},
		{name: "max_turns", prompt: `[[bash true]][[bash true]][[text t]]`, args: args{"max_turns": 1}, reason: task.ReasonMaxTurns},
		{name: "max_budget_usd", prompt: `[[bash true 1]][[bash true]][[text b]]`, args: args{"max_budget_usd": 0.000001}, reason: task.ReasonMaxBudget},
		{
			name: "append_system_prompt", prompt: `[[text s]]`, args: args{"append_system_prompt": "-- speak of whales"}, result: "s",
			seen: prompted("-- speak of whales"),
		},
		{name: "literal", prompt: `/no-such-command [[text l]]`, args: args{"literal": true}, result: "l"},
		{name: "mcp_config", prompt: `[[text m]]`, args: args{"mcp_config": []string{"named.json", servers("inline")}}, result: "m", seen: has("mcp__named__execute_cc_task"), unseen: has("mcp__users__execute_cc_task")},
		{name: "mcp_config inline", prompt: `[[text i]]`, args: args{"mcp_config": []string{servers("inline")}}, result: "i", seen: has("mcp__inline__execute_cc_task")},
		{name: "strict_mcp_config", prompt: `[[text u]]`, args: args{"strict_mcp_config": false}, result: "u", seen: has("mcp__users__execute_cc_task")},
		{name: "effort", prompt: `[[text e]]`, args: args{"effort": "low"}, result: "e", seen: says(`"effort":"low"`)},
		{name: "effort, held by options", prompt: `[[text o]]`, args: args{"options": args{"effort": "xhigh"}}, result: "o", seen: says(`"effort":"xhigh"`)},
		{
			name: "fallback_model", prompt: `[[status 529 times=3]][[text ff]]`, args: args{"model": "opus", "fallback_model": "haiku,sonnet"}, result: "ff",
			seen: func(r fakeapi.Request) bool { return strings.Contains(r.Model, "haiku") },
		},
		{name: "system_prompt", prompt: `[[text sp]]`, args: args{"system_prompt": "-- only whales"}, result: "sp", seen: prompted("-- only whales"), unseen: prompted("interactive")},
		{name: "agent", prompt: `[[text ag]]`, args: args{"agent": "reviewer", "agents": agents}, result: "ag", seen: prompted("You are a whale.")},
		{name: "agents", prompt: `[[text as]]`, args: args{"agents": agents}, result: "as", seen: says("reviews whales")},
		{name: "tools", prompt: `[[text to]]`, args: args{"tools": []string{"Read", "Bash"}}, result: "to", seen: has("Read"), unseen: has("Write")},
		// A request without tools is an errand of claude's own to the scripted API.
		{name: "no tools", prompt: `[[text nt]]`, args: args{"tools": []string{"none"}}, result: "Scripted title"},
		{name: "settings", prompt: `[[bash echo of=$OF_FILE$OF_PROJECT]][[text ${result.0}]]`, args: args{"settings": "set.json"}, result: "of=yesyes"},
		{name: "settings inline", prompt: `[[bash echo in=$INLINE]][[text ${result.0}]]`, args: args{"settings": args{"env": args{"INLINE": "yes"}}}, result: "in=yes"},
		{name: "setting_sources", prompt: `[[bash echo us=$OF_PROJECT]][[text ${result.0}]]`, args: args{"setting_sources": []string{"user", "local"}}, result: "us="},
		{name: "setting_sources none", prompt: `[[bash echo none=$OF_PROJECT]][[text ${result.0}]]`, args: args{"setting_sources": []string{"none"}}, result: "none="},
		{name: "plugin_dirs", prompt: `/whales:sing`, args: args{"plugin_dirs": []string{"../whales"}}, result: "of the plugin"},
		{
			name: "betas", prompt: `[[text be]]`, args: args{"betas": []string{"context-1m-2025-08-07", "no-such-beta"}}, result: "be",
			seen: func(r fakeapi.Request) bool {
				return strings.Contains(strings.Join(r.Header["Anthropic-Beta"], ","), "context-1m-2025-08-07")
			},
		},
		{name: "env", prompt: `[[bash echo whale=$WHALE]][[text ${result.0}]]`, args: args{"env": args{"WHALE": "blue"}}, result: "whale=blue"},
		{name: "with_cctask", prompt: `[[text wc]]`, args: args{"with_cctask": true}, result: "wc", seen: has("mcp__cctask__execute_cc_task")},
		{name: "workdir_mode", prompt: `[[bash pwd]][[text wm]]`, args: args{"workdir_mode": "exclusive"}, result: "wm"},
		{name: "stall_timeout", prompt: `[[hang]]`, args: args{"stall_timeout": 1}, reason: task.ReasonStalled},
		{name: "retries", prompt: `[[status 529]]`, args: args{"retries": 1}, result: fakeapi.DefaultText("Continue. The run was interrupted; verify what the last tool did before you repeat it.")},
		{name: "retry_on", prompt: `[[status 529]]`, args: args{"retries": 1, "retry_on": []string{"network"}, "env": args{"CLAUDE_CODE_MAX_RETRIES": "0"}}, reason: task.ReasonOverloaded},
		{name: "max_output", prompt: `[[lines 30000]][[bash tail -f /dev/null]]`, args: args{"max_output": 65536}, reason: task.ReasonOutputLimit},
	}
	s := w.connect()
	var wg sync.WaitGroup
	for _, c := range cases {
		wg.Go(func() {
			c.args["prompt"], c.args["name"], c.args["max_wait_seconds"] = c.prompt, c.name, 0
			obj, r := w.call(s, "execute_cc_task", c.args)
			b, err := json.Marshal(obj)
			if err != nil || r.IsError {
				t.Errorf("%s: %v %v", c.name, err, r.Content)
				return
			}
			v := cctest.Parse[task.View](t, string(b))
			if v.FailureReason != c.reason || c.reason == "" && (v.Result == nil || *v.Result != c.result) {
				t.Errorf("%s: %s", c.name, b)
			}
			if c.seen != nil && !seen(c.prompt, c.seen) || c.unseen != nil && seen(c.prompt, c.unseen) {
				t.Errorf("%s: the API did not see what it should: %s", c.name, *v.Result)
			}
		})
	}
	wg.Wait()
	for name, want := range files {
		if _, err := os.Stat(filepath.Join(w.Home, name)); (err == nil) != want {
			t.Errorf("%s: exists is %v", name, err == nil)
		}
	}
}
