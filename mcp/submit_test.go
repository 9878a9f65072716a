package mcp

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cctask/engine/task"
)

// Each option reaches the Service as it was given, paths from the root.
func TestEveryTaskOption(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	p.ask("start_cc_task_async", strings.ReplaceAll(`{"prompt":"x","permission_mode":"plan","allowed_tools":["Read","Bash(a b:*)"],"disallowed_tools":["-x"],
"append_system_prompt":"more","max_turns":1e1,"max_budget_usd":0.5,"json_schema":{"type":"object"},"add_dirs":["a","/b/"],"literal":true,
"mcp_config":["m.json"," {\"mcpServers\":{}}"],"strict_mcp_config":false,"max_output":65536}`, "\n", ""))
	loose := false
	want := task.Spec{
		WorkingDir: "/project/dir", Claude: "/usr/bin/claude", PermissionMode: "plan", AllowedTools: []string{"Read", "Bash(a b:*)"}, DisallowedTools: []string{"-x"},
		AppendSystemPrompt: "more", MaxTurns: 10, MaxBudgetUSD: 0.5, JSONSchema: json.RawMessage(`{"type":"object"}`), AddDirs: []string{"/project/dir/a", "/b"}, Literal: true,
		MCPConfig: []string{"/project/dir/m.json", ` {"mcpServers":{}}`}, StrictMCPConfig: &loose, MaxOutput: 65536,
	}
	if got := f.subs[0].Spec; !reflect.DeepEqual(got, want) {
		t.Errorf("submitted %+v\nwant      %+v", got, want)
	}
	p.ask("start_cc_task_async", `{"prompt":"x","json_schema":null,"strict_mcp_config":null,"add_dirs":null}`)
	if got, want := f.subs[1].Spec, (task.Spec{WorkingDir: "/project/dir", Claude: "/usr/bin/claude"}); !reflect.DeepEqual(got, want) {
		t.Errorf("submitted %+v\nwant      %+v", got, want)
	}
}

// Clients that are not known to wait get an answer before they give up.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		client, args string
		modern       bool
		limit        time.Duration // 0: to the end
	}{
		{"claude-code", `{"prompt":"x"}`, false, 0},
		{"claude-code", `{"prompt":"x"}`, true, 0},
		{"other", `{"prompt":"x"}`, false, 50 * time.Second},
		{"other", `{"prompt":"x","max_wait_seconds":null}`, true, 50 * time.Second},
		{"other", `{"prompt":"x","max_wait_seconds":0}`, true, 0},
		{"claude-code", `{"prompt":"x","max_wait_seconds":70}`, true, 70 * time.Second},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				p := newPeer(t, f)
				info, meta := fmt.Sprintf(`{"name":%q,"version":"1"}`, c.client), ""
				if c.modern {
					meta = `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":` + info + `}`
				} else {
					p.send(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":%s}}`, info)
					p.next()
				}
				start := time.Now()
				p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"execute_cc_task","arguments":%s%s}}`, c.args, meta)
				time.Sleep(time.Hour)
				if c.limit == 0 {
					f.end(fakeID(1), task.Completed, "late")
				}
				r := (<-p.msgs).tool(t)
				if took := r.view.ElapsedSeconds; c.limit > 0 && (r.view.Status != task.Running || *took != c.limit.Seconds()) || c.limit == 0 && r.view.Status != task.Completed {
					t.Errorf("after %v: %s", time.Since(start), r.Data)
				}
				p.in.Close()
				<-p.served
			})
		})
	}
}
