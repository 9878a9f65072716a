package mcp

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"cctask/engine/task"
)

var update = flag.Bool("update", false, "write the golden transcripts anew")

// A conversation in each era, to the byte. Inside the bubble the clock stands
// still, so that times are the same in each run.
func TestGoldenTranscripts(t *testing.T) {
	for name, meta := range map[string]string{
		"legacy": "",
		"modern": `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"golden","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				checkGolden(t, "../testdata/mcp/"+name+".txt", transcript(t, meta))
			})
		})
	}
}

func checkGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wantLines := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(wantLines) || line != wantLines[i] {
			t.Fatalf("line %d of %s; `go test ./mcp -run Golden -update` writes it anew\ngot  %s\nwant %s", i+1, file, line, strings.Join(wantLines[min(i, len(wantLines)):min(i+1, len(wantLines))], ""))
		}
	}
}

func transcript(t *testing.T, meta string) string {
	f := newFake()
	p := newPeer(t, f)
	var log strings.Builder
	id := 0
	send := func(method, params string) {
		id++
		with := meta
		if method == "tools/call" && strings.Contains(params, "execute_cc_task") {
			with = strings.Trim(`"progressToken":"p1",`+meta, ",")
		}
		params = strings.Trim(params+`,"_meta":{`+with+`}`, ",")
		line := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":{%s}}`, id, method, params)
		fmt.Fprintf(&log, "-> %s\n", line)
		p.send("%s", line)
	}
	receive := func() { fmt.Fprintf(&log, "<- %s\n", p.next().raw) }
	ask := func(method, params string) { send(method, params); receive() }

	if meta == "" {
		ask("server/discover", "") // the probe of a client that knows both eras
		ask("initialize", `"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"golden","version":"1"}`)
		p.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	} else {
		ask("server/discover", "")
	}
	ask("ping", "")
	for _, list := range []string{"tools/list", "resources/list", "resources/templates/list", "prompts/list"} {
		ask(list, "")
	}
	ask("tools/call", `"name":"start_cc_task_async","arguments":{"prompt":"Say <hello> & leave.","name":"greeter"}`)
	ask("tools/call", `"name":"check_task_status","arguments":{"task_id":"greeter"}`)
	f.end(fakeID(1), task.Completed, "hello")
	ask("tools/call", `"name":"check_task_status","arguments":{"task_id":"greeter","wait_seconds":60}`)
	ask("tools/call", `"name":"check_task_status","arguments":{"task_id":"greeter","output":"full"}`)
	ask("resources/read", `"uri":"task://greeter/stdout?limit=2"`)
	ask("resources/read", `"uri":"task://nobody"`)
	ask("prompts/get", `"name":"fan_out","arguments":{"job":"Port it."}`)
	ask("completion/complete", `"ref":{"type":"ref/resource","uri":"task://{id}"},"argument":{"name":"id","value":"gre"}`)
	send("tools/call", `"name":"execute_cc_task","arguments":{"prompt":"Fail."}`)
	receive() // progress
	synctest.Wait()
	f.end(fakeID(2), task.Failed, "")
	receive()
	ask("tools/call", `"name":"list_active_tasks","arguments":{"include_finished":true}`)
	plain := meta
	if meta == "" {
		ask("tools/call", `"name":"start_cc_task_async","arguments":{"prompt":"Later."},"task":{"ttl":60000}`)
	} else {
		meta = strings.Replace(meta, `Capabilities":{}`, `Capabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}`, 1)
		ask("tools/call", `"name":"execute_cc_task","arguments":{"prompt":"Later."}`)
	}
	taskID := fmt.Sprintf(`"taskId":%q`, fakeID(3))
	ask("tasks/get", taskID)
	f.end(fakeID(3), task.Completed, "late")
	ask("tasks/get", taskID)
	ask("tasks/result", taskID)
	ask("tasks/update", taskID+`,"inputResponses":{}`)
	ask("tasks/list", "")
	ask("tasks/cancel", taskID)
	ask("tasks/get", `"taskId":"nobody"`)
	meta = plain
	ask("tools/call", `"name":"cleanup_task","arguments":{"task_id":"greeter"}`)
	ask("tools/call", `"name":"check_task_status","arguments":{"task_id":"greeter"}`)
	ask("tools/call", `"name":"execute_cc_task","arguments":{"prompt":7}`)
	ask("tools/call", `"name":"no_such_tool","arguments":{}`)
	ask("no/such/method", "")
	p.in.Close()
	if err := <-p.served; err != nil {
		t.Error(err)
	}
	return log.String()
}

// The one field that has to be there, and null, while it is not known.
var withoutTTL = regexp.MustCompile(`,"ttl(Ms)?":null`)

// Every line of both transcripts is a message that has an id exactly where one
// is due.
func TestGoldenTranscriptsHaveNoNull(t *testing.T) {
	for _, name := range []string{"legacy", "modern"} {
		data, err := os.ReadFile("../testdata/mcp/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			answer, ok := strings.CutPrefix(line, "<- ")
			if !ok {
				continue
			}
			answer = withoutTTL.ReplaceAllString(answer, "")
			var m message
			if err := json.Unmarshal([]byte(answer), &m); err != nil || m.JSONRPC != "2.0" || (m.ID == nil) != (m.Method != "") || strings.Contains(answer, ":null") {
				t.Errorf("%s: %v", answer, err)
			}
		}
	}
}
