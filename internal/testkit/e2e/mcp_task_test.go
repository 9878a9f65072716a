package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"cctask/engine/task"
	"cctask/internal/testkit/cctest"
)

// rawServer is cctask mcp, spoken to line by line: no SDK that this module uses
// speaks MCP tasks.
type rawServer struct {
	w   *world
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func (w *world) rawServer() *rawServer {
	w.T.Helper()
	s := &rawServer{w: w, cmd: w.Command("mcp")}
	in, err := s.cmd.StdinPipe()
	must(w.T, err)
	out, err := s.cmd.StdoutPipe()
	must(w.T, err)
	s.in, s.out = in, bufio.NewReader(out)
	must(w.T, s.cmd.Start())
	w.T.Cleanup(s.kill)
	return s
}

func (s *rawServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *rawServer) send(method, params string) {
	s.w.T.Helper()
	_, err := fmt.Fprintf(s.in, `{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`+"\n", method, params)
	must(s.w.T, err)
}

// receive reads the one answer that is due.
func (s *rawServer) receive() (result json.RawMessage) {
	s.w.T.Helper()
	line, err := s.out.ReadBytes('\n')
	must(s.w.T, err)
	m := cctest.Parse[struct{ Result json.RawMessage }](s.w.T, string(line))
	if m.Result == nil {
		s.w.T.Fatalf("answered %s", line)
	}
	return m.Result
}

func (s *rawServer) ask(method, params string) json.RawMessage {
	s.w.T.Helper()
	s.send(method, params)
	return s.receive()
}

func TestMCPTasksOutliveTheServer(t *testing.T) {
	w := newWorld(t)
	s := w.rawServer()
	const knows = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`
	type result struct {
		StructuredContent task.View
	}
	type mcpTask struct {
		TaskID, Status, ResultType string
		Result                     result
	}
	made := cctest.Parse[mcpTask](t, string(s.ask("tools/call", `"name":"execute_cc_task","arguments":{"prompt":"[[hold go]][[text came through]]"},`+knows)))
	w.Held("go", 1)
	s.kill()
	shell := strings.TrimSpace(w.OK("start", "[[hold go]][[text from a shell]]"))
	w.Held("go", 2)

	s = w.rawServer()
	get := func(id string) mcpTask {
		t.Helper()
		return cctest.Parse[mcpTask](t, string(s.ask("tasks/get", fmt.Sprintf(`"taskId":%q,%s`, id, knows))))
	}
	if got := get(made.TaskID); got.Status != "working" || got.TaskID != made.TaskID || made.Status != "working" {
		t.Errorf("made %+v, then %+v", made, got)
	}
	w.API.Release("go")
	w.OK("wait", made.TaskID, shell)
	if got := get(made.TaskID); got.Status != "completed" || *got.Result.StructuredContent.Result != "came through" {
		t.Errorf("got %+v", got)
	}
	// A task of the shell's is none the less.
	if got := get(shell); got.Status != "completed" || got.ResultType != "complete" || *got.Result.StructuredContent.Result != "from a shell" {
		t.Errorf("got %+v", got)
	}
}
